// SPDX-License-Identifier: GPL-2.0

//! Importers: one that can be revoked and one that cannot.

use crate::{
    exporter::{
        Event,
        Log, //
    },
    link::{
        Link,
        Port, //
    },
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
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
        interconnect::{
            ImporterOps,
            ImporterSide,
            PrivateImporter,
            SgtImporter, //
        },
        Attachment,
        DmaBuf,
        Importer,
        Invalidation, //
    },
    dma_resv::Guard,
};

/// An importer that can be revoked, unless it is told not to let go.
pub(crate) struct Peer {
    log: Arc<Log>,
    pub(crate) unmaps: AtomicFlag,
}

pub(crate) static PEER: ImporterOps<Peer> = ImporterOps::new(c"ext_ic_peer");

impl Peer {
    pub(crate) fn new(log: &Arc<Log>) -> Self {
        Self {
            log: log.clone(),
            unmaps: AtomicFlag::new(true),
        }
    }

    /// Attaches with `sides`.
    pub(crate) fn attach(
        dma_buf: &DmaBuf,
        device: &Device<Bound>,
        log: &Arc<Log>,
        sides: &[&dyn ImporterSide],
    ) -> Result<Attachment<Self>> {
        Attachment::negotiate(dma_buf, device, Self::new(log), sides)
    }

    /// Attaches with a scatterlist and a port on `fabric`, the former first: the order is the
    /// exporter's.
    pub(crate) fn attach_to(
        dma_buf: &DmaBuf,
        device: &Device<Bound>,
        log: &Arc<Log>,
        fabric: u32,
    ) -> Result<Attachment<Self>> {
        let port = Port::new(fabric, log);

        Self::attach(
            dma_buf,
            device,
            log,
            &[&SgtImporter::new(), &PrivateImporter::<Link>::new(&port)],
        )
    }
}

#[vtable]
impl Importer for Peer {
    const ALLOW_PEER2PEER: bool = false;

    fn interconnects() -> Option<&'static ImporterOps<Self>> {
        Some(&PEER)
    }

    fn invalidate_mappings(&self, guard: &mut Guard<'_>, invalidation: &Invalidation<'_, Self>) {
        self.log.add(Event::Invalidate);
        if self.unmaps.load(Relaxed) {
            // The guard is the right one; otherwise the missing event makes the test fail.
            let _ = invalidation.unmap(guard);
        }
    }
}

/// An importer that cannot be revoked.
pub(crate) struct Rigid;

pub(crate) static RIGID: ImporterOps<Rigid> = ImporterOps::new(c"ext_ic_rigid");

#[vtable]
impl Importer for Rigid {
    const ALLOW_PEER2PEER: bool = true;

    fn interconnects() -> Option<&'static ImporterOps<Self>> {
        Some(&RIGID)
    }
}

/// An importer whose operations nobody has registered.
pub(crate) struct Unknown;

static UNKNOWN: ImporterOps<Unknown> = ImporterOps::new(c"ext_ic_unknown");

#[vtable]
impl Importer for Unknown {
    const ALLOW_PEER2PEER: bool = false;

    fn interconnects() -> Option<&'static ImporterOps<Self>> {
        Some(&UNKNOWN)
    }
}
