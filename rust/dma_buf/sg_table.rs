// SPDX-License-Identifier: GPL-2.0

//! DMA mappings that an exporter makes for an importer.
//!
//! # Memory of a BAR
//!
//! `dma_buf_phys_vec_to_sgt()` of Linux 7.3 is made for this and is not used, for three reasons.
//! Behind an IOMMU that translates it links every range at offset 0 of the addresses that it has
//! reserved, and fails with `-EADDRINUSE` for more than one range. It ignores the segment limits of
//! the importing device. And it sets `orig_nents` to 0 and leaves it at that, so that
//! `sg_free_table()` frees nothing: each mapping leaks its entries.
//!
//! What is kept from it: the entries have no pages, and `orig_nents` is 0 while the importer has
//! the table, which tells it so.

use super::AttachmentInfo;
use crate::p2pdma::{
    MapType,
    Provider, //
};
use kernel::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::to_result,
    io::PhysAddr,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::ForeignOwnable, //
};

use core::{
    ops::Range,
    ptr::from_ref, //
};

pub mod segments;

use segments::{
    merge,
    Limits,
    Segment, //
};

/// Attributes of mappings of a BAR.
const MMIO: usize = bindings::DMA_ATTR_MMIO as usize;

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhysRange {
    /// Where it begins.
    pub start: PhysAddr,
    /// Its length in bytes.
    pub len: u64,
}

/// System memory that an exporter shares.
///
/// # Safety
///
/// The pages must be valid, and always the same, until the object is dropped.
pub unsafe trait PageBacking: Send + Sync + 'static {
    /// The pages, in the order of the buffer.
    fn pages(&self) -> &[*mut bindings::page];
}

/// Memory that is mapped for DMA by the device of an importer.
///
/// Dropping it undoes the mapping. The device must still be bound to its driver then, which is
/// what an importer has to ensure.
pub struct SgTable(KBox<Inner>);

// SAFETY: A table can be unmapped and freed on any thread.
unsafe impl Send for SgTable {}

/// What a table consists of.
///
/// # Invariants
///
/// `table` is empty or has `allocated` entries, and `mapping` is what has been mapped so far.
#[repr(C)]
struct Inner {
    /// At offset 0, since it is a pointer to this that goes to the C side and comes back.
    table: bindings::sg_table,
    /// The number of entries; the field of the table is 0 where there are no pages.
    allocated: u32,
    device: ARef<Device>,
    direction: DataDirection,
    mapping: Mapping,
    /// The owner of the pages.
    keep: Option<Keep>,
}

/// An object of which nothing matters but that it is not dropped.
pub(super) struct Keep {
    object: *mut c_void,
    drop: unsafe fn(*mut c_void),
}

impl Keep {
    pub(super) fn new<P: ForeignOwnable + Send + 'static>(object: P) -> Self {
        /// # Safety
        ///
        /// `object` must have come from `P::into_foreign()`, and not be used any more.
        unsafe fn drop_object<P: ForeignOwnable>(object: *mut c_void) {
            // SAFETY: By the safety requirements.
            drop(unsafe { P::from_foreign(object) });
        }

        Self {
            object: object.into_foreign(),
            drop: drop_object::<P>,
        }
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        // SAFETY: Both fields are of the same type, and the object is dropped once.
        unsafe { (self.drop)(self.object) };
    }
}

/// What has to be undone.
enum Mapping {
    /// Nothing: addresses of the PCI bus, or not mapped yet.
    None,
    /// A range of addresses behind an IOMMU, of which so many bytes are linked.
    Iova(bindings::dma_iova_state, usize),
    /// Each of these was mapped for itself.
    Each(KVVec<Segment>),
    /// The pages of the table.
    Pages,
}

impl SgTable {
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
    pub fn from_mmio<R>(
        importer: &AttachmentInfo,
        provider: &Provider,
        ranges: R,
        direction: DataDirection,
    ) -> Result<Self>
    where
        R: IntoIterator<Item = PhysRange>,
        R::IntoIter: Clone,
    {
        let ranges = ranges.into_iter();
        let size = check_ranges(provider, ranges.clone())?;
        let ranges = merge(ranges);
        let map_type = provider.map_type(importer.device());

        if map_type == MapType::NotSupported {
            return Err(EOPNOTSUPP);
        }

        let mut this = Self(Inner::new(importer.device(), direction)?);

        if map_type == MapType::BusAddr {
            this.0.map_bus(provider, ranges)?;
        } else if !this.0.map_iova(size, ranges.clone())? {
            this.0.map_each(ranges)?;
        }
        this.0.table.orig_nents = 0;
        Ok(this)
    }

