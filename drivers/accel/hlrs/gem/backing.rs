// SPDX-License-Identifier: GPL-2.0

//! Where the memory of a buffer is.

use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};

use kernel::{
    dma::DataDirection,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use kernel_ext::{
    dma_resv::Guard,
    drm::gem::DmaMap, //
};

use super::{
    local::LocalMemory,
    Buffer,
    BufferData, //
};
use crate::{
    device::BoundDevice,
    prime::{
        Access,
        Import,
        Path, //
    },
    queue::Address, //
};

/// A range that is contiguous for the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) address: Address,
    pub(crate) len: u64,
}

/// Bytes that are booked in a sum; taken off it when dropped.
pub(crate) struct Booked {
    sum: Arc<AtomicU64>,
    bytes: u64,
}

impl Booked {
    /// Adds `bytes` to `sum`. Any context.
    pub(crate) fn new(sum: &Arc<AtomicU64>, bytes: u64) -> Self {
        sum.fetch_add(bytes, Ordering::Relaxed);
        Self {
            sum: sum.clone(),
            bytes,
        }
    }
}

impl Drop for Booked {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// System memory: the pages of the object's shmem file.
///
/// They are brought in and mapped for the device at the first use, and stay until the buffer is
/// freed or the driver is unbound.
#[pin_data]
pub(crate) struct SystemMemory {
    _booked: Booked,
    #[pin]
    map: Mutex<Option<DmaMap<BufferData>>>,
}

impl SystemMemory {
    pub(super) fn new(booked: Booked) -> impl PinInit<Self> {
        pin_init!(Self {
            _booked: booked,
            map <- new_mutex!(None, "hlrs::SystemMemory"),
        })
    }

    /// Calls `f` with the pages of `buffer`, whose memory this is. Sleeps.
    ///
    /// Fails with `ENOMEM` if the pages cannot be had.
    pub(crate) fn with_map<R>(
        &self,
        dev: &BoundDevice<'_>,
        buffer: &Buffer,
        f: impl FnOnce(&DmaMap<BufferData>) -> Result<R>,
    ) -> Result<R> {
        let mut map = self.map.lock();

        if map.is_none() {
            let pages = buffer.shmem_pages()?;
            *map = Some(pages.map(dev.parent(), DataDirection::Bidirectional)?);
        }
        f(map.as_ref().ok_or(ENOMEM)?)
    }

    /// Whether the pages are in memory.
    fn is_resident(&self) -> bool {
        // Statistics are read under a spinlock: a buffer being populated counts as not resident.
        self.map.try_lock().is_some_and(|map| map.is_some())
    }
}

/// Where the memory of a buffer is.
pub(crate) enum Backing {
    /// LMEM of the function.
    Lmem(Pin<KBox<LocalMemory>>),
    /// System memory.
    System(Pin<KBox<SystemMemory>>),
    /// Somebody else's, reached through a dma-buf.
    Imported(Import),
}

impl Backing {
    /// Appends the segments that make up `len` bytes of `buffer` from `offset` on. Sleeps.
    ///
    /// The caller has checked that the range is within the buffer, and holds its reservation lock
    /// (`guard`) until the fence of the job that uses the segments is in the reservation object:
    /// an imported buffer may move otherwise.
    pub(crate) fn segments(
        &self,
        dev: &BoundDevice<'_>,
        buffer: &Buffer,
        guard: &mut Guard<'_>,
        offset: u64,
        len: u64,
    ) -> Result<KVVec<Segment>> {
        let mut cut = Cut::new(offset, len);

        if let Self::Imported(import) = self {
            return import.segments(dev, guard, offset, len);
        }
        self.for_each_segment(dev, buffer, guard, |address, len| cut.add(address, len))?;
        cut.finish()
    }

