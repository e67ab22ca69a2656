// SPDX-License-Identifier: GPL-2.0

//! Memory of others.
//!
//! The buffer is mapped for the device by its first job, and stays mapped until the exporter
//! invalidates the mapping, the buffer is freed or the driver is unbound.

use kernel::{
    dma::DataDirection,
    prelude::*,
    sync::aref::ARef,
    time::msecs_to_jiffies, //
};
use kernel_ext::{
    dma_buf::{
        Attachment,
        DmaBuf,
        Importer,
        Invalidation, //
    },
    dma_resv::{
        Guard,
        Usage, //
    },
    drm::gem::Resv,
};

use super::export::Export;
use crate::{
    device::HlrsDevice,
    gem::{
        Backing,
        Buffer,
        BufferData, //
    },
};

/// How long to wait for jobs that use a mapping, milliseconds. They time out themselves.
const IDLE_TIMEOUT_MS: u32 = 60_000;

/// The importing side of an attachment.
struct PeerImporter;

#[vtable]
impl Importer for PeerImporter {
    const ALLOW_PEER2PEER: bool = true;

    fn invalidate_mappings(&self, guard: &mut Guard<'_>, invalidation: &Invalidation<'_, Self>) {
        // Jobs that read or write the buffer have their fences here, and end in bounded time.
        let _ = guard.wait(Usage::Bookkeep, false, msecs_to_jiffies(IDLE_TIMEOUT_MS));
        // The guard is that of the buffer, so that this does not fail.
        let _ = invalidation.unmap(guard);
    }
}

/// Memory of somebody else.
pub(crate) struct Import(Attachment<PeerImporter>);

impl Import {
    /// Maps the memory if it is not, and calls `f` for its ranges: DMA address and length.
    ///
    /// The addresses are good as long as the lock is held, and for jobs whose fence is in the
    /// reservation object when it is released. Sleeps.
    ///
    /// Fails with the exporter's error, `ENODEV` if it has revoked the memory.
    pub(crate) fn for_each_range(
        &self,
        guard: &mut Guard<'_>,
        mut f: impl FnMut(u64, u64) -> Result,
    ) -> Result {
        let mapping = self.0.map(guard, DataDirection::Bidirectional)?;

        mapping
            .iter()
            .try_for_each(|entry| f(entry.dma_address(), entry.dma_len()))
    }
}

/// Makes a buffer of a dma-buf, or finds the one that this very device has exported. Sleeps.
///
/// Fails with the exporter's error, `EOPNOTSUPP` if the device cannot reach the memory, `ENODEV`
/// if the device is gone.
pub(crate) fn import(dev: &HlrsDevice, dma_buf: &DmaBuf) -> Result<ARef<Buffer>> {
    if let Some(export) = dma_buf.exported_by::<Export>() {
        if core::ptr::eq(export.buffer().dev(), dev) {
            return Ok(export.buffer().clone());
        }
    }

    let bound = dev.enter().ok_or(ENODEV)?;
    let attachment = Attachment::new(dma_buf, bound.parent(), Ok::<_, Error>(PeerImporter))?;

    Buffer::new_private_with_resv(
        dev,
        dma_buf.size(),
        Resv::DmaBuf(ARef::from(dma_buf)),
        BufferData::new(Backing::Imported(Import(attachment))),
    )
}
