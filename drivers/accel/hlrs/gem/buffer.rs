// SPDX-License-Identifier: GPL-2.0

//! What all buffers have in common.

use core::sync::atomic::{
    AtomicI32,
    Ordering, //
};

use kernel::{
    prelude::*,
    ptr::Alignment,
    sync::aref::ARef, //
};
use kernel_ext::{
    dma_resv::Usage,
    drm::{
        self,
        gem::{
            Caching,
            DriverObject,
            Object,
            VmFault,
            VmFaultResult, //
        },
    },
};

use super::backing::{
    Backing,
    Booked,
    SystemMemory, //
};
use crate::{
    device::BoundDevice,
    driver::Hlrs,
    lmem::{
        Extent,
        Placement,
        PAGE_SIZE, //
    },
    ops,
    prime, //
};

/// Pages that a fault maps at once.
const FAULT_AROUND: u64 = 512;

/// A buffer.
pub(crate) type Buffer = Object<BufferData>;

/// Private data of a buffer.
#[pin_data]
pub(crate) struct BufferData {
    pub(crate) backing: Backing,
    /// Errno of a job that wrote the buffer and failed, until somebody is told.
    error: AtomicI32,
}

impl BufferData {
    /// The data of a buffer with the given memory.
    pub(crate) fn new(backing: Backing) -> impl PinInit<Self> {
        pin_init!(Self {
            backing,
            error: AtomicI32::new(0),
        })
    }

    /// Remembers that a job that wrote the buffer failed. Any context.
    pub(crate) fn set_error(&self, error: Error) {
        self.error.store(error.to_errno(), Ordering::Relaxed);
    }

    /// Reports, once, that a job failed.
    pub(crate) fn take_error(&self) -> Result {
        match self.error.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            errno => Err(Error::from_errno(errno)),
        }
    }
}

/// What a new buffer is to be like.
pub(crate) enum Request {
    /// In system memory.
    System,
    /// In LMEM.
    Lmem {
        /// Alignment and size of each block.
        block: Alignment,
        placement: Placement,
        contiguous: bool,
    },
}

/// Creates a buffer of `size` bytes, a multiple of the page size, which reads as zero. Sleeps.
///
/// Errors are those of [`crate::lmem::Lmem::alloc`] and of the job that zeroes the memory.
pub(crate) fn create(dev: &BoundDevice<'_>, size: u64, request: Request) -> Result<ARef<Buffer>> {
    let bytes = usize::try_from(size)?;

    match request {
        Request::System => {
            let booked = Booked::new(&dev.system_used, size);
            let memory = KBox::pin_init(SystemMemory::new(booked), GFP_KERNEL)?;
            Buffer::new_shmem(dev, bytes, BufferData::new(Backing::System(memory)))
        }
        Request::Lmem {
            block,
            placement,
            contiguous,
        } => {
            let allocation = dev
                .lmem
                .alloc(size, block, placement, contiguous)
                .inspect_err(|e| explain_failure(dev, size, placement, *e))?;

            // Nobody can see the memory before it is zeroed: the object has no handle yet.
            if !dev.skip_zeroing {
                ops::zero_lmem(&dev.queue, allocation.extents())?;
            }
            Buffer::new_private(dev, bytes, BufferData::new(Backing::Lmem(allocation)))
        }
    }
}

/// Says in the debug log why there is no room, above all when only the aperture is full.
fn explain_failure(dev: &BoundDevice<'_>, size: u64, placement: Placement, error: Error) {
    let lmem = &dev.lmem;

    if error == ENOSPC && placement == Placement::CpuVisible && lmem.used() < lmem.size() {
        dev.dbg_ratelimited(fmt!(
            "no room for {} bytes in the aperture ({} of {} bytes used), LMEM has {} of {} free\n",
            size,
            lmem.visible_used(),
            lmem.visible_size(),
            lmem.size() - lmem.used(),
            lmem.size()
        ));
    } else {
        dev.dbg_ratelimited(fmt!(
            "no {} bytes of LMEM, {} of {} free: {:?}\n",
            size,
            lmem.size() - lmem.used(),
            lmem.size(),
            error
        ));
    }
}

/// Whether a job, of whatever device, is using the buffer. Does not sleep.
pub(crate) fn is_active(buffer: &Buffer) -> bool {
    !buffer.resv().test_signaled(Usage::Bookkeep)
}

/// The device-local address of byte `offset` of the buffer that `extents` make up, and how many
/// bytes follow it in one piece.
fn address_of(extents: &[Extent], mut offset: u64) -> Option<(u64, u64)> {
    for extent in extents {
        if offset < extent.len {
            return Some((extent.start + offset, extent.len - offset));
        }
        offset -= extent.len;
    }
    None
}

#[vtable]
impl DriverObject for BufferData {
    type Driver = Hlrs;

    fn mmap(buffer: &Buffer) -> Result {
        match &buffer.backing {
            Backing::Lmem(allocation) if !allocation.is_visible() => Err(ENXIO),
            Backing::Imported(_) => Err(EOPNOTSUPP),
            _ => Ok(()),
        }
    }

    fn mmap_caching(buffer: &Buffer) -> Caching {
        match &buffer.backing {
            Backing::System(_) => Caching::Cached,
            _ => Caching::WriteCombined,
        }
    }

    fn fault(buffer: &Buffer, fault: &mut VmFault) -> VmFaultResult {
        let Some(dev) = buffer.dev().enter() else {
            return VmFaultResult::SIGBUS;
        };

        match &buffer.backing {
            Backing::Lmem(allocation) => {
                let Some((address, left)) =
                    address_of(allocation.extents(), fault.page_offset() as u64)
                else {
                    return VmFaultResult::SIGBUS;
                };

                // CAST: At most `FAULT_AROUND`.
                let pages = (left / PAGE_SIZE).min(FAULT_AROUND) as usize;

                dev.outside_reset(|| fault.insert_io_range(&dev.aperture, address, pages))
                    .unwrap_or_else(VmFaultResult::from)
            }
            Backing::System(system) => system
                .with_map(&dev, buffer, |map| Ok(fault.insert_shmem(map.pages())))
                .unwrap_or_else(VmFaultResult::from),
            Backing::Imported(_) => VmFaultResult::SIGBUS,
        }
    }

    fn export(buffer: &Buffer, flags: u32) -> Result<ARef<drm::DmaBuf>> {
        prime::export(buffer, flags)
    }
}
