// SPDX-License-Identifier: GPL-2.0

//! Tables for memory of a BAR.

use super::{
    raw,
    segments::{
        merge,
        Limits,
        Segment, //
    },
    Mapping,
    PhysRange,
    SgTable,
    Table,
    MMIO, //
};
use crate::{
    dma_buf::{
        ExportedAttachment,
        Exporter, //
    },
    p2pdma::{
        MapType,
        Provider, //
    },
};
use kernel::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};

impl<'a> SgTable<'a> {
    /// Maps memory in the BAR of `provider` for the device of `importer`.
    ///
    /// `ranges` are the physical addresses in the order of the buffer. They may lie anywhere in
    /// the BAR on page boundaries; neighbours that adjoin are merged. The entries of the table
    /// respect the segment size, the boundary and the mask of the importing device.
    ///
    /// Sleeps (allocates).
    ///
    /// # Errors
    ///
    /// - `EOPNOTSUPP`: the device cannot reach the BAR; [`Provider::refusal`] has the reason.
    /// - `EINVAL`: there is no range, or one is empty or not on page boundaries.
    /// - `ERANGE`: a range is not within the BAR.
    /// - `ENXIO`: the device cannot emit the addresses.
    /// - `EIO` and others of the DMA API, when it refuses the mapping.
    /// - `ENOMEM`.
    pub fn from_mmio<E, R>(
        importer: &'a ExportedAttachment<E>,
        provider: &Provider,
        ranges: R,
        direction: DataDirection,
    ) -> Result<Self>
    where
        E: Exporter,
        R: IntoIterator<Item = PhysRange>,
        R::IntoIter: Clone,
    {
        let device = importer.device();
        let ranges = ranges.into_iter();
        let limits = Limits::of(device);
        let survey = Survey::of(provider, &limits, ranges.clone())?;
        let map_type = importer.route_to(provider).map_err(|_| EOPNOTSUPP)?;
        let mut this = Self::new(importer.slot(), direction)?;

        if map_type == MapType::BusAddr {
            if !survey.reached {
                return Err(ENXIO);
            }

            // Below a common bridge the addresses of the bus are those of the memory.
            if survey.plain {
                let mut table = this.inner().allocate(survey.count)?;

                for range in ranges {
                    table.put_entry(bus_segment(provider, &range))?;
                }
            } else {
                let entries =
                    limits.split(merge(ranges).map(|range| bus_segment(provider, &range)));
                let mut table = this.inner().allocate(entries.clone().count())?;

                for entry in entries {
                    table.put_entry(entry)?;
                }
            }
        } else if !this
            .inner()
            .map_iova(device, &limits, survey.size, merge(ranges.clone()))?
        {
            // The DMA API takes what a device cannot emit for a defect of its driver, and warns.
            //
            // SAFETY: The importer keeps the device bound.
            if !survey.reached_direct && unsafe { ext_bindings::dma_is_direct(raw(device)) } {
                return Err(ENXIO);
            }
            this.inner().map_each(device, &limits, merge(ranges))?;
        }
        this.inner().table.orig_nents = 0;
        Ok(this)
    }
}

/// What there is to know about ranges before they are mapped.
struct Survey {
    /// Sum of the lengths.
    size: usize,
    /// How many there are.
    count: usize,
    /// Whether each is one entry: no two adjoin, and none has to be divided.
    plain: bool,
    /// Whether the device can emit the addresses of the bus.
    reached: bool,
    /// Whether it can emit the physical addresses.
    reached_direct: bool,
}

