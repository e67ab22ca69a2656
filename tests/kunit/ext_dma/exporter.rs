// SPDX-License-Identifier: GPL-2.0

//! An exporter of system memory: what it takes to be one.
//!
//! It records what it is asked for, and can be told to refuse.

use kernel::{
    bindings,
    dma::DataDirection,
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        new_mutex,
        Arc,
        Mutex, //
    },
};
use kernel_ext::{
    dma_buf::{
        DmaBuf,
        ExportInfo,
        ExportedAttachment,
        Exporter,
        KernelMap,
        NewAttachment,
        PageBacking,
        SgTable, //
    },
    dma_resv::Guard,
};

use core::ptr::NonNull;

/// What an exporter or an importer was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Attach,
    Detach,
    Pin,
    Unpin,
    Map(DataDirection),
    Unmap(DataDirection),
    Release,
    Invalidate,
    BeginCpu(DataDirection),
    EndCpu(DataDirection),
    Vmap,
    Vunmap(KernelMap),
    /// The data that belongs to an attachment was dropped.
    DataDropped,
}

/// What happened to a buffer, in order, and what is to be refused.
#[pin_data]
pub(crate) struct Log {
    #[pin]
    events: Mutex<KVec<Event>>,
    pub(crate) refuse_attach: AtomicFlag,
    pub(crate) refuse_pin: AtomicFlag,
    pub(crate) refuse_map: AtomicFlag,
}

impl Log {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                events <- new_mutex!(KVec::new()),
                refuse_attach: AtomicFlag::new(false),
                refuse_pin: AtomicFlag::new(false),
                refuse_map: AtomicFlag::new(false),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn add(&self, event: Event) {
        // A lost event makes the test fail, which is what it should do then.
        let _ = self.events.lock().push(event, GFP_KERNEL);
    }

    /// What happened since the last call.
    pub(crate) fn take(&self) -> KVec<Event> {
        core::mem::take(&mut *self.events.lock())
    }
}

/// Pages of system memory.
pub(crate) struct Memory {
    _pages: KVec<Page>,
    raw: KVec<*mut bindings::page>,
}

// SAFETY: The pages are owned, and not accessed by way of the pointers.
unsafe impl Send for Memory {}

// SAFETY: As above.
unsafe impl Sync for Memory {}

// SAFETY: The pages are owned by the object, and the list does not change.
unsafe impl PageBacking for Memory {
    fn pages(&self) -> &[*mut bindings::page] {
        &self.raw
    }
}

impl Memory {
    fn new(count: usize) -> Result<Arc<Self>> {
        let mut pages = KVec::with_capacity(count, GFP_KERNEL)?;
        let mut raw = KVec::with_capacity(count, GFP_KERNEL)?;

        for _ in 0..count {
            let page = Page::alloc_page(GFP_KERNEL)?;

            raw.push(page.as_ptr(), GFP_KERNEL)?;
            pages.push(page, GFP_KERNEL)?;
        }
        Ok(Arc::new(Self { _pages: pages, raw }, GFP_KERNEL)?)
    }
}

/// What the exporter keeps for each attachment.
pub(crate) struct PerAttachment {
    pub(crate) number: u32,
    log: Arc<Log>,
}

impl PerAttachment {
    fn new(number: u32, log: &Arc<Log>) -> Self {
        Self {
            number,
            log: log.clone(),
        }
    }
}

impl Drop for PerAttachment {
    fn drop(&mut self) {
        self.log.add(Event::DataDropped);
    }
}

/// A buffer in system memory, shared. It does not move, and has no `pin`.
pub(crate) struct Shared {
    pub(crate) memory: Arc<Memory>,
    pub(crate) log: Arc<Log>,
}

impl Shared {
    /// `pages` pages of memory, not exported yet.
    pub(crate) fn new(pages: usize, log: &Arc<Log>) -> Result<Self> {
        Ok(Self {
            memory: Memory::new(pages)?,
            log: log.clone(),
        })
    }

    /// Exports `pages` pages.
    pub(crate) fn export(pages: usize, log: &Arc<Log>) -> Result<ARef<DmaBuf>> {
        DmaBuf::export(
            ExportInfo::new(pages * PAGE_SIZE, bindings::O_RDWR),
            Self::new(pages, log)?,
        )
    }

