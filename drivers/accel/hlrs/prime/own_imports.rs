// SPDX-License-Identifier: GPL-2.0

//! Exports that were imported on their own device.
//!
//! Such an import has no attachment that could be told of a revocation. Jobs by handle look at the
//! export each time; address spaces keep what they map, and it has to be taken out.

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex,
    time::msecs_to_jiffies, //
};
use kernel_ext::{
    dma_resv::{
        Guard,
        Usage, //
    },
    drm::gem::WeakRef, //
};

use crate::{
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

    /// Takes the buffers out of address spaces. `guard` is theirs, and that of the export.
    ///
    /// Jobs that use them are waited for, no longer than importers get. Sleeps.
    pub(super) fn evict(&self, guard: &Guard<'_>) {
        let buffers = self.buffers.lock();

        if buffers.iter().any(WeakRef::is_alive) {
            // A job that takes longer faults.
            let timeout = msecs_to_jiffies(crate::revoke_timeout_ms());
            let _ = guard.wait(Usage::Bookkeep, false, timeout);
        }
        for buffer in buffers.iter() {
            vm::evict_weak(buffer, guard);
        }
    }
}
