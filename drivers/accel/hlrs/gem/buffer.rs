// SPDX-License-Identifier: GPL-2.0

//! What all buffers have in common.

use core::sync::atomic::{
    AtomicI32,
    AtomicUsize,
    Ordering, //
};

use kernel::{
    prelude::*,
    ptr::Alignment,
    sync::{
        aref::ARef,
        Arc,
        SetOnce, //
    },
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
    p2pdma, //
};

use super::{
    backing::{
        Backing,
        Booked,
        SystemMemory, //
    },
    local::LocalMemory,
};
use crate::{
    client::Client,
    device::BoundDevice,
    driver::Hlrs,
    lmem::{
        Allocation,
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
    /// The file that has created the buffer; imported buffers have none.
    pub(crate) creator: Option<Arc<Client>>,
    /// Dma-bufs of the buffer that exist. Grows with the memory locked, or when it cannot move any
    /// more.
    pub(crate) exports: AtomicUsize,
    /// Keeps later drivers of the device off memory that an importer does not let go of.
    pub(crate) retained: SetOnce<p2pdma::Retained>,
    /// Errno of a job that wrote the buffer and failed, until somebody is told.
    error: AtomicI32,
}

impl BufferData {
    /// The data of a buffer with the given memory.
    pub(crate) fn new(backing: Backing, creator: Option<Arc<Client>>) -> impl PinInit<Self> {
        pin_init!(Self {
            backing,
            creator,
            exports: AtomicUsize::new(0),
            retained: SetOnce::new(),
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
pub(crate) fn create(
    dev: &BoundDevice<'_>,
    client: &Arc<Client>,
    size: u64,
    request: Request,
) -> Result<ARef<Buffer>> {
    let bytes = usize::try_from(size)?;
    let creator = Some(client.clone());

    match request {
        Request::System => {
            let booked = Booked::new(&dev.system_used, size);
            let memory = KBox::pin_init(SystemMemory::new(booked), GFP_KERNEL)?;
            Buffer::new_shmem(
                dev,
                bytes,
                BufferData::new(Backing::System(memory), creator),
            )
        }
        Request::Lmem {
            block,
            placement,
            contiguous,
        } => {
            let alloc = || dev.lmem.alloc(size, block, placement, contiguous);
            let allocation = dev
                .retry_when_full(alloc, |e| *e)
                .inspect_err(|e| explain_failure(dev, size, placement, *e))?;

            // Nobody can see the memory before it is zeroed: the object has no handle yet.
            if !dev.skip_zeroing {
                ops::zero_lmem(&dev.queue, allocation.extents())?;
            }

            let memory =
                KBox::pin_init(LocalMemory::new(allocation, block, contiguous), GFP_KERNEL)?;
            Buffer::new_private(dev, bytes, BufferData::new(Backing::Lmem(memory), creator))
        }
    }
}

/// Says in the debug log why there is no room, above all when only the aperture is in the way.
fn explain_failure(dev: &BoundDevice<'_>, size: u64, placement: Placement, error: Error) {
    let lmem = &dev.lmem;
    let free = lmem.size() - lmem.used();

    if placement == Placement::CpuVisible && size > lmem.visible_size() && size <= lmem.size() {
        dev.dbg_ratelimited(fmt!(
            "{} bytes do not fit into the aperture of {} bytes, LMEM has {}\n",
            size,
            lmem.visible_size(),
            lmem.size()
        ));
    } else if error == ENOSPC && placement == Placement::CpuVisible && free > 0 {
        dev.dbg_ratelimited(fmt!(
            "no room for {} bytes in the aperture ({} of {} bytes used), LMEM has {} of {} free\n",
            size,
            lmem.visible_used(),
            lmem.visible_size(),
            free,
            lmem.size()
        ));
    } else {
        dev.dbg_ratelimited(fmt!(
            "no {} bytes of LMEM, {} of {} free: {:?}\n",
            size,
            free,
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

/// Whether the access comes by a dma-buf that was revoked.
fn is_revoked(fault: &VmFault) -> bool {
    fault.dma_buf().is_some_and(prime::is_revoked)
}

fn insert_lmem(
    dev: &BoundDevice<'_>,
    allocation: &Allocation,
    fault: &mut VmFault,
) -> VmFaultResult {
    if is_revoked(fault) {
        return VmFaultResult::SIGBUS;
    }

    match address_of(allocation.extents(), fault.page_offset() as u64) {
        Some((address, left)) => {
            // CAST: At most `FAULT_AROUND`.
            let pages = (left / PAGE_SIZE).min(FAULT_AROUND) as usize;

            fault.insert_io_range(&dev.aperture, address, pages)
        }
        None => VmFaultResult::SIGBUS,
    }
}

#[vtable]
impl DriverObject for BufferData {
    type Driver = Hlrs;

    fn mmap(buffer: &Buffer) -> Result {
        match &buffer.backing {
            // Of a buffer that is partly in the aperture, what was exported is.
            Backing::Lmem(memory)
                if buffer.exports.load(Ordering::Relaxed) == 0
                    && !memory.with(Allocation::is_visible) =>
            {
                Err(ENXIO)
            }
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
            // The memory neither moves nor is revoked while `with()` is in there.
            Backing::Lmem(memory) => dev
                .outside_reset(|| memory.with(|allocation| insert_lmem(&dev, allocation, fault)))
                .unwrap_or_else(VmFaultResult::from),
            Backing::System(system) => system
                .with_map(&dev, buffer, |map| {
                    if is_revoked(fault) {
                        return Ok(VmFaultResult::SIGBUS);
                    }
                    Ok(fault.insert_shmem(map.pages()))
                })
                .unwrap_or_else(VmFaultResult::from),
            Backing::Imported(_) => VmFaultResult::SIGBUS,
        }
    }

    fn export(buffer: &Buffer, flags: u32) -> Result<ARef<drm::DmaBuf>> {
        prime::export(buffer, flags)
    }
}