    fn refuse(&self, flag: &AtomicFlag, err: Error) -> Result {
        if flag.load(Relaxed) {
            Err(err)
        } else {
            Ok(())
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.log.add(Event::Release);
    }
}

#[vtable]
impl Exporter for Shared {
    type AttachmentData = PerAttachment;

    const NAME: &'static CStr = c"ext_dma_shared";

    fn attach(&self, _importer: &NewAttachment) -> Result<PerAttachment> {
        self.log.add(Event::Attach);
        self.refuse(&self.log.refuse_attach, EOPNOTSUPP)?;
        Ok(PerAttachment::new(42, &self.log))
    }

    fn detach(&self, _importer: &ExportedAttachment<Self>) {
        self.log.add(Event::Detach);
    }

    fn map<'a>(
        &self,
        _guard: &mut Guard<'_>,
        importer: &'a ExportedAttachment<Self>,
        direction: DataDirection,
    ) -> Result<SgTable<'a>> {
        self.log.add(Event::Map(direction));
        self.refuse(&self.log.refuse_map, ENODEV)?;
        SgTable::from_pages(
            importer,
            &self.memory,
            0..importer.dma_buf().size(),
            direction,
        )
    }

    fn unmap(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        table: SgTable<'_>,
        direction: DataDirection,
    ) {
        self.log.add(Event::Unmap(direction));
        drop(table);
    }

    fn begin_cpu_access(&self, _dma_buf: &DmaBuf, direction: DataDirection) -> Result {
        self.log.add(Event::BeginCpu(direction));
        Ok(())
    }

    fn end_cpu_access(&self, _dma_buf: &DmaBuf, direction: DataDirection) -> Result {
        self.log.add(Event::EndCpu(direction));
        Ok(())
    }
}

/// As [`Shared`], of memory that could move: it has `pin`.
pub(crate) struct Movable(Shared);

impl Movable {
    /// Exports `pages` pages.
    pub(crate) fn export(pages: usize, log: &Arc<Log>) -> Result<ARef<DmaBuf>> {
        DmaBuf::export(
            ExportInfo::new(pages * PAGE_SIZE, bindings::O_RDONLY),
            Self(Shared::new(pages, log)?),
        )
    }
}

#[vtable]
impl Exporter for Movable {
    /// Dropped although there is no `detach()`.
    type AttachmentData = PerAttachment;

    const NAME: &'static CStr = c"ext_dma_movable";

    fn attach(&self, _importer: &NewAttachment) -> Result<PerAttachment> {
        self.0.log.add(Event::Attach);
        Ok(PerAttachment::new(43, &self.0.log))
    }

    fn pin(&self, _guard: &mut Guard<'_>, _importer: &ExportedAttachment<Self>) -> Result {
        self.0.log.add(Event::Pin);
        self.0.refuse(&self.0.log.refuse_pin, EBUSY)
    }

    fn unpin(&self, _guard: &mut Guard<'_>, _importer: &ExportedAttachment<Self>) {
        self.0.log.add(Event::Unpin);
    }

    fn map<'a>(
        &self,
        guard: &mut Guard<'_>,
        importer: &'a ExportedAttachment<Self>,
        direction: DataDirection,
    ) -> Result<SgTable<'a>> {
        self.0.log.add(Event::Map(direction));
        // An exporter that moves its memory tells the others before it maps.
        importer.dma_buf().invalidate_mappings(guard)?;
        SgTable::from_pages(
            importer,
            &self.0.memory,
            0..importer.dma_buf().size(),
            direction,
        )
    }

    fn unmap(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        table: SgTable<'_>,
        direction: DataDirection,
    ) {
        self.0.log.add(Event::Unmap(direction));
        drop(table);
    }

    /// Says that it is memory for I/O, at an address that nobody uses.
    fn vmap(&self, _guard: &mut Guard<'_>, _dma_buf: &DmaBuf) -> Result<KernelMap> {
        self.0.log.add(Event::Vmap);
        Ok(KernelMap::Io(NonNull::from(self).cast()))
    }

    fn vunmap(&self, _guard: &mut Guard<'_>, _dma_buf: &DmaBuf, map: KernelMap) {
        self.0.log.add(Event::Vunmap(map));
    }
}
