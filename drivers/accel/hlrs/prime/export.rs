// SPDX-License-Identifier: GPL-2.0

//! LMEM for PCIe peers.
//!
//! A dma-buf holds the buffer, not the open file. Its importers get addresses in BAR 2, so that it
//! must lie in the aperture. They must be able to use peer-to-peer memory, to let go of it when
//! they are told to, and to reach the BAR; others are refused when they attach.

use core::sync::atomic::{
    AtomicBool,
    AtomicUsize,
    Ordering, //
};

use kernel::{
    dma::DataDirection,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use kernel_ext::{
    dma_buf::{
        AttachmentInfo,
        DmaBuf,
        ExportInfo,
        ExportedAttachment,
        Exporter,
        PhysRange,
        SgTable, //
    },
    dma_resv::Guard,
    drm::gem::ObjectResv,
    p2pdma, //
};

use crate::{
    gem::{
        Backing,
        Buffer, //
    },
    lmem::Extent, //
};

/// Bits of the flags that are the access mode of the file.
const ACCESS_MODE: u32 = 0o3;

/// Private data of an exported dma-buf.
pub(super) struct Export {
    buffer: ARef<Buffer>,
    provider: Arc<p2pdma::Provider>,
    /// Whether new mappings are refused, for good. Written under the reservation lock.
    revoked: AtomicBool,
    /// Mappings that importers have. Written under the reservation lock.
    mappings: AtomicUsize,
}

impl Export {
    /// The buffer behind the dma-buf.
    pub(super) fn buffer(&self) -> &ARef<Buffer> {
        &self.buffer
    }

    /// Refuses new mappings from now on.
    pub(super) fn set_revoked(&self, _guard: &Guard<'_>) {
        self.revoked.store(true, Ordering::Relaxed);
    }

    /// Number of mappings that importers have.
    pub(super) fn mappings(&self) -> usize {
        self.mappings.load(Ordering::Acquire)
    }

    fn extents(&self) -> Result<&[Extent]> {
        match &self.buffer.backing {
            Backing::Lmem(allocation) => Ok(allocation.extents()),
            Backing::System(_) | Backing::Imported(_) => Err(EOPNOTSUPP),
        }
    }

    fn refuse(&self, importer: &AttachmentInfo, reason: &str) -> Result {
        self.buffer.dev().dbg_ratelimited(fmt!(
            "{} cannot import the buffer: {}\n",
            importer.driver_name(),
            reason
        ));
        Err(EOPNOTSUPP)
    }
}

#[vtable]
impl Exporter for Export {
    type AttachmentData = ();
    const NAME: &'static CStr = c"hlrs";

    fn attach(&self, importer: &AttachmentInfo) -> Result {
        if self.revoked.load(Ordering::Relaxed) {
            return Err(ENODEV);
        }
        if !importer.allows_peer2peer() {
            return self.refuse(importer, "it does not support peer-to-peer memory");
        }
        if !importer.is_revocable() {
            return self.refuse(importer, "it cannot be made to let go of the memory");
        }
        match self.provider.refusal(importer.device()) {
            Some(reason) => self.refuse(importer, reason.as_str()),
            None => Ok(()),
        }
    }

    fn map(
        &self,
        _guard: &mut Guard<'_>,
        importer: &ExportedAttachment<Self>,
        direction: DataDirection,
    ) -> Result<SgTable> {
        if self.revoked.load(Ordering::Relaxed) {
            return Err(ENODEV);
        }

        let base = self.provider.phys_start();
        let ranges = self.extents()?.iter().map(|extent| PhysRange {
            start: base + extent.start,
            len: extent.len,
        });
        let table = SgTable::from_mmio(importer, &self.provider, ranges, direction)?;

        self.mappings.fetch_add(1, Ordering::Relaxed);
        Ok(table)
    }

    fn unmap(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        table: SgTable,
        _direction: DataDirection,
    ) {
        drop(table);
        self.mappings.fetch_sub(1, Ordering::Release);
    }
}

/// Makes a dma-buf of a whole buffer. `flags` are `O_CLOEXEC` and an access mode. Sleeps.
///
/// Fails with `EOPNOTSUPP` if the buffer is not in LMEM or the device has no peer-to-peer memory,
/// `ENXIO` if it is not in the aperture, `ENODEV` if the device is gone, `ENOMEM`.
pub(crate) fn export(buffer: &Buffer, flags: u32) -> Result<ARef<DmaBuf>> {
    let dev = buffer.dev().enter().ok_or(ENODEV)?;
    let provider = dev.p2p.as_ref().ok_or(EOPNOTSUPP)?;

    match &buffer.backing {
        Backing::Lmem(allocation) if allocation.is_visible() => {}
        Backing::Lmem(_) => return Err(ENXIO),
        Backing::System(_) | Backing::Imported(_) => return Err(EOPNOTSUPP),
    }

    let export = Export {
        buffer: ARef::from(buffer),
        provider: provider.clone(),
        revoked: AtomicBool::new(false),
        mappings: AtomicUsize::new(0),
    };

    DmaBuf::export_listed::<_, Export, _>(
        &dev.exports,
        &ExportInfo::new(buffer.size(), flags & ACCESS_MODE),
        ObjectResv::new(buffer),
        export,
    )
}