    /// Maps system memory for the device of `importer`. The table holds a reference on `backing`.
    ///
    /// `range` is the part of the memory, in bytes from its start, on page boundaries. Sleeps
    /// (allocates). C: `dma_map_sgtable()`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `range` is empty or not on page boundaries.
    /// - `ERANGE`: `range` is beyond the memory.
    /// - `EIO` and others of the DMA API, when it refuses the mapping.
    /// - `ENOMEM`.
    pub fn from_pages<P: PageBacking>(
        importer: &AttachmentInfo,
        backing: &Arc<P>,
        range: Range<usize>,
        direction: DataDirection,
    ) -> Result<Self> {
        if range.is_empty() || (range.start | range.end) % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }

        let pages = backing
            .pages()
            .get(range.start / PAGE_SIZE..range.end / PAGE_SIZE)
            .ok_or(ERANGE)?;
        let mut this = Self(Inner::new(importer.device(), direction)?);

        this.0.map_pages(pages)?;
        this.0.keep = Some(Keep::new(backing.clone()));
        Ok(this)
    }

    /// Hands the table over to the C side.
    pub(super) fn into_raw(self) -> *mut bindings::sg_table {
        KBox::into_raw(self.0).cast()
    }

    /// Takes a table back from the C side.
    ///
    /// # Safety
    ///
    /// `table` must have come from [`SgTable::into_raw`], and not be used otherwise any more.
    pub(super) unsafe fn from_raw(table: *mut bindings::sg_table) -> Self {
        // SAFETY: By the safety requirements; the table is at offset 0 of the allocation.
        Self(unsafe { KBox::from_raw(table.cast()) })
    }
}

/// Checks what [`SgTable::from_mmio`] demands of ranges, and returns the sum of their lengths.
fn check_ranges(provider: &Provider, ranges: impl Iterator<Item = PhysRange>) -> Result<usize> {
    let mut size: usize = 0;

    for range in ranges {
        if range.len == 0 || (range.start | range.len) % PAGE_SIZE as u64 != 0 {
            return Err(EINVAL);
        }
        if !provider.contains(range.start, range.len) {
            return Err(ERANGE);
        }
        size = size.checked_add(range.len.try_into()?).ok_or(EOVERFLOW)?;
    }

    // The DMA API keeps a flag in the uppermost bit of the size.
    match isize::try_from(size) {
        Ok(1..) => Ok(size),
        Ok(_) => Err(EINVAL),
        Err(_) => Err(EOVERFLOW),
    }
}

