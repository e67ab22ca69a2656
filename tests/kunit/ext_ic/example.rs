// SPDX-License-Identifier: GPL-2.0

//! The example of `docs/interconnect.md`, which shows what is between the two marks.

use crate::LocalModule;
use kernel::{
    dma::DataDirection,
    prelude::*, //
};
use kernel_ext::{
    dma_buf::{
        self,
        interconnect::*,
        *, //
    },
    dma_resv::Guard,
};

/// What the exporter has.
pub(crate) struct Export {
    pub(crate) fabric: u32,
    pub(crate) window: u64,
}

/// The importing side; it has nothing to stop.
pub(crate) struct Import;

// begin example
/// The type: two cards on one fabric. What is mapped are windows of the fabric.
pub(crate) struct Fabric;
static FABRIC: Descriptor<Fabric> = Descriptor::new::<LocalModule>(c"fabric");

impl PrivateType for Fabric {
    type Exporter = u32;
    type Importer = u32;
    type Match = u32;
    type Mapping = KVec<u64>;

    fn descriptor() -> &'static Descriptor<Self> {
        &FABRIC
    }

    fn matches(pair: &Pair<'_, Self>) -> Result {
        if pair.exporter == pair.importer {
            Ok(())
        } else {
            Err(EOPNOTSUPP)
        }
    }

    fn finish_match(pair: &Pair<'_, Self>) -> Result<u32> {
        Ok(*pair.exporter)
    }
}
// end example

// begin example
pub(crate) static EXPORTER: ExporterOps<Export> = ExporterOps::new();

impl interconnect::Exporter for Export {
    fn match_interconnects(&self, negotiation: &mut Negotiation<'_, Self>) -> Result {
        let fabric = PrivateExporter::<Fabric, _>::new(&self.fabric);

        negotiation
            .offer(&[&fabric, &SgtExporter::new(true)])
            .map(|_| ())
    }
}

impl Maps<Private<Fabric>> for Export {
    fn map_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        _fabric: &u32,
        _direction: DataDirection,
    ) -> Result<KBox<KVec<u64>>> {
        let mut windows = KVec::new();

        windows.push(self.window, GFP_KERNEL)?;
        Ok(KBox::new(windows, GFP_KERNEL)?)
    }
}
// end example

// begin example
pub(crate) static IMPORTER: ImporterOps<Import> = ImporterOps::new(c"example");

/// The first window of a buffer that is on `fabric`.
pub(crate) fn first_window(dma_buf: &DmaBuf, dev: &BoundDevice, fabric: u32) -> Result<u64> {
    let sides: [&dyn ImporterSide; 2] = [
        &PrivateImporter::<Fabric>::new(&fabric),
        &SgtImporter::new(),
    ];
    let attachment = Attachment::negotiate(dma_buf, dev, Import, &sides)?;
    let mut guard = dma_buf.resv().lock();
    let windows = attachment.map_as::<Private<Fabric>>(&mut guard, DataDirection::ToDevice)?;

    windows.first().copied().ok_or(ENODATA)
}
// end example

type BoundDevice = kernel::device::Device<kernel::device::Bound>;

#[vtable]
impl dma_buf::Exporter for Export {
    type AttachmentData = ();

    const NAME: &'static CStr = c"ext_ic_example";

    fn interconnects() -> Option<&'static ExporterOps<Self>> {
        Some(&EXPORTER)
    }

    fn attach(&self, _importer: &NewAttachment) -> Result {
        Ok(())
    }

    fn map<'a>(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &'a ExportedAttachment<Self>,
        _direction: DataDirection,
    ) -> Result<SgTable<'a>> {
        Err(EOPNOTSUPP)
    }
}

#[vtable]
impl dma_buf::Importer for Import {
    const ALLOW_PEER2PEER: bool = true;

    fn interconnects() -> Option<&'static ImporterOps<Self>> {
        Some(&IMPORTER)
    }

    fn invalidate_mappings(&self, guard: &mut Guard<'_>, invalidation: &Invalidation<'_, Self>) {
        let _ = invalidation.unmap(guard);
    }
}
