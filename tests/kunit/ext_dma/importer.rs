// SPDX-License-Identifier: GPL-2.0

//! Importers, as different as they come.

use crate::exporter::{
    Event,
    Log, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    },
};
use kernel_ext::{
    dma_buf::{
        Importer,
        Invalidation, //
    },
    dma_resv::Guard,
};

/// An importer that can be revoked.
pub(crate) struct Revocable {
    log: Arc<Log>,
    /// Unmap when mappings are invalidated, or later.
    unmap_at_once: AtomicFlag,
}

impl Revocable {
    pub(crate) fn new(log: &Arc<Log>, unmap_at_once: bool) -> Self {
        Self {
            log: log.clone(),
            unmap_at_once: AtomicFlag::new(unmap_at_once),
        }
    }
}

#[vtable]
impl Importer for Revocable {
    const ALLOW_PEER2PEER: bool = true;

    fn invalidate_mappings(&self, guard: &mut Guard<'_>, invalidation: &Invalidation<'_, Self>) {
        self.log.add(Event::Invalidate);
        if self.unmap_at_once.load(Relaxed) {
            // The guard is the right one; otherwise the missing event makes the test fail.
            let _ = invalidation.unmap(guard);
        }
    }
}

/// An importer that cannot be revoked, nor use peer-to-peer memory.
pub(crate) struct Plain;

#[vtable]
impl Importer for Plain {
    const ALLOW_PEER2PEER: bool = false;
}
