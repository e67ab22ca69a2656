// SPDX-License-Identifier: GPL-2.0

//! Memory of a VF that its PF uses without the bus.
//!
//! The exporter, who may be anybody that speaks for a VF, says which ranges of the VF's BAR a buffer
//! consists of. Nothing else of what he says is used, and that is not believed: the ranges are
//! checked against what the VF has, and translated to LMEM as its LMTT does.

use kernel::{
    dma::DataDirection,
    pci,
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    dma_buf::{
        interconnect::{
            Iov,
            IovMatch,
            IovRange, //
        },
        Attachment,
        DmaBuf,
        Importer, //
    },
    dma_resv::{
        Guard,
        ResvCell, //
    },
    pci::DeviceExt, //
};

use crate::{
    hw::VfId,
    lmem::{
        Extent,
        PAGE_SIZE, //
    },
    sriov::{
        Hold,
        Provisioning,
        Record, //
    },
};

/// A mapping, as the PF's engines see it.
struct Translation {
    /// LMEM, in the order of the buffer; neighbours are merged.
    extents: KVVec<Extent>,
    /// Number of ranges that the exporter has named.
    ranges: usize,
    /// Goes last: the addresses are good as long as it exists.
    _hold: Hold,
}

/// How much there is of a mapping.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pieces {
    /// Ranges of the VF's BAR.
    pub(crate) ranges: usize,
    /// Contiguous pieces of LMEM.
    pub(crate) extents: usize,
}

/// Memory of a VF that was imported on its PF.
pub(super) struct Native {
    record: Arc<Record>,
    size: u64,
    /// What is mapped; [`None`] if the attachment is not.
    translation: ResvCell<Option<Translation>>,
}

impl Native {
    /// The memory of the VF that `matched` names, of which `dma_buf` is a part. Sleeps.
    ///
    /// Fails with `ENODEV` if the VF has been disabled.
    pub(super) fn new(
        provisioning: &Provisioning,
        dma_buf: &DmaBuf,
        matched: &IovMatch,
    ) -> Result<Self> {
        let number = u16::try_from(matched.vf_number())?;
        let record = provisioning.record(VfId::new(number).ok_or(EINVAL)?)?;

        // The VF of this number may have been another one when the two sides agreed. One that is
        // still there has not been removed since the record was made.
        let vf: &pci::Device = matched.vf();
        if !vf.is_registered() {
            return Err(ENODEV);
        }

        Ok(Self {
            record,
            size: dma_buf.size() as u64,
            translation: ResvCell::new(dma_buf.resv(), None),
        })
    }

    /// Whose memory it is.
    pub(super) fn vf(&self) -> VfId {
        self.record.vf()
    }

    /// Whether it is memory of `record`.
    pub(super) fn is_of(&self, record: &Arc<Record>) -> bool {
        Arc::ptr_eq(&self.record, record)
    }

    /// How much there is of the mapping; nothing if there is none. `guard` is that of the buffer.
    pub(super) fn pieces(&self, guard: &mut Guard<'_>) -> Pieces {
        match self.translation.get_mut(guard) {
            Ok(Some(translation)) => Pieces {
                ranges: translation.ranges,
                extents: translation.extents.len(),
            },
            _ => Pieces::default(),
        }
    }

