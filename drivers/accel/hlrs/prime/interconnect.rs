// SPDX-License-Identifier: GPL-2.0

//! What a buffer has to offer besides a scatterlist.
//!
//! On a PF that is device memory by its address, for the card at the other end of the link
//! ([`super::link`]). On a VF it is device memory as ranges of BAR 2, for the PF, which knows what is
//! behind them ([`super::native`]). Device-local addresses of a VF are offsets in that BAR, as far as it
//! reaches, and what is exported lies there.

use kernel::{
    dma::DataDirection,
    pci,
    prelude::*, //
};
use kernel_ext::{
    dma_buf::{
        interconnect::{
            self,
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
            Registration,
            SgtExporter, //
        },
        ExportedAttachment, //
    },
    dma_resv::Guard,
};

use super::{
    export::Export,
    link::{
        Link,
        Port,
        Route, //
    },
    peer, //
};
use crate::{
    hw::Function,
    lmem::Extent, //
};

static OPS: ExporterOps<Export> = ExporterOps::new();

/// The operations with which buffers are exported.
pub(super) fn ops() -> &'static ExporterOps<Export> {
    &OPS
}

/// Lets exports and imports be negotiated, until it is dropped.
pub(crate) struct Registrations {
    _exporter: Registration,
    _importer: Registration,
}

impl Registrations {
    /// To be called once, before a device is bound. Sleeps. Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            _exporter: OPS.register()?,
            _importer: peer::register()?,
        })
    }
}

impl interconnect::Exporter for Export {
    fn match_interconnects(&self, negotiation: &mut Negotiation<'_, Self>) -> Result {
        let dev = self.buffer().dev();
        let sgt = SgtExporter::new(self.is_lmem());

        if self.is_lmem() && matches!(dev.hw.info.function, Function::Vf(_)) {
            let vf = <&pci::Device>::try_from(dev.parent())?;
            let iov = IovExporter::new(vf, hlrs_abi::HLRS_BAR_LMEM);

            negotiation.offer(&[&iov, &sgt])?;
        } else if let Some(port) = Port::of(&dev.hw).filter(|_| self.is_lmem()) {
            let link = PrivateExporter::<Link, _>::new(&port);

            negotiation.offer(&[&link, &sgt])?;
        } else {
            negotiation.offer(&[&sgt])?;
        }
        Ok(())
    }
}

impl Maps<Iov> for Export {
    fn map_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        importer: &ExportedAttachment<Self>,
        _matched: &IovMatch,
        direction: DataDirection,
    ) -> Result<IovRanges> {
        self.check_map(direction)?;

        let ranges = self.with_extents(|extents| {
            let count = extents.clone().count();
            let mut extents = extents;

            // There are as many; a range of no bytes would be refused.
            IovRanges::new((0..count).map(|_| {
                let (offset, len) = extents.next().map_or((0, 0), |e| (e.start, e.len));

                IovRange::new(hlrs_abi::HLRS_BAR_LMEM, offset, len)
            }))
        })?;

        self.add_mapping(importer);
        Ok(ranges)
    }

    fn unmap_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        importer: &ExportedAttachment<Self>,
        _matched: &IovMatch,
        mapping: IovRanges,
        _direction: DataDirection,
    ) {
        drop(mapping);
        self.remove_mapping(importer);
    }
}

impl Maps<Private<Link>> for Export {
    fn map_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        importer: &ExportedAttachment<Self>,
        _matched: &Route,
        direction: DataDirection,
    ) -> Result<KBox<KVVec<Extent>>> {
        self.check_map(direction)?;

        let extents = self.with_extents(|extents| {
            let mut list = KVVec::with_capacity(extents.clone().count(), GFP_KERNEL)?;

            for extent in extents {
                list.push(extent, GFP_KERNEL)?;
            }
            Ok(KBox::new(list, GFP_KERNEL)?)
        })?;

        self.add_mapping(importer);
        Ok(extents)
    }

    fn unmap_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        importer: &ExportedAttachment<Self>,
        _matched: &Route,
        mapping: KBox<KVVec<Extent>>,
        _direction: DataDirection,
    ) {
        drop(mapping);
        self.remove_mapping(importer);
    }
}
