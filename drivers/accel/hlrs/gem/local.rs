// SPDX-License-Identifier: GPL-2.0

//! Device-local memory of a buffer, and its way into the aperture.

use core::sync::atomic::Ordering;

use kernel::{
    new_mutex,
    prelude::*,
    ptr::Alignment,
    sync::Mutex, //
};
use kernel_ext::dma_resv::{
    Guard,
    Usage, //
};

use super::Buffer;
use crate::{
    device::BoundDevice,
    lmem::{
        Allocation,
        Placement, //
    },
    ops::{
        self,
        check_idle,
        Obstacle, //
    },
    vm, //
};

/// LMEM of a buffer.
///
/// It moves at most once: into the aperture, when the buffer is exported. What lies there is never
/// moved, so that importers can keep addresses.
#[pin_data]
pub(crate) struct LocalMemory {
    block: Alignment,
    contiguous: bool,
    #[pin]
    allocation: Mutex<Allocation>,
}

impl LocalMemory {
    /// The memory of a new buffer; `block` and `contiguous` are what it was allocated with.
    pub(super) fn new(
        allocation: Allocation,
        block: Alignment,
        contiguous: bool,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            block,
            contiguous,
            allocation <- new_mutex!(allocation, "hlrs::LocalMemory"),
        })
    }

    /// Calls `f` with the memory, which does not move meanwhile. Sleeps.
    ///
    /// Who keeps an address beyond that has to make sure that the memory does not move: with the
    /// reservation lock and a fence in the reservation object, or by an export.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&Allocation) -> R) -> R {
        f(&self.allocation.lock())
    }

    /// Memory in the aperture to which `allocation`, the present memory, could move. Sleeps.
    ///
    /// Fails with `ENXIO` if there is no room, or none of the form that the buffer needs, and
    /// `ENOMEM`.
    pub(crate) fn place_in_aperture(
        &self,
        dev: &BoundDevice<'_>,
        allocation: &Allocation,
    ) -> Result<Allocation> {
        dev.lmem
            .alloc(
                allocation.size(),
                self.block,
                Placement::CpuVisible,
                self.contiguous,
            )
            .map_err(|e| if e == ENOMEM { e } else { ENXIO })
    }

    /// Moves the memory of `buffer`, whose lock is held, into the aperture.
    ///
    /// Sleeps. Fails with the work that uses the buffer, with `ENXIO` if there is no room, or a part
    /// has been exported, with `ERESTARTSYS` if a signal comes, and with the errors of the copy; the
    /// memory is where it was then.
    pub(crate) fn move_into_aperture(
        &self,
        dev: &BoundDevice<'_>,
        buffer: &Buffer,
        guard: &Guard<'_>,
    ) -> Result<(), Obstacle> {
        let check_exports = || match buffer.exports.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(ENXIO),
        };

        check_exports()?;
        check_idle(guard, Usage::Bookkeep, |_| true)?;

        let mut allocation = self.allocation.lock();

        // Only now it stays so.
        check_exports()?;
        let place = self.place_in_aperture(dev, &allocation)?;

        // The part that is visible already may be mapped; a fault waits for the mutex.
        buffer.unmap_cpu();
        ops::copy_lmem(&dev.queue, allocation.extents(), place.extents())?;
        let old = core::mem::replace(&mut *allocation, place);

        // The next job in an address space maps the buffer where it is now.
        drop(allocation);
        vm::evict(buffer, guard);
        drop(old);
        Ok(())
    }
}