    /// Maps the memory if it is not, and returns where in LMEM it is, in the order of the buffer.
    ///
    /// The addresses are good as [`super::Import::segments`] says. Sleeps.
    ///
    /// Fails with the exporter's error; with `ENODEV` if the VF has lost its memory; and if the
    /// exporter names what he may not: `E2BIG` for more ranges than the buffer has pages, `ERANGE`
    /// for one that ends beyond the VF's memory or aperture, `EINVAL` for another BAR, parts of
    /// pages, ranges that overlap, and a sum that is not the size of the buffer. Nothing is mapped
    /// then.
    pub(super) fn extents<'g, I: Importer>(
        &'g self,
        attachment: &Attachment<I>,
        guard: &'g mut Guard<'_>,
        direction: DataDirection,
    ) -> Result<&'g [Extent]> {
        if !attachment.is_mapped(guard)? {
            let translated = self.map(attachment, guard, direction);

            if translated.is_err() {
                // The guard is that of the buffer, so that this does not fail.
                let _ = attachment.unmap(guard);
            }
            *self.translation.get_mut(guard)? = Some(translated?);
        }

        match self.translation.get_mut(guard)? {
            Some(translation) => Ok(&translation.extents),
            None => Err(ENODEV),
        }
    }

    fn map<I: Importer>(
        &self,
        attachment: &Attachment<I>,
        guard: &mut Guard<'_>,
        direction: DataDirection,
    ) -> Result<Translation> {
        let hold = self.record.hold()?;
        let mapping = attachment.map_as::<Iov>(guard, direction)?;
        let matched = attachment.negotiated::<Iov>().ok_or(EINVAL)?;
        let ranges = mapping.ranges();

        if ranges.len() as u64 > self.size / PAGE_SIZE {
            return Err(E2BIG);
        }
        mapping.check(matched, self.record.reachable(), self.size)?;
        check_pages(ranges)?;
        check_overlap(ranges, self.record.reachable())?;

        // Ranges do not overlap, so that each border of the VF's memory cuts one of them at most.
        let most = ranges.len().saturating_add(hold.extents());
        let mut extents = KVVec::<Extent>::with_capacity(most, GFP_KERNEL)?;
        for range in ranges {
            hold.translate(range.offset, range.len, |extent| {
                match extents.last_mut() {
                    Some(last) if last.end() == extent.start => last.len += extent.len,
                    _ => extents.push(extent, GFP_KERNEL)?,
                }
                Ok(())
            })?;
        }

        Ok(Translation {
            ranges: ranges.len(),
            extents,
            _hold: hold,
        })
    }

    /// The mapping has been undone, and nothing uses the memory any more. `guard` is that of the
    /// buffer.
    pub(super) fn forget(&self, guard: &mut Guard<'_>) {
        if let Ok(translation) = self.translation.get_mut(guard) {
            *translation = None;
        }
    }
}

/// Fails with `EINVAL` unless all ranges consist of whole pages.
fn check_pages(ranges: &[IovRange]) -> Result {
    if ranges
        .iter()
        .any(|range| range.offset % PAGE_SIZE != 0 || range.len % PAGE_SIZE != 0)
    {
        return Err(EINVAL);
    }
    Ok(())
}

/// Fails with `EINVAL` if two ranges have pages in common. They consist of whole pages, of which the
/// last ends at `limit` or before. Sleeps (allocates a bit for each page, if they do not ascend).
fn check_overlap(ranges: &[IovRange], limit: u64) -> Result {
    if ranges.is_sorted_by(|a, b| a.offset + a.len <= b.offset) {
        return Ok(());
    }

    let words = usize::try_from(limit.div_ceil(PAGE_SIZE * u64::from(u64::BITS)))?;
    let mut seen = KVVec::<u64>::from_elem(0, words, GFP_KERNEL)?;

    for range in ranges {
        let mut page = range.offset / PAGE_SIZE;
        let end = page + range.len / PAGE_SIZE;

        while page < end {
            let bit = page % u64::from(u64::BITS);
            let count = (u64::from(u64::BITS) - bit).min(end - page);
            let mask = u64::MAX >> (u64::from(u64::BITS) - count) << bit;
            // CAST: Less than the number of words.
            let word = seen
                .get_mut((page / u64::from(u64::BITS)) as usize)
                .ok_or(ERANGE)?;

            if *word & mask != 0 {
                return Err(EINVAL);
            }
            *word |= mask;
            page += count;
        }
    }
    Ok(())
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../../tests/kunit/hlrs/native.rs"]
mod tests;
