// SPDX-License-Identifier: GPL-2.0

//! How memory is divided into the entries of a scatter-gather table.

use super::PhysRange;
use kernel::{
    bindings,
    device::Device,
    page::PAGE_SIZE, //
};

use core::ptr::from_ref;

/// A piece of memory in the address space of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// DMA address of its first byte.
    pub addr: bindings::dma_addr_t,
    /// Its length in bytes.
    pub len: u64,
}

/// What a device can take as one entry of a table.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Greatest length of an entry, a multiple of the page size.
    pub max_len: u32,
    /// An entry must not cross a multiple of this plus 1.
    pub boundary: u64,
    /// Highest address that the device can emit.
    pub mask: u64,
}

impl Limits {
    /// The limits of a device: C `dma_get_max_seg_size()`, `dma_get_seg_boundary()`,
    /// `dma_get_mask()`.
    #[inline]
    pub fn of(device: &Device) -> Self {
        let (mut max_len, mut boundary, mut mask) = (0, 0, 0);

        // SAFETY: The device is valid, and so are the places for the results.
        unsafe {
            ext_bindings::dma_get_limits(
                from_ref(device).cast_mut().cast(),
                &mut max_len,
                &mut boundary,
                &mut mask,
            )
        };

        Self {
            // Users of dma-bufs may rely on pages, so an entry has at least one.
            max_len: (max_len - max_len % PAGE_SIZE as u32).max(PAGE_SIZE as u32),
            // CAST: `unsigned long` is not wider than 64 bits.
            boundary: (boundary as u64).max(PAGE_SIZE as u64 - 1),
            mask,
        }
    }

    /// Whether the device can emit all addresses of `segment`.
    #[inline]
    pub fn reaches(&self, segment: Segment) -> bool {
        segment
            .addr
            .checked_add(segment.len - 1)
            .is_some_and(|last| last <= self.mask)
    }

    /// Whether no entry within `segment` crosses a boundary.
    #[inline]
    pub(super) fn has_room(&self, segment: &Segment) -> bool {
        let last = segment.addr.wrapping_add(segment.len - 1);

        (segment.addr ^ last) & !self.boundary == 0
    }

    /// Whether `segment` can be one entry. Nearly all can.
    #[inline]
    pub(super) fn admits(&self, segment: &Segment) -> bool {
        segment.len <= u64::from(self.max_len) && self.has_room(segment)
    }

    /// Number of entries that `segment` takes.
    #[inline]
    pub fn entries_of(&self, segment: Segment) -> usize {
        if self.admits(&segment) {
            1
        } else {
            self.split(core::iter::once(segment)).count()
        }
    }

    /// Divides `segments` into entries.
    pub fn split<S: Iterator<Item = Segment>>(&self, segments: S) -> Split<S> {
        Split {
            limits: *self,
            segments,
            rest: Segment { addr: 0, len: 0 },
        }
    }
}

/// An iterator over the entries for an iterator over segments; from [`Limits::split`].
#[derive(Clone)]
pub struct Split<S> {
    limits: Limits,
    segments: S,
    rest: Segment,
}

impl<S: Iterator<Item = Segment>> Iterator for Split<S> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if self.rest.len == 0 {
            let segment = self.segments.next()?;

            if self.limits.admits(&segment) {
                return Some(segment);
            }
            self.rest = segment;
        }

        let to_boundary =
            (self.limits.boundary - (self.rest.addr & self.limits.boundary)).saturating_add(1);
        let entry = Segment {
            addr: self.rest.addr,
            len: self
                .rest
                .len
                .min(u64::from(self.limits.max_len))
                .min(to_boundary),
        };

        self.rest.addr = self.rest.addr.wrapping_add(entry.len);
        self.rest.len -= entry.len;
        Some(entry)
    }
}

/// Merges neighbours in `ranges` that adjoin.
pub fn merge<R: Iterator<Item = PhysRange>>(mut ranges: R) -> Merge<R> {
    Merge {
        next: ranges.next(),
        ranges,
    }
}

/// An iterator over merged ranges; from [`merge`].
#[derive(Clone)]
pub struct Merge<R> {
    next: Option<PhysRange>,
    ranges: R,
}

impl<R: Iterator<Item = PhysRange>> Iterator for Merge<R> {
    type Item = PhysRange;

    fn next(&mut self) -> Option<PhysRange> {
        let mut range = self.next.take()?;

        for next in self.ranges.by_ref() {
            if range.start.checked_add(range.len) != Some(next.start) {
                self.next = Some(next);
                break;
            }
            range.len += next.len;
        }
        Some(range)
    }
}
