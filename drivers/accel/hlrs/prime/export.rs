// SPDX-License-Identifier: GPL-2.0

//! What importers of a buffer get.
//!
//! A dma-buf holds the buffer, not the open file. Importers of LMEM get addresses in BAR 2, so that
//! it must lie in the aperture. They must be able to use peer-to-peer memory, to let go of it when
//! they are told to, and to reach the BAR; others are refused when they attach. Importers of system
//! memory get its pages. The PF, as an importer of memory of one of its VFs, gets less and needs
//! less: see [`super::interconnect`].

use core::{
    ops::{
        Deref,
        Range, //
    },
    sync::atomic::{
        AtomicBool,
        AtomicU32,
        Ordering, //
    },
};

use kernel::{
    dma::DataDirection,
    mm::virt::VmaNew,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        SetOnce, //
    },
};
use kernel_ext::{
    dma_buf::{
        interconnect::ExporterOps,
        Deadline,
        DmaBuf,
        ExportedAttachment,
        Exporter,
        KernelMap,
        NewAttachment,
        PageMap,
        PhysRange,
        SgTable, //
    },
    dma_resv::{
        Guard,
        ResvCell, //
    },
    drm::gem::ShmemPages,
    p2pdma,
    task,
    time::Second, //
};

use super::{
    access::Access,
    admission::Attached,
    interconnect,
    lingering,
    own_imports::OwnImports,
    state::Blocked, //
};
use crate::{
    client::{
        Client,
        ExportBooking, //
    },
    gem::{
        Backing,
        Buffer,
        BufferData,
        LocalMemory, //
    },
    lmem::{
        self,
        Allocation,
        Cut, //
    },
};

/// Where the memory of an export is.
pub(super) enum Memory<'a> {
    /// In BAR 2.
    Lmem(&'a LocalMemory, &'a p2pdma::Provider),
    /// In pages.
    System(&'a Arc<ShmemPages<BufferData>>),
}

/// Memory that is mapped for the kernel, until it is dropped.
enum Mapped {
    Bar { _map: p2pdma::BarMap },
    Pages { _map: PageMap },
}

/// A buffer of which there is a dma-buf, or one is being made: it is counted in
/// [`BufferData::exports`], and while that is not 0 the buffer does not move.
pub(crate) struct Counted(ARef<Buffer>);

impl Counted {
    /// The buffer has been counted, while its memory was locked or could not move any more.
    pub(super) fn from_counted(buffer: ARef<Buffer>) -> Self {
        Self(buffer)
    }