    /// Calls `f` with address and length of each segment of `buffer`, in order, until it fails.
    ///
    /// As for [`Backing::segments`], without the memory for a list. The last segment may reach
    /// beyond the end of the buffer. Sleeps; `f` may sleep, too.
    pub(crate) fn for_each_segment(
        &self,
        dev: &BoundDevice<'_>,
        buffer: &Buffer,
        guard: &mut Guard<'_>,
        mut f: impl FnMut(Address, u64) -> Result,
    ) -> Result {
        match self {
            Self::Lmem(memory) => memory.with(|allocation| {
                allocation
                    .extents()
                    .iter()
                    .try_for_each(|extent| f(Address::Lmem(extent.start), extent.len))
            }),
            Self::System(system) => system.with_map(dev, buffer, |map| {
                map.iter()
                    .try_for_each(|(address, len)| f(Address::Bus(address), len as u64))
            }),
            Self::Imported(import) => import
                .segments(dev, guard, 0, buffer.size() as u64)?
                .iter()
                .try_for_each(|segment| f(segment.address, segment.len)),
        }
    }

    /// The buffer whose memory this is, and where in it this begins: another one for a part of a
    /// buffer that came back as a dma-buf.
    pub(crate) fn origin<'a>(&'a self, buffer: &'a Buffer) -> (&'a Buffer, u64) {
        match self {
            Self::Imported(import) => import.own_part().unwrap_or((buffer, 0)),
            Self::Lmem(_) | Self::System(_) => (buffer, 0),
        }
    }

    /// Whether the engine may read the memory, and write to it.
    pub(crate) fn access(&self) -> Access {
        match self {
            Self::Imported(import) => import.access(),
            Self::Lmem(_) | Self::System(_) => Access {
                read: true,
                write: true,
            },
        }
    }

    /// How the engines reach the memory. Sleeps; takes the reservation lock of an imported buffer.
    pub(crate) fn path(&self) -> Path {
        match self {
            Self::Imported(import) => import.path(),
            Self::Lmem(_) | Self::System(_) => Path::Own,
        }
    }

    /// Removes all CPU mappings of `buffer`, whose backing this is. Sleeps.
    ///
    /// A page fault that is going on has either finished before, or sees what the caller has
    /// changed before this.
    pub(crate) fn unmap_cpu(&self, buffer: &Buffer) {
        match self {
            Self::Lmem(memory) => memory.with(|_| buffer.unmap_cpu()),
            Self::System(system) => {
                let _map = system.map.lock();

                buffer.unmap_cpu();
            }
            Self::Imported(_) => {}
        }
    }

    /// Bytes of the buffer, of `size`, that are in memory now. Does not sleep.
    pub(crate) fn resident(&self, size: u64) -> u64 {
        match self {
            Self::Lmem(_) => size,
            Self::System(system) if system.is_resident() => size,
            Self::System(_) | Self::Imported(_) => 0,
        }
    }
}

/// Cuts a range out of a sequence of segments.
pub(crate) struct Cut {
    skip: u64,
    left: u64,
    segments: KVVec<Segment>,
}

impl Cut {
    /// `len` bytes from `offset` on.
    pub(crate) fn new(offset: u64, len: u64) -> Self {
        Self {
            skip: offset,
            left: len,
            segments: KVVec::new(),
        }
    }

    /// The sequence goes on with `len` bytes at `address`.
    pub(crate) fn add(&mut self, address: Address, len: u64) -> Result {
        let skipped = self.skip.min(len);
        self.skip -= skipped;

        let taken = (len - skipped).min(self.left);
        self.left -= taken;

        if taken > 0 {
            let segment = Segment {
                address: address.add(skipped),
                len: taken,
            };
            self.segments.push(segment, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Fails with `ERANGE` if the sequence was too short.
    pub(crate) fn finish(self) -> Result<KVVec<Segment>> {
        if self.left > 0 {
            return Err(ERANGE);
        }
        Ok(self.segments)
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../../tests/kunit/hlrs/segments.rs"]
mod tests;
