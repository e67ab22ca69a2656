// SPDX-License-Identifier: GPL-2.0

//! Device-local memory (LMEM) of one function.
//!
//! The kernel's GPU buddy allocator hands out the addresses 0 to the size of LMEM; on a VF these
//! are addresses within its quota. The part below [`Lmem::visible_size`] lies in BAR 2, where the
//! CPU and PCIe peers reach it. It is the scarcer one when the aperture is smaller than LMEM, so
//! that allocations that do not need it are placed outside as long as there is room.

use core::{
    ops::Range,
    sync::atomic::{
        AtomicU64,
        Ordering, //
    },
};

use kernel::{
    gpu::buddy::{
        AllocatedBlocks,
        GpuBuddy,
        GpuBuddyAllocFlag,
        GpuBuddyAllocFlags,
        GpuBuddyAllocMode,
        GpuBuddyParams, //
    },
    prelude::*,
    ptr::Alignment,
    sizes::SZ_4K,
    sync::Arc, //
};

/// Smallest unit of allocation, bytes.
pub(crate) const PAGE_SIZE: u64 = SZ_4K as u64;

/// A contiguous range of device-local addresses, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) len: u64,
}

impl Extent {
    /// The first address after the range.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// Where an allocation must, or should, lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Anywhere, outside the aperture if possible.
    Any,
    /// In the aperture.
    CpuVisible,
}

/// The memory of one function.
pub(crate) struct Lmem {
    buddy: GpuBuddy,
    visible_size: u64,
    visible_used: AtomicU64,
}

impl Lmem {
    /// Manages `size` bytes, of which the first `visible_size` lie in the aperture.
    ///
    /// Fails with `EINVAL` unless both are multiples of [`PAGE_SIZE`] and `size` is not 0.
    pub(crate) fn new(size: u64, visible_size: u64) -> Result<Arc<Self>> {
        if size == 0 || size % PAGE_SIZE != 0 || visible_size % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }

        Ok(Arc::new(
            Self {
                buddy: GpuBuddy::new(GpuBuddyParams {
                    base_offset: 0,
                    size,
                    chunk_size: Alignment::new::<SZ_4K>(),
                })?,
                visible_size: visible_size.min(size),
                visible_used: AtomicU64::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// Bytes of the memory.
    pub(crate) fn size(&self) -> u64 {
        self.buddy.size()
    }

    /// Bytes that are allocated.
    pub(crate) fn used(&self) -> u64 {
        self.buddy.size() - self.buddy.avail()
    }

    /// Bytes that the CPU and PCIe peers can reach.
    pub(crate) fn visible_size(&self) -> u64 {
        self.visible_size
    }

    /// Bytes of the visible part that are allocated.
    pub(crate) fn visible_used(&self) -> u64 {
        self.visible_used.load(Ordering::Relaxed)
    }

    /// Allocates `size` bytes in blocks whose size and alignment are multiples of `block`.
    ///
    /// The memory has whatever its last owner left in it. Sleeps.
    ///
    /// Fails with `ENOSPC` if there is no room, `E2BIG` if there could never be, `EINVAL` if
    /// `size` is 0 or not a multiple of `block`.
    pub(crate) fn alloc(
        self: &Arc<Self>,
        size: u64,
        block: Alignment,
        placement: Placement,
        contiguous: bool,
    ) -> Result<Allocation> {
        if size == 0 || size % (block.as_usize() as u64) != 0 {
            return Err(EINVAL);
        }

        let visible = 0..self.visible_size;
        let invisible = self.visible_size..self.size();
        let all = 0..self.size();
        let limit = match placement {
            Placement::Any => self.size(),
            Placement::CpuVisible => self.visible_size,
        };
        if size > limit {
            return Err(E2BIG);
        }

        match placement {
            Placement::CpuVisible => self.alloc_in(visible, size, block, contiguous),
            Placement::Any if size <= invisible.end - invisible.start => self
                .alloc_in(invisible, size, block, contiguous)
                .or_else(|_| self.alloc_in(all, size, block, contiguous)),
            Placement::Any => self.alloc_in(all, size, block, contiguous),
        }
    }

    /// Takes exactly `extent`, of whole pages. Sleeps.
    ///
    /// Fails with `ENOSPC` if part of it is taken or beyond the memory.
    pub(crate) fn take(self: &Arc<Self>, extent: Extent) -> Result<Allocation> {
        if extent.end() > self.size() {
            return Err(ENOSPC);
        }
        self.alloc_in(
            extent.start..extent.end(),
            extent.len,
            Alignment::new::<SZ_4K>(),
            false,
        )
    }

    fn alloc_in(
        self: &Arc<Self>,
        range: Range<u64>,
        size: u64,
        block: Alignment,
        contiguous: bool,
    ) -> Result<Allocation> {
        let flags = if contiguous {
            GpuBuddyAllocFlags::from(GpuBuddyAllocFlag::Contiguous)
        } else {
            GpuBuddyAllocFlags::default()
        };
        let mode = if range == (0..self.size()) {
            GpuBuddyAllocMode::Simple
        } else {
            GpuBuddyAllocMode::Range(range)
        };

        let blocks = KBox::pin_init(
            self.buddy.alloc_blocks(mode, size, block, flags),
            GFP_KERNEL,
        )?;
        Allocation::new(self.clone(), blocks)
    }

    /// Bytes of `extents` in the aperture.
    fn visible_bytes(&self, extents: &[Extent]) -> u64 {
        extents
            .iter()
            .map(|e| e.end().min(self.visible_size).saturating_sub(e.start))
            .sum()
    }
}

/// The part of what `extents` make up that begins at byte `offset` and has `len` bytes.
///
/// It is as long as asked for if the extents are.
pub(crate) fn cut(extents: &[Extent], offset: u64, len: u64) -> Cut<'_> {
    let mut this = Cut {
        extents,
        skip: offset,
        rest: len,
    };

    while let Some((first, others)) = this.extents.split_first() {
        if first.len > this.skip {
            break;
        }
        this.skip -= first.len;
        this.extents = others;
    }
    this
}

/// An iterator over a part of memory; from [`cut`]. There can be thousands of extents.
#[derive(Clone)]
pub(crate) struct Cut<'a> {
    extents: &'a [Extent],
    /// Bytes of the first extent that come before the part.
    skip: u64,
    /// Bytes of the part that are left.
    rest: u64,
}

impl Iterator for Cut<'_> {
    type Item = Extent;