    /// The buffer, counted once more. It does not move, being counted.
    pub(super) fn again(&self) -> Self {
        self.0.exports.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl Deref for Counted {
    type Target = ARef<Buffer>;

    fn deref(&self) -> &ARef<Buffer> {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.exports.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Private data of an exported dma-buf.
pub(crate) struct Export {
    buffer: Counted,
    offset: u64,
    access: Access,
    /// The pages of a buffer in system memory.
    pages: Option<Arc<ShmemPages<BufferData>>>,
    booking: ExportBooking,
    /// The process that has made the export.
    process: task::Identity,
    since: Second,
    /// What holds for this export alone.
    pub(super) blocked: Blocked,
    /// Mappings that importers and the kernel have. Grows with the reservation lock held.
    mappings: AtomicU32,
    /// Whether work was reported that does not end and that is of nobody who is attached.
    pub(super) reported: AtomicBool,
    /// What was made of it on its own device, if anything was.
    own_imports: SetOnce<Pin<KBox<OwnImports>>>,
    mapped: ResvCell<Option<KBox<Mapped>>>,
}

/// What an export is made of.
pub(super) struct Parts {
    pub(super) buffer: Counted,
    pub(super) offset: u64,
    pub(super) access: Access,
    pub(super) pages: Option<Arc<ShmemPages<BufferData>>>,
    pub(super) booking: ExportBooking,
}

impl Export {
    /// The private data of a new dma-buf.
    pub(super) fn new(parts: Parts) -> impl PinInit<Self> {
        init!(Self {
            mapped: ResvCell::new(parts.buffer.resv(), None),
            buffer: parts.buffer,
            offset: parts.offset,
            access: parts.access,
            pages: parts.pages,
            booking: parts.booking,
            process: task::Identity::of_current(),
            since: Second::now(),
            blocked: Blocked::new(),
            mappings: AtomicU32::new(0),
            reported: AtomicBool::new(false),
            own_imports: SetOnce::new(),
        })
    }

    /// Remembers what was made of it on its own device. Takes the reservation lock. Sleeps. Fails
    /// with `ENOMEM`.
    pub(super) fn add_own_import(&self, buffer: &Buffer) -> Result {
        if self.own_imports.as_ref().is_none() {
            let imports = KBox::pin_init(OwnImports::new(), GFP_KERNEL)?;
            // Another may have been faster. With the lock he has not just begun.
            let _guard = self.buffer.resv().lock();

            self.own_imports.populate(imports);
        }
        self.own_imports.as_ref().ok_or(ENOMEM)?.add(buffer)
    }

    /// Takes what was made of it on its own device out of address spaces, by `deadline`. Sleeps.
    pub(super) fn evict_own_imports(&self, deadline: &Deadline) {
        if let Some(imports) = self.own_imports.as_ref() {
            imports.evict(self.buffer.dev(), self.buffer.resv(), deadline);
        }
    }

    /// The buffer behind the dma-buf.
    pub(super) fn buffer(&self) -> &ARef<Buffer> {
        &self.buffer
    }

    /// The same, as it is counted.
    pub(super) fn counted(&self) -> &Counted {
        &self.buffer
    }

    /// Where in the buffer the export begins, bytes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.booking.bytes()
    }

    /// Whether it is all of the buffer, with all rights: then importing it on the device that has
    /// exported it gives the buffer itself.
    pub(super) fn is_whole(&self) -> bool {
        self.size() == self.buffer.size() as u64 && self.access.read && self.access.write
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    /// The file that has made the export.
    pub(super) fn client(&self) -> &Arc<Client> {
        self.booking.client()
    }

    /// The process that has made the export.
    pub(super) fn process(&self) -> &task::Identity {
        &self.process
    }

    /// Since when there is the export.
    pub(super) fn since(&self) -> Second {
        self.since
    }

    /// Number of mappings that importers have.
    pub(super) fn mappings(&self) -> u32 {
        self.mappings.load(Ordering::Acquire)
    }

    /// Whether the memory is beyond the device's control when it is mapped.
    pub(super) fn is_lmem(&self) -> bool {
        self.pages.is_none()
    }

    /// Fails with `EOVERFLOW` if there are as many mappings as can be counted.
    fn check_mappings(&self) -> Result {
        if self.mappings() == u32::MAX {
            return Err(EOVERFLOW);
        }
        Ok(())
    }

    /// Where the memory is. Fails with `EINVAL` if it is neither in LMEM nor in pages of ours,
    /// which nobody exports.
    pub(super) fn memory(&self) -> Result<Memory<'_>> {
        if let Some(pages) = &self.pages {
            return Ok(Memory::System(pages));
        }
        match (&self.buffer.backing, &self.buffer.dev().p2p) {
            (Backing::Lmem(memory), Some(provider)) => Ok(Memory::Lmem(memory, provider)),
            _ => Err(EINVAL),
        }
    }

    /// Whether importers get no mappings now.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_blocked() || self.buffer.dev().exports.blocked.is_blocked()
    }

    /// The device-local memory of the export, of which `allocation` is the memory.
    fn extents<'a>(&self, allocation: &'a Allocation) -> Cut<'a> {
        lmem::cut(allocation.extents(), self.offset, self.size())
    }

    /// As [`Export::extents`], of which there need not be any: fails with `EINVAL` then. Sleeps.
    pub(super) fn with_extents<R>(&self, f: impl FnOnce(Cut<'_>) -> Result<R>) -> Result<R> {
        match self.memory()? {
            Memory::Lmem(memory, _) => memory.with(|allocation| f(self.extents(allocation))),
            Memory::System(_) => Err(EINVAL),
        }
    }

    /// The physical addresses of the export, of which `allocation` is the memory.
    fn ranges<'a>(
        &self,
        allocation: &'a Allocation,
        provider: &p2pdma::Provider,
    ) -> impl Iterator<Item = PhysRange> + Clone + 'a {
        let base = provider.phys_start();