impl Inner {
    fn new(device: &Device, direction: DataDirection) -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                // INVARIANT: Empty, and nothing is mapped.
                table: pin_init::zeroed(),
                allocated: 0,
                device: device.into(),
                direction,
                mapping: Mapping::None,
                keep: None,
            },
            GFP_KERNEL,
        )?)
    }

    fn raw_device(&self) -> *mut bindings::device {
        from_ref::<Device>(&self.device).cast_mut().cast()
    }

    /// Maps below a common bridge: there the addresses of the bus are those of the memory.
    fn map_bus(
        &mut self,
        provider: &Provider,
        ranges: impl Iterator<Item = PhysRange> + Clone,
    ) -> Result {
        let limits = Limits::of(&self.device);
        let segments = ranges.map(|range| Segment {
            addr: provider.bus_address(range.start),
            len: range.len,
        });

        if !limits.reaches(segments.clone()) {
            return Err(ENXIO);
        }
        self.fill(&limits, segments)
    }

    /// Maps into one range of addresses behind an IOMMU. False if there is none to be had, as
    /// when the device is not behind an IOMMU that translates.
    fn map_iova(&mut self, size: usize, ranges: impl Iterator<Item = PhysRange>) -> Result<bool> {
        let device = self.raw_device();
        let mut state: bindings::dma_iova_state = pin_init::zeroed();

        // SAFETY: The importer keeps the device bound; `state` is a valid place.
        if !unsafe { bindings::dma_iova_try_alloc(device, &mut state, 0, size) } {
            return Ok(false);
        }

        let addr = state.addr;
        let direction = self.direction.into();

        self.mapping = Mapping::Iova(state, 0);
        let Mapping::Iova(state, linked) = &mut self.mapping else {
            return Err(EINVAL);
        };

        for range in ranges {
            // CAST: `check_ranges()` has added the lengths up in a `usize`.
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

        let limits = Limits::of(&self.device);
        let segment = Segment {
            addr,
            len: size as u64,
        };

        self.fill(&limits, core::iter::once(segment))?;
        Ok(true)
    }

    /// Maps each range for itself, at the address that the DMA API gives to it.
    fn map_each(&mut self, ranges: impl Iterator<Item = PhysRange> + Clone) -> Result {
        let device = self.raw_device();
        let count = ranges.clone().count();

        self.mapping = Mapping::Each(KVVec::with_capacity(count, GFP_KERNEL)?);
        let Mapping::Each(mapped) = &mut self.mapping else {
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

        let limits = Limits::of(&self.device);
        let segments = core::mem::take(mapped);
        let result = self.fill(&limits, segments.iter().copied());

        self.mapping = Mapping::Each(segments);
        result
    }

    /// Makes the table from entries that have addresses and no pages.
    fn fill(&mut self, limits: &Limits, segments: impl Iterator<Item = Segment> + Clone) -> Result {
        let entries = limits.split(segments);
        let count = entries.clone().count().try_into()?;

        // SAFETY: The table is empty.
        // INVARIANT: On success it has `count` entries.
        to_result(unsafe {
            bindings::sg_alloc_table(&mut self.table, count, bindings::GFP_KERNEL)
        })?;
        self.allocated = count;

        let mut sg = self.table.sgl;

        for entry in entries {
            // SAFETY: There are as many entries in the table as in the iterator, so `sg` is one.
            unsafe {
                (*sg).dma_address = entry.addr;
                // CAST: `Limits::split()` keeps the length below `max_len`, which is a `u32`.
                set_dma_len(sg, entry.len as u32);
                sg = bindings::sg_next(sg);
            }
        }
        Ok(())
    }

    fn map_pages(&mut self, pages: &[*mut bindings::page]) -> Result {
        let limits = Limits::of(&self.device);

        // SAFETY: The table is empty, and the pages are valid; the C function only reads the list.
        // INVARIANT: On success the table has `orig_nents` entries.
        to_result(unsafe {
            bindings::sg_alloc_table_from_pages_segment(
                &mut self.table,
                pages.as_ptr().cast_mut(),
                pages.len().try_into()?,
                0,
                pages.len() * PAGE_SIZE,
                limits.max_len,
                bindings::GFP_KERNEL,
            )
        })?;
        self.allocated = self.table.orig_nents;

        // SAFETY: The importer keeps the device bound; the table is complete.
        to_result(unsafe {
            bindings::dma_map_sgtable(self.raw_device(), &mut self.table, self.direction.into(), 0)
        })?;
        self.mapping = Mapping::Pages;
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let device = self.raw_device();
        let direction = self.direction.into();

        // SAFETY: By the type invariants `mapping` is what has been mapped for this device, with
        // this direction. The device is still bound, see `SgTable`.
        unsafe {
            match &mut self.mapping {
                Mapping::None => {}
                Mapping::Iova(state, linked) => {
                    bindings::dma_iova_destroy(device, state, *linked, direction, MMIO)
                }
                Mapping::Each(mapped) => {
                    for segment in mapped.iter() {
                        bindings::dma_unmap_phys(
                            device,
                            segment.addr,
                            segment.len as usize,
                            direction,
                            MMIO,
                        );
                    }
                }
                Mapping::Pages => {
                    bindings::dma_unmap_sgtable(device, &mut self.table, direction, 0)
                }
            }
        }

        self.table.orig_nents = self.allocated;
        // SAFETY: By the type invariants the table is empty or has that many entries.
        unsafe { bindings::sg_free_table(&mut self.table) };
    }
}

/// # Safety
///
/// `sg` must be a valid entry.
unsafe fn set_dma_len(sg: *mut bindings::scatterlist, len: u32) {
    #[cfg(CONFIG_NEED_SG_DMA_LENGTH)]
    // SAFETY: By the safety requirements.
    unsafe {
        (*sg).dma_length = len;
    }

    #[cfg(not(CONFIG_NEED_SG_DMA_LENGTH))]
    // SAFETY: By the safety requirements.
    unsafe {
        (*sg).length = len;
    }
}