    #[inline]
    fn next(&mut self) -> Option<Extent> {
        if self.rest == 0 {
            return None;
        }

        let (first, others) = self.extents.split_first()?;
        let part = Extent {
            start: first.start + self.skip,
            len: (first.len - self.skip).min(self.rest),
        };

        self.extents = others;
        self.skip = 0;
        self.rest -= part.len;
        Some(part)
    }
}

/// Allocated memory; freed when dropped.
pub(crate) struct Allocation {
    lmem: Arc<Lmem>,
    extents: KVVec<Extent>,
    size: u64,
    /// Bytes of it in the aperture.
    visible: u64,
    _blocks: Pin<KBox<AllocatedBlocks>>,
}

impl Allocation {
    fn new(lmem: Arc<Lmem>, blocks: Pin<KBox<AllocatedBlocks>>) -> Result<Self> {
        let mut extents = KVVec::<Extent>::with_capacity(blocks.iter().count(), GFP_KERNEL)?;

        for block in blocks.iter() {
            let (start, len) = (block.offset(), block.size());

            match extents.last_mut() {
                Some(last) if last.end() == start => last.len += len,
                _ => extents.push(Extent { start, len }, GFP_KERNEL)?,
            }
        }

        let visible = lmem.visible_bytes(&extents);
        lmem.visible_used.fetch_add(visible, Ordering::Relaxed);

        Ok(Self {
            visible,
            size: extents.iter().map(|e| e.len).sum(),
            lmem,
            extents,
            _blocks: blocks,
        })
    }

    /// The ranges, in the order in which they make up the buffer. Neighbours are merged.
    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Bytes allocated.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether all of it lies in the aperture.
    pub(crate) fn is_visible(&self) -> bool {
        self.visible == self.size
    }

    /// Whether a part lies in the aperture: `len` bytes from byte `offset` of the buffer on.
    pub(crate) fn is_part_visible(&self, offset: u64, len: u64) -> bool {
        self.is_visible()
            || cut(&self.extents, offset, len).all(|extent| extent.end() <= self.lmem.visible_size)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.lmem
            .visible_used
            .fetch_sub(self.visible, Ordering::Relaxed);
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../tests/kunit/hlrs/lmem.rs"]
mod tests;
