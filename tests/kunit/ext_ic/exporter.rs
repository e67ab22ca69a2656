// SPDX-License-Identifier: GPL-2.0

//! Exporters of system memory: one that knows of interconnects and one that does not.

use crate::link::{
    Link,
    OtherLink,
    Port,
    Route, //
};
use kernel::{
    bindings,
    dma::DataDirection,
    page::{
        Page,
        PAGE_SIZE, //
    },
    pci,
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
        interconnect::{
            self,
            BufferState,
            ExporterOps,
            Iov,
            IovExporter,
            IovMatch,
            IovRange,
            IovRanges,
            Maps,
            Negotiation,
            Private,
            PrivateExporter,
            SgtExporter, //
        },
        DmaBuf,
        ExportInfo,
        ExportedAttachment,
        Exporter,
        NewAttachment,
        PageBacking,
        SgTable, //
    },
    dma_resv::Guard,
};

/// What exporter, importer or type were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Match,
    RouteDropped,
    /// With what was negotiated: the fabric, 0 for something else.
    Attach(u32),
    MapSgt,
    UnmapSgt,
    MapLink(DataDirection),
    UnmapLink(DataDirection),
    Invalidate,
}

/// What happened to a buffer, in order, and what is to be refused.
#[pin_data]
pub(crate) struct Log {
    #[pin]
    events: Mutex<KVec<Event>>,
    pub(crate) refuse_attach: AtomicFlag,
    pub(crate) refuse_map: AtomicFlag,
    /// Revoke the buffer in the middle of the next attach.
    pub(crate) revoke_in_attach: AtomicFlag,
}

impl Log {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                events <- new_mutex!(KVec::new()),
                refuse_attach: AtomicFlag::new(false),
                refuse_map: AtomicFlag::new(false),
                revoke_in_attach: AtomicFlag::new(false),
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

    fn refuse(&self, flag: &AtomicFlag, err: Error) -> Result {
        if flag.load(Relaxed) {
            Err(err)
        } else {
            Ok(())
        }
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
    pub(crate) fn new(count: usize) -> Result<Arc<Self>> {
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

/// What an exporter offers.
pub(crate) enum Offer {
    Link(Port),
    OtherLink,
    Sgt {
        peer2peer: bool,
    },
    /// Memory behind a BAR of a function.
    Iov(ARef<pci::Device>, u32),
}

/// Pages in each buffer.
pub(crate) const PAGES: usize = 3;

/// An exporter that knows of interconnects.
#[pin_data]
pub(crate) struct Aware {
    offers: KVec<Offer>,
    memory: Arc<Memory>,
    log: Arc<Log>,
    #[pin]
    pub(crate) state: BufferState,
}

pub(crate) static AWARE: ExporterOps<Aware> = ExporterOps::new();

impl Aware {
    /// Exports a buffer with `offers`, best first.
    pub(crate) fn export<const N: usize>(
        offers: [Offer; N],
        log: &Arc<Log>,
    ) -> Result<ARef<DmaBuf>> {
        let mut list = KVec::with_capacity(N, GFP_KERNEL)?;

        for offer in offers {
            list.push(offer, GFP_KERNEL)?;
        }
        let memory = Memory::new(PAGES)?;

        DmaBuf::export(
            ExportInfo::new(PAGES * PAGE_SIZE, bindings::O_RDWR),
            pin_init!(Self {
                offers: list,
                memory,
                log: log.clone(),
                state <- BufferState::new(),
            }),
        )
    }

    /// The exporter behind a buffer.
    pub(crate) fn of(dma_buf: &DmaBuf) -> Result<&Self> {
        dma_buf.exported_by::<Self>().ok_or(ENOENT)
    }
}

#[vtable]
impl Exporter for Aware {
    type AttachmentData = ();

    const NAME: &'static CStr = c"ext_ic_aware";

    fn interconnects() -> Option<&'static ExporterOps<Self>> {
        Some(&AWARE)
    }

    fn attach(&self, importer: &NewAttachment) -> Result {
        let fabric = importer
            .negotiated::<Private<Link>>()
            .map_or(0, |route| route.fabric);

        self.log.add(Event::Attach(fabric));
        self.log.refuse(&self.log.refuse_attach, ENODEV)?;
        if self.log.revoke_in_attach.load(Relaxed) {
            // The attachment is not on the list yet, so that nobody is told.
            check!(interconnect::revoke::<Self>(importer.dma_buf(), 0)?.is_none());
        }
        Ok(())
    }

    fn map<'a>(
        &self,
        _guard: &mut Guard<'_>,
        importer: &'a ExportedAttachment<Self>,
        direction: DataDirection,
    ) -> Result<SgTable<'a>> {
        self.log.add(Event::MapSgt);
        self.log.refuse(&self.log.refuse_map, ENOMEM)?;
        SgTable::from_pages(importer, &self.memory, 0..PAGES * PAGE_SIZE, direction)
    }

