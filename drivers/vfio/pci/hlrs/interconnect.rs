// SPDX-License-Identifier: GPL-2.0

//! What importers get that know more than scatterlists.
//!
//! The PF of the function is offered ranges of the BAR: it has the memory behind it, and no byte has to
//! cross the bus. All others get a scatterlist.

use kernel::{
    dma::DataDirection,
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
            SgtExporter, //
        },
        ExportedAttachment, //
    },
    dma_resv::Guard, //
};

use crate::export::Export;

/// The operations of our dma-bufs.
pub(crate) static OPS: ExporterOps<Export> = ExporterOps::new();

impl interconnect::Exporter for Export {
    fn match_interconnects(&self, negotiation: &mut Negotiation<'_, Self>) -> Result {
        let provider = self.provider();

        negotiation
            .offer(&[
                &IovExporter::new(provider.device(), provider.bar()),
                &SgtExporter::new(true),
            ])
            .map(|_| ())
    }
}

impl Maps<Iov> for Export {
    fn map_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        importer: &ExportedAttachment<Self>,
        _matched: &IovMatch,
        _direction: DataDirection,
    ) -> Result<IovRanges> {
        self.check_map()?;

        let provider = self.provider();
        let ranges = IovRanges::new(self.ranges().iter().map(|range| {
            // The ranges were found to be within the BAR.
            IovRange::new(
                provider.bar(),
                range.start - provider.phys_start(),
                range.len,
            )
        }))?;

        self.count_map(importer);
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
        self.count_unmap(importer);
    }
}
