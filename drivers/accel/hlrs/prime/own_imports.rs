// SPDX-License-Identifier: GPL-2.0

//! Exports that were imported on their own device.
//!
//! Such an import has no attachment that could be told of a revocation. Jobs by handle look at the
//! export each time; address spaces keep what they map, and it has to be taken out.

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};
use kernel_ext::{
    dma_buf::Deadline,
    dma_resv::{
        DmaResv,
        Usage, //
    },
    drm::gem::WeakRef, //
};

use crate::{
    device::HlrsDevice,
    gem::{
        Buffer,
        BufferData, //
    },
    vm, //
};

/// The buffers that an export was imported as.
#[pin_data]
pub(super) struct OwnImports {
    #[pin]
    buffers: Mutex<KVec<WeakRef<BufferData>>>,
}

impl OwnImports {
    /// None yet.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            buffers <- new_mutex!(KVec::new(), "hlrs::OwnImports"),
        })
    }

    /// Adds a buffer. Sleeps. Fails with `ENOMEM`.
    pub(super) fn add(&self, buffer: &Buffer) -> Result {
        let mut buffers = self.buffers.lock();

        buffers.retain(|buffer| buffer.is_alive());
        buffers.push(buffer.downgrade(), GFP_KERNEL)?;
        Ok(())
    }

    /// Takes the buffers out of address spaces. `resv` is theirs, and that of the export, of which
    /// there are no mappings any more to be had.
    ///
    /// Jobs that use them are waited for, without the lock. Those that take longer than until
    /// `deadline` fault. Sleeps.
    pub(super) fn evict(&self, dev: &HlrsDevice, resv: &DmaResv, deadline: &Deadline) {
        if !self.buffers.lock().iter().any(WeakRef::is_alive) {
            return;
        }

        // There are no more of them from here on.
        let guard = resv.lock();
        for buffer in self.buffers.lock().iter() {
            vm::expire_weak(buffer, &guard);
        }
        drop(guard);

        loop {
            let guard = resv.lock();
            let pending = guard.find_pending(Usage::Bookkeep, |fence| dev.is_own(fence));

            if let Some(fence) = pending.filter(|_| !deadline.is_over()) {
                drop(guard);
                let _ = fence.wait_timeout(false, deadline.left_jiffies());
                continue;
            }
            for buffer in self.buffers.lock().iter() {
                vm::evict_weak(buffer, &guard);
            }
            return;
        }
    }
}