    fn unmap(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        table: SgTable<'_>,
        _direction: DataDirection,
    ) {
        self.log.add(Event::UnmapSgt);
        drop(table);
    }
}

impl interconnect::Exporter for Aware {
    fn match_interconnects(&self, negotiation: &mut Negotiation<'_, Self>) -> Result {
        if let [Offer::Iov(function, bar), Offer::OtherLink, Offer::Sgt { peer2peer }] =
            self.offers.as_slice()
        {
            // All at once.
            return negotiation
                .offer(&[
                    &IovExporter::new(function, *bar),
                    &PrivateExporter::<OtherLink, _>::new(&1),
                    &SgtExporter::new(*peer2peer),
                ])
                .map(|_| ());
        }
        for offer in &self.offers {
            // Or one at a time, as an exporter may.
            match offer {
                Offer::Link(port) => negotiation.offer(&[&PrivateExporter::<Link, _>::new(port)]),
                Offer::OtherLink => negotiation.offer(&[&PrivateExporter::<OtherLink, _>::new(&1)]),
                Offer::Sgt { peer2peer } => negotiation.offer(&[&SgtExporter::new(*peer2peer)]),
                Offer::Iov(function, bar) => {
                    negotiation.offer(&[&IovExporter::new(function, *bar)])
                }
            }?;
        }
        Ok(())
    }

    fn buffer(&self) -> Option<&BufferState> {
        Some(&self.state)
    }
}

impl Maps<Private<Link>> for Aware {
    fn map_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        importer: &ExportedAttachment<Self>,
        matched: &Route,
        direction: DataDirection,
    ) -> Result<KBox<KVec<u64>>> {
        self.log.add(Event::MapLink(direction));
        self.log.refuse(&self.log.refuse_map, ENOMEM)?;
        check!(core::ptr::eq(importer.exporter(), self));

        let mut windows = KVec::with_capacity(PAGES, GFP_KERNEL)?;

        for page in 0..PAGES as u64 {
            windows.push(u64::from(matched.fabric) << 32 | page, GFP_KERNEL)?;
        }
        Ok(KBox::new(windows, GFP_KERNEL)?)
    }

    fn unmap_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        _matched: &Route,
        mapping: KBox<KVec<u64>>,
        direction: DataDirection,
    ) {
        self.log.add(Event::UnmapLink(direction));
        drop(mapping);
    }
}

impl Maps<Private<OtherLink>> for Aware {
    fn map_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        _matched: &(),
        _direction: DataDirection,
    ) -> Result<KBox<()>> {
        Ok(KBox::new((), GFP_KERNEL)?)
    }
}

impl Maps<Iov> for Aware {
    fn map_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        matched: &IovMatch,
        _direction: DataDirection,
    ) -> Result<IovRanges> {
        IovRanges::new([IovRange::new(matched.bar(), 0, (PAGES * PAGE_SIZE) as u64)])
    }
}

/// An exporter that knows nothing of interconnects.
pub(crate) struct Ordinary {
    memory: Arc<Memory>,
    log: Arc<Log>,
}

impl Ordinary {
    pub(crate) fn export(log: &Arc<Log>) -> Result<ARef<DmaBuf>> {
        DmaBuf::export(
            ExportInfo::new(PAGES * PAGE_SIZE, bindings::O_RDWR),
            Self {
                memory: Memory::new(PAGES)?,
                log: log.clone(),
            },
        )
    }
}

#[vtable]
impl Exporter for Ordinary {
    type AttachmentData = ();

    const NAME: &'static CStr = c"ext_ic_ordinary";

    fn attach(&self, _importer: &NewAttachment) -> Result {
        self.log.add(Event::Attach(0));
        Ok(())
    }

    fn map<'a>(
        &self,
        _guard: &mut Guard<'_>,
        importer: &'a ExportedAttachment<Self>,
        direction: DataDirection,
    ) -> Result<SgTable<'a>> {
        self.log.add(Event::MapSgt);
        SgTable::from_pages(importer, &self.memory, 0..PAGES * PAGE_SIZE, direction)
    }
}
