// SPDX-License-Identifier: GPL-2.0

//! What importers get.
//!
//! Addresses in the BAR, as with vfio-pci: an importer must be able to use peer-to-peer memory, to reach
//! the BAR, and to let go of it when it is told to. There is no way back to the memory of the host. For
//! the PF of the function see [`interconnect`](crate::interconnect).

use core::sync::atomic::{
    AtomicBool,
    AtomicU32,
    Ordering, //
};

use kernel::{
    dma::DataDirection,
    fs::file::flags,
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    }, //
};
use kernel_ext::{
    dma_buf::{
        interconnect::{
            ExporterOps,
            Iov, //
        },
        ExportInfo,
        ExportPlace,
        ExportedAttachment,
        Exporter,
        NewAttachment,
        PhysRange,
        SgTable, //
    },
    dma_resv::Guard,
    p2pdma::{
        Provider,
        Retained, //
    },
    vfio::{
        DmaBufRequest,
        OpenDevice, //
    }, //
};

use crate::{
    driver::Vf,
    interconnect,
    ranges,
    session::Session, //
};

/// Private data of an exported dma-buf.
pub(crate) struct Export {
    session: Arc<Session>,
    provider: Arc<Provider>,
    ranges: KVec<PhysRange>,
    /// Mappings that importers have. Grows with the reservation lock held.
    mappings: AtomicU32,
    /// Whether an importer that does not let go was reported.
    pub(crate) reported: AtomicBool,
    /// Set when the session is over and an importer still has the addresses.
    retained: SetOnce<Retained>,
}

/// Makes a dma-buf, and a descriptor of it. Sleeps (allocates).
///
/// # Errors
///
/// - `EINVAL`: the BAR has no memory; those of [`ranges::physical`].
/// - `EMFILE`, `ENOMEM`, and others of making a file.
pub(crate) fn make(
    session: Arc<Session>,
    device: &OpenDevice<'_, Vf>,
    request: DmaBufRequest,
) -> Result<i32> {
    let provider = session.provider(device.bound(), request.region_index())?;
    let ranges = ranges::physical(&provider, &request)?;
    let open_flags = request.open_flags();
    let place = ExportPlace::new(ExportInfo::new(request.size(), open_flags))?;

    let dma_buf = place.export_listed_alone(
        init!(Export {
            session,
            provider,
            ranges,
            mappings: AtomicU32::new(0),
            reported: AtomicBool::new(false),
            retained: SetOnce::new(),
        }),
        |export| export.session.exports(),
        |_, _| Ok(()),
    )?;

    dma_buf.fd(open_flags & flags::O_CLOEXEC)
}

impl Export {
    /// Number of mappings that importers have.
    pub(crate) fn mappings(&self) -> u32 {
        self.mappings.load(Ordering::Acquire)
    }

    /// Notes that an importer still has the addresses although the session is over. Sleeps (allocates).
    ///
    /// That ends when the dma-buf is released, which an importer keeps it from as long as it is attached.
    pub(crate) fn retain(&self) {
        self.retained.populate(self.hold());
    }

    /// The BAR.
    pub(crate) fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The physical addresses, all of them in the BAR, in the order of the dma-buf.
    pub(crate) fn ranges(&self) -> &[PhysRange] {
        &self.ranges
    }

    /// Whether an importer may have another mapping. The reservation lock is held.
    ///
    /// Fails with `ENODEV` if the memory cannot be accessed, and with `EOVERFLOW` if there are as many
    /// mappings as can be counted.
    pub(crate) fn check_map(&self) -> Result {
        if !self.session.is_open() {
            return Err(ENODEV);
        }
        if self.mappings() == u32::MAX {
            return Err(EOVERFLOW);
        }
        Ok(())
    }

    /// There is another mapping. The reservation lock is held, and has been since
    /// [`Export::check_map`].
    pub(crate) fn count_map(&self, importer: &ExportedAttachment<Self>) {
        self.mappings.fetch_add(1, Ordering::Relaxed);
        importer.data().fetch_add(1, Ordering::Relaxed);
    }

    /// A mapping is gone.
    pub(crate) fn count_unmap(&self, importer: &ExportedAttachment<Self>) {
        importer.data().fetch_sub(1, Ordering::Relaxed);
        self.mappings.fetch_sub(1, Ordering::Release);
    }

    fn hold(&self) -> Retained {
        Retained::new(
            fmt!("an importer of VFIO"),
            self.ranges
                .iter()
                .map(|range| range.start..range.start + range.len),
        )
    }

    fn refuse(&self, importer: &NewAttachment, reason: &str) -> Result {
        dev_dbg!(
            self.provider.device(),
            "{} cannot import the memory: {}\n",
            importer.driver_name(),
            reason
        );
        Err(EOPNOTSUPP)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if self.mappings() > 0 {
            // Whoever still has a mapping did not detach properly. The addresses stay his.
            dev_err!(
                self.provider.device(),
                "the function is lost: a dma-buf was released while it was mapped\n"
            );
            core::mem::forget(self.hold());
        }
    }
}

#[vtable]
impl Exporter for Export {
    /// Number of mappings that the importer has.
    type AttachmentData = AtomicU32;
    const NAME: &'static CStr = c"hlrs_vfio_pci";

    fn interconnects() -> Option<&'static ExporterOps<Self>> {
        Some(&interconnect::OPS)
    }

    fn attach(&self, importer: &NewAttachment) -> Result<AtomicU32> {
        // The PF does not use the bus.
        let on_bus = importer.negotiated::<Iov>().is_none();

        if on_bus && !importer.allows_peer2peer() {
            self.refuse(importer, "it does not support peer-to-peer memory")?;
        }
        if !self.session.is_open() {
            return Err(ENODEV);
        }
        if !importer.is_revocable() {
            self.refuse(importer, "it cannot be made to let go of the memory")?;
        }
        if on_bus {
            if let Some(reason) = importer.refusal(&self.provider) {
                self.refuse(importer, reason.as_str())?;
            }
        }
        Ok(AtomicU32::new(0))
    }

    fn map<'a>(
        &self,
        _guard: &mut Guard<'_>,
        importer: &'a ExportedAttachment<Self>,
        direction: DataDirection,
    ) -> Result<SgTable<'a>> {
        self.check_map()?;

        let ranges = self.ranges.iter().copied();
        let table = SgTable::from_mmio(importer, &self.provider, ranges, direction)?;

        self.count_map(importer);
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
        self.count_unmap(importer);
    }
}