        self.extents(allocation).map(move |extent| PhysRange {
            start: base + extent.start,
            len: extent.len,
        })
    }

    /// Fails as the maps of all types do if a mapping may not be made. The reservation lock is
    /// held.
    pub(super) fn check_map(&self, direction: DataDirection) -> Result {
        if self.is_blocked() {
            return Err(ENODEV);
        }
        self.access.check(direction)?;
        self.check_mappings()
    }

    /// Counts a mapping of `importer`. The reservation lock is held.
    pub(super) fn add_mapping(&self, importer: &ExportedAttachment<Self>) {
        self.mappings.fetch_add(1, Ordering::Relaxed);
        importer.data().add_mapping();
    }

    /// Undoes [`Export::add_mapping`], after everything that the mapping consisted of has gone.
    pub(super) fn remove_mapping(&self, importer: &ExportedAttachment<Self>) {
        importer.data().remove_mapping();
        self.mappings.fetch_sub(1, Ordering::Release);
    }

    /// The range of the export in the pages of the buffer.
    fn page_range(&self) -> Range<usize> {
        // CAST: Buffers are no larger than the address space.
        self.offset as usize..(self.offset + self.size()) as usize
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if self.mappings() > 0 {
            // Whoever still has a mapping did not detach properly. The memory stays his.
            dev_err!(
                self.buffer.dev().parent(),
                "{} bytes are lost: a dma-buf was released while it was mapped\n",
                self.buffer.size()
            );
            core::mem::forget(ARef::clone(&self.buffer));
        } else {
            lingering::keep(self);
        }
    }
}

#[vtable]
impl Exporter for Export {
    type AttachmentData = Attached;
    const NAME: &'static CStr = c"hlrs";

    fn interconnects() -> Option<&'static ExporterOps<Self>> {
        Some(interconnect::ops())
    }

    fn attach(&self, importer: &NewAttachment) -> Result<Attached> {
        if self.is_blocked() {
            return Err(ENODEV);
        }

        Attached::new(self, importer)
    }

    fn map<'a>(
        &self,
        _guard: &mut Guard<'_>,
        importer: &'a ExportedAttachment<Self>,
        direction: DataDirection,
    ) -> Result<SgTable<'a>> {
        self.check_map(direction)?;

        let table = match self.memory()? {
            Memory::Lmem(memory, provider) => memory.with(|allocation| {
                let ranges = self.ranges(allocation, provider);

                SgTable::from_mmio(importer, provider, ranges, direction)
            })?,
            Memory::System(pages) => {
                SgTable::from_pages(importer, pages, self.page_range(), direction)?
            }
        };

        self.add_mapping(importer);
        Ok(table)
    }

    fn unmap(
        &self,
        _guard: &mut Guard<'_>,
        importer: &ExportedAttachment<Self>,
        table: SgTable<'_>,
        _direction: DataDirection,
    ) {
        drop(table);
        self.remove_mapping(importer);
    }

    fn mmap(&self, _dma_buf: &DmaBuf, vma: &VmaNew) -> Result {
        if self.is_blocked() {
            return Err(ENODEV);
        }
        self.access.restrict(vma)?;
        self.buffer.mmap_exported(vma, self.offset as usize)
    }

    fn begin_cpu_access(&self, _dma_buf: &DmaBuf, _direction: DataDirection) -> Result {
        // The C side waits for the fences; the memory itself is coherent.
        if self.is_blocked() {
            return Err(ENODEV);
        }
        Ok(())
    }

    fn vmap(&self, guard: &mut Guard<'_>, _dma_buf: &DmaBuf) -> Result<KernelMap> {
        // Nothing keeps the kernel from writing what it has mapped.
        self.check_map(DataDirection::Bidirectional)?;

        let place = self.mapped.get_mut(guard)?;

        let (mapped, address) = match self.memory()? {
            Memory::Lmem(memory, provider) => {
                let map = memory
                    .with(|allocation| provider.map_kernel(self.ranges(allocation, provider)))?;
                let address = map.address();
                (Mapped::Bar { _map: map }, address)
            }
            Memory::System(pages) => {
                let map = PageMap::new(pages, self.page_range())?;
                let address = map.address();
                (Mapped::Pages { _map: map }, address)
            }
        };

        *place = Some(KBox::new(mapped, GFP_KERNEL)?);
        self.mappings.fetch_add(1, Ordering::Relaxed);
        Ok(address)
    }

    fn vunmap(&self, guard: &mut Guard<'_>, _dma_buf: &DmaBuf, _map: KernelMap) {
        if let Ok(place) = self.mapped.get_mut(guard) {
            *place = None;
        }
        self.mappings.fetch_sub(1, Ordering::Release);
    }
}