impl Survey {
    /// Checks what [`SgTable::from_mmio`] demands of ranges.
    ///
    /// There can be thousands, so little is done for each. What is `plain` may be reported as not
    /// plain if the ranges are far apart.
    fn of(
        provider: &Provider,
        limits: &Limits,
        ranges: impl Iterator<Item = PhysRange>,
    ) -> Result<Self> {
        let (mut size, mut count) = (0u64, 0);
        let (mut lowest, mut highest_end) = (u64::MAX, 0);
        let (mut starts, mut lengths) = (0, 0);
        let mut adjoining = false;
        let mut end_before = 0;

        for range in ranges {
            let end = range.start.wrapping_add(range.len);

            // The range is empty, or beyond all addresses.
            if end <= range.start {
                return Err(if range.len == 0 { EINVAL } else { ERANGE });
            }
            starts |= range.start;
            lengths |= range.len;
            lowest = range.start.min(lowest);
            highest_end = end.max(highest_end);
            adjoining |= end_before == range.start;
            end_before = end;
            size = size.checked_add(range.len).ok_or(EOVERFLOW)?;
            count += 1;
        }

        if count == 0 || (starts | lengths) % PAGE_SIZE as u64 != 0 {
            return Err(EINVAL);
        }

        let span = highest_end - lowest;
        if !provider.contains(lowest, span) {
            return Err(ERANGE);
        }
        // The DMA API keeps a flag in the uppermost bit of the size.
        if size > isize::MAX as u64 {
            return Err(EOVERFLOW);
        }

        // A BAR has no gaps, and neither have its addresses on the bus.
        let all = Segment {
            addr: provider.bus_address(lowest),
            len: span,
        };

        Ok(Self {
            // CAST: Checked above.
            size: size as usize,
            count,
            plain: !adjoining && limits.has_room(&all) && lengths <= u64::from(limits.max_len),
            reached: limits.reaches(all),
            reached_direct: limits.reaches(Segment {
                addr: lowest,
                len: span,
            }),
        })
    }
}

#[inline]
fn bus_segment(provider: &Provider, range: &PhysRange) -> Segment {
    Segment {
        addr: provider.bus_address(range.start),
        len: range.len,
    }
}

impl Table {
    /// Maps into one range of addresses behind an IOMMU. False if there is none to be had, as
    /// when the device is not behind an IOMMU that translates.
    fn map_iova(
        &mut self,
        dev: &Device,
        limits: &Limits,
        size: usize,
        ranges: impl Iterator<Item = PhysRange>,
    ) -> Result<bool> {
        let device = raw(dev);
        let mut state: bindings::dma_iova_state = pin_init::zeroed();

        // SAFETY: The importer keeps the device bound; `state` is a valid place.
        if !unsafe { bindings::dma_iova_try_alloc(device, &mut state, 0, size) } {
            return Ok(false);
        }

        let addr = state.addr;
        let direction = self.direction.into();

        self.mapping = Mapping::Iova(dev.into(), state, 0);
        let Mapping::Iova(_, state, linked) = &mut self.mapping else {
            return Err(EINVAL);
        };

        for range in ranges {
            // CAST: `Survey::of()` has checked the sum of the lengths.
            let len = range.len as usize;

            // The granule of an IOMMU is no larger than a page, so pages fit without padding.
            //
            // SAFETY: The device is bound, and `state` has room for all ranges.
            to_result(unsafe {
                bindings::dma_iova_link(device, state, range.start, *linked, len, direction, MMIO)
            })?;
            *linked += len;
        }

        // SAFETY: As above; all of the range is linked.
        to_result(unsafe { bindings::dma_iova_sync(device, state, 0, size) })?;

        let segment = Segment {
            addr,
            len: size as u64,
        };

        self.allocate(limits.entries_of(segment))?
            .put(limits, segment)?;
        Ok(true)
    }

    /// Maps each range for itself, at the address that the DMA API gives to it.
    fn map_each(
        &mut self,
        dev: &Device,
        limits: &Limits,
        ranges: impl Iterator<Item = PhysRange> + Clone,
    ) -> Result {
        let device = raw(dev);
        let count = ranges.clone().count();

        self.mapping = Mapping::Each(dev.into(), KVVec::with_capacity(count, GFP_KERNEL)?);
        let Mapping::Each(_, mapped) = &mut self.mapping else {
            return Err(EINVAL);
        };

        for range in ranges {
            // SAFETY: The importer keeps the device bound.
            let addr = unsafe {
                bindings::dma_map_phys(
                    device,
                    range.start,
                    range.len as usize,
                    self.direction.into(),
                    MMIO,
                )
            };

            // SAFETY: As above.
            if unsafe { ext_bindings::dma_mapping_error(device, addr) } != 0 {
                return Err(EIO);
            }
            mapped.push(
                Segment {
                    addr,
                    len: range.len,
                },
                GFP_KERNEL,
            )?;
        }

        let segments = core::mem::take(mapped);
        let count = segments
            .iter()
            .map(|segment| limits.entries_of(*segment))
            .sum();
        let result = self
            .allocate(count)
            .and_then(|mut table| segments.iter().try_for_each(|s| table.put(limits, *s)));

        self.mapping = Mapping::Each(dev.into(), segments);
        result
    }
}
