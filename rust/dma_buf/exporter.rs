// SPDX-License-Identifier: GPL-2.0

//! What an exporter has to do.

use super::{
    interconnect::ExporterOps,
    DmaBuf,
    ExportedAttachment,
    KernelMap,
    NewAttachment,
    SgTable, //
};
use crate::dma_resv::Guard;
use kernel::{
    dma::DataDirection,
    error::VTABLE_DEFAULT_ERROR,
    mm::virt::VmaNew,
    prelude::*, //
};

/// A driver that shares memory; implemented by its private data for one dma-buf.
///
/// The value is made by [`DmaBuf::export`], and dropped when the last reference to the dma-buf has
/// gone, in process context and without locks. Its module stays until then.
///
/// Where the C side has the reservation lock, the functions get it as a [`Guard`]. They get it
/// exclusively, so that they may call [`DmaBuf::invalidate_mappings`].
///
/// # Examples
///
/// An exporter of memory in a BAR, to peers that can be made to let go of it:
///
/// ```ignore
/// struct Export {
///     memory: Arc<DeviceMemory>,
///     provider: Arc<p2pdma::Provider>,
/// }
///
/// #[vtable]
/// impl dma_buf::Exporter for Export {
///     type AttachmentData = ();
///     const NAME: &'static CStr = c"mydriver";
///
///     fn attach(&self, importer: &NewAttachment) -> Result {
///         if !importer.allows_peer2peer() || !importer.is_revocable() {
///             return Err(EOPNOTSUPP);
///         }
///         match importer.refusal(&self.provider) {
///             None => Ok(()),
///             Some(_) => Err(EOPNOTSUPP),
///         }
///     }
///
///     fn map<'a>(
///         &self,
///         guard: &mut Guard<'_>,
///         importer: &'a ExportedAttachment<Self>,
///         direction: DataDirection,
///     ) -> Result<SgTable<'a>> {
///         SgTable::from_mmio(importer, &self.provider, self.memory.ranges(guard)?, direction)
///     }
/// }
///
/// let dma_buf = DmaBuf::export(ExportInfo::new(size, O_RDWR), Export { memory, provider })?;
/// let fd = dma_buf.fd(O_CLOEXEC)?;
/// ```
#[vtable]
pub trait Exporter: Sized + Send + Sync + 'static {
    /// What the exporter keeps for each attachment: `()` if nothing. It is dropped after
    /// [`Exporter::detach`], by whoever detaches.
    type AttachmentData: Send + Sync + 'static;

    /// Name of the exporter, for debugfs and `fdinfo`.
    const NAME: &'static CStr;

    /// The operations of an exporter that has more to offer than a scatterlist, see
    /// [`interconnect::Exporter`](super::interconnect::Exporter).
    fn interconnects() -> Option<&'static ExporterOps<Self>> {
        None
    }

    /// An importer wants to attach: decide whether its device can access the memory.
    ///
    /// Called without the reservation lock, and before the attachment is on the list of the
    /// buffer. May sleep. C: `attach`.
    ///
    /// # Errors
    ///
    /// By convention `EOPNOTSUPP` if the device cannot access the memory, `EBUSY` if it could
    /// were the memory elsewhere, and `ENODEV` if the memory has gone.
    fn attach(&self, importer: &NewAttachment) -> Result<Self::AttachmentData>;

    /// An importer detaches. It has no mappings any more.
    ///
    /// Called without the reservation lock, when the attachment is off the list. May sleep.
    /// C: `detach`.
    fn detach(&self, _importer: &ExportedAttachment<Self>) {}

    /// Keep the memory where the importer can access it, until [`Exporter::unpin`].
    ///
    /// Moves and clears must have finished when it returns. An exporter that has this is dynamic:
    /// its memory may move while it is not pinned. May sleep. C: `pin`.
    fn pin(&self, _guard: &mut Guard<'_>, _importer: &ExportedAttachment<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Undo one [`Exporter::pin`]. C: `unpin`.
    fn unpin(&self, _guard: &mut Guard<'_>, _importer: &ExportedAttachment<Self>) {}

    /// Map the memory for the importer's device.
    ///
    /// Has to check again what [`Exporter::attach`] found, if that can change: the memory may have
    /// been revoked meanwhile. May sleep. C: `map_dma_buf`.
    ///
    /// # Errors
    ///
    /// By convention `ENODEV` if the memory was revoked, and those of [`SgTable`].
    fn map<'a>(
        &self,
        guard: &mut Guard<'_>,
        importer: &'a ExportedAttachment<Self>,
        direction: DataDirection,
    ) -> Result<SgTable<'a>>;

    /// Undo one [`Exporter::map`]: `table` is what it returned.
    ///
    /// May be called from within [`DmaBuf::invalidate_mappings`]. May sleep. C: `unmap_dma_buf`.
    fn unmap(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        table: SgTable<'_>,
        _direction: DataDirection,
    ) {
        drop(table);
    }

    /// Map the memory into the address space of a process.
    ///
    /// Called without the reservation lock, with the memory map of the process locked. The C side
    /// has checked that the area is within the size of the buffer. The mode of the dma-buf's file
    /// need not apply: an importer may map the buffer through a file of its own. C: `mmap`.
    fn mmap(&self, _dma_buf: &DmaBuf, _vma: &VmaNew) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Map the memory into the address space of the kernel. The C side counts and calls this for
    /// the first user only. May sleep. C: `vmap`.
    ///
    /// An error is reported with a warning by the C side.
    fn vmap(&self, _guard: &mut Guard<'_>, _dma_buf: &DmaBuf) -> Result<KernelMap> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Undo [`Exporter::vmap`], after the last user. C: `vunmap`.
    fn vunmap(&self, _guard: &mut Guard<'_>, _dma_buf: &DmaBuf, _map: KernelMap) {}

    /// Make the memory coherent for the CPU. May sleep. C: `begin_cpu_access`.
    ///
    /// `direction` is seen from the device: [`DataDirection::FromDevice`] if the CPU reads.
    fn begin_cpu_access(&self, _dma_buf: &DmaBuf, _direction: DataDirection) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Make what the CPU has written visible to devices. May sleep. C: `end_cpu_access`.
    fn end_cpu_access(&self, _dma_buf: &DmaBuf, _direction: DataDirection) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}
