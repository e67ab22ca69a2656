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

use super::{
    slot::Common,
    ExportedAttachment,
    Exporter, //
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
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Range,
    ptr::{
        from_ref,
        NonNull, //
    },
};

mod mmio;
pub mod segments;

use segments::{
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

/// The pages of a part of `backing`, in bytes from its start.
///
/// Fails with `EINVAL` if the range is empty or not on page boundaries, `ERANGE` if it is beyond
/// the memory.
pub(super) fn pages_of<'a>(
    backing: &'a impl PageBacking,
    range: &Range<usize>,
) -> Result<&'a [*mut bindings::page]> {
    if range.is_empty() || (range.start | range.end) % PAGE_SIZE != 0 {
        return Err(EINVAL);
    }
    backing
        .pages()
        .get(range.start / PAGE_SIZE..range.end / PAGE_SIZE)
        .ok_or(ERANGE)
}

/// Memory that is mapped for DMA by the device of an importer.
///
/// Dropping it undoes the mapping. The device must still be bound to its driver then, which is
/// what an importer has to ensure.
///
/// It belongs to an attachment, in which there is room for one table; further ones are allocated.
///
/// # Invariants
///
/// The table is initialised, and this is its owner. It is in the place of the slot, or was
/// allocated as a [`KBox`].
pub struct SgTable<'a> {
    table: NonNull<Table>,
    slot: &'a Common,
}

/// What a table consists of.
///
/// # Invariants
///
/// `table` is empty, or `single` is its only entry, or it has `allocated` entries of its own.
/// `mapping` is what has been mapped so far.
#[repr(C)]
pub(super) struct Table {
    /// At offset 0, since it is a pointer to this that goes to the C side and comes back.
    table: bindings::sg_table,
    /// The number of entries that have to be freed; the field of the table is 0 where there are no
    /// pages.
    allocated: u32,
    direction: DataDirection,
    mapping: Mapping,
    /// The owner of the pages.
    keep: Option<Keep>,
    /// Most memory is in one piece: for that nothing has to be allocated.
    single: Opaque<bindings::scatterlist>,
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

/// What has to be undone, and for which device.
enum Mapping {
    /// Nothing: addresses of the PCI bus, or not mapped yet.
    None,
    /// A range of addresses behind an IOMMU, of which so many bytes are linked.
    Iova(ARef<Device>, bindings::dma_iova_state, usize),
    /// Each of these was mapped for itself.
    Each(ARef<Device>, KVVec<Segment>),
    /// The pages of the table.
    Pages(ARef<Device>),
}

impl<'a> SgTable<'a> {
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
    pub fn from_pages<E: Exporter, P: PageBacking>(
        importer: &'a ExportedAttachment<E>,
        backing: &Arc<P>,
        range: Range<usize>,
        direction: DataDirection,
    ) -> Result<Self> {
        let pages = pages_of(&**backing, &range)?;
        let mut this = Self::new(importer.slot(), direction)?;

        this.inner().map_pages(importer.device(), pages)?;
        this.inner().keep = Some(Keep::new(backing.clone()));
        Ok(this)
    }

    /// An empty table.
    #[inline]
    fn new(slot: &'a Common, direction: DataDirection) -> Result<Self> {
        let table = match slot.claim() {
            Some(place) => {
                // SAFETY: The place is large enough, aligned, and of no other use.
                // INVARIANT: Initialised, in the place of the slot.
                unsafe { place.write(Table::empty(direction)) };
                place
            }
            // INVARIANT: Initialised, and allocated as a box.
            None => NonNull::from(KBox::leak(KBox::new(Table::empty(direction), GFP_KERNEL)?)),
        };

        Ok(Self { table, slot })
    }

    #[inline]
    fn inner(&mut self) -> &mut Table {
        // SAFETY: By the type invariants the table is initialised and ours.
        unsafe { self.table.as_mut() }
    }

    /// Hands the table over to the C side.
    #[inline]
    pub(super) fn into_raw(self) -> *mut bindings::sg_table {
        ManuallyDrop::new(self).table.as_ptr().cast()
    }

    /// Takes a table back from the C side.
    ///
    /// # Safety
    ///
    /// `table` must have come from [`SgTable::into_raw`] for the attachment of `slot`, and not be
    /// used otherwise any more.
    #[inline]
    pub(super) unsafe fn from_raw(table: NonNull<bindings::sg_table>, slot: &'a Common) -> Self {
        // INVARIANT: By the safety requirements; the C structure is at offset 0 of the table.
        Self {
            table: table.cast(),
            slot,
        }
    }
}

impl Drop for SgTable<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.slot.has(self.table) {
            // SAFETY: By the type invariants the table is initialised and ours; it is not used
            // afterwards.
            unsafe { self.table.drop_in_place() };
            self.slot.release();
        } else {
            // SAFETY: By the type invariants the table was allocated as a box, and is ours.
            drop(unsafe { KBox::from_raw(self.table.as_ptr()) });
        }
    }
}

impl Table {
    #[inline]
    fn empty(direction: DataDirection) -> Self {
        // INVARIANT: Empty, and nothing is mapped.
        Self {
            table: pin_init::zeroed(),
            allocated: 0,
            direction,
            mapping: Mapping::None,
            keep: None,
            single: Opaque::uninit(),
        }
    }

    /// Makes the table of `count` entries, which get addresses and no pages by the result.
    fn allocate(&mut self, count: usize) -> Result<Entries<'_>> {
        if count == 1 {
            let single = self.single.get();

            // C: `sg_init_table()`.
            //
            // SAFETY: There is room for one entry.
            unsafe {
                single.write(pin_init::zeroed());
                (*single).page_link = bindings::SG_END as usize;
            }
            // INVARIANT: The entry stays where it is, as the allocation does.
            self.table.sgl = single;
            self.table.nents = 1;
        } else {
            let count = count.try_into()?;

            // SAFETY: The table is empty.
            // INVARIANT: On success it has `count` entries.
            to_result(unsafe {
                bindings::sg_alloc_table(&mut self.table, count, bindings::GFP_KERNEL)
            })?;
            self.allocated = count;
        }

        // INVARIANT: The first entry.
        Ok(Entries {
            next: self.table.sgl,
            _table: PhantomData,
        })
    }

    fn map_pages(&mut self, device: &Device, pages: &[*mut bindings::page]) -> Result {
        let limits = Limits::of(device);

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
            bindings::dma_map_sgtable(raw(device), &mut self.table, self.direction.into(), 0)
        })?;
        self.mapping = Mapping::Pages(device.into());
        Ok(())
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let direction = self.direction.into();

        // SAFETY: By the type invariants `mapping` is what has been mapped for this device, with
        // this direction. The device is still bound, see `SgTable`.
        unsafe {
            match &mut self.mapping {
                Mapping::None => {}
                Mapping::Iova(device, state, linked) => {
                    bindings::dma_iova_destroy(raw(device), state, *linked, direction, MMIO)
                }
                Mapping::Each(device, mapped) => {
                    for segment in mapped.iter() {
                        bindings::dma_unmap_phys(
                            raw(device),
                            segment.addr,
                            segment.len as usize,
                            direction,
                            MMIO,
                        );
                    }
                }
                Mapping::Pages(device) => {
                    bindings::dma_unmap_sgtable(raw(device), &mut self.table, direction, 0)
                }
            }
        }

        if self.allocated > 0 {
            self.table.orig_nents = self.allocated;
            // SAFETY: By the type invariants the table has that many entries of its own.
            unsafe { bindings::sg_free_table(&mut self.table) };
        }
    }
}

fn raw(device: &Device) -> *mut bindings::device {
    from_ref(device).cast_mut().cast()
}

/// The entries of a table that have no addresses yet.
///
/// # Invariants
///
/// `next` is an entry of a table that exists during `'a`, or `NULL` after the last.
struct Entries<'a> {
    next: *mut bindings::scatterlist,
    _table: PhantomData<&'a mut Table>,
}

impl Entries<'_> {
    /// Gives the addresses of `segment` to as many entries as it takes. Fails with `EINVAL` if
    /// there are not so many left.
    #[inline]
    fn put(&mut self, limits: &Limits, segment: Segment) -> Result {
        if limits.admits(&segment) {
            return self.put_entry(segment);
        }
        limits
            .split(core::iter::once(segment))
            .try_for_each(|entry| self.put_entry(entry))
    }

    #[inline]
    fn put_entry(&mut self, entry: Segment) -> Result {
        let sg = self.next;

        if sg.is_null() {
            return Err(EINVAL);
        }

        // SAFETY: By the type invariant `sg` is an entry.
        // INVARIANT: The one after it, or `NULL`.
        unsafe {
            (*sg).dma_address = entry.addr;
            // CAST: `Limits` keep the length below `max_len`, which is a `u32`.
            set_dma_len(sg, entry.len as u32);
            self.next = next_entry(sg);
        }
        Ok(())
    }
}

/// C: `sg_next()`, which would be a call here: there can be thousands.
///
/// # Safety
///
/// `sg` must be a valid entry.
#[inline]
unsafe fn next_entry(sg: *mut bindings::scatterlist) -> *mut bindings::scatterlist {
    const CHAIN: usize = bindings::SG_CHAIN as usize;
    const END: usize = bindings::SG_END as usize;

    // SAFETY: By the safety requirements; an entry without the mark of the last is followed by
    // another, or by the address of another.
    unsafe {
        if (*sg).page_link & END != 0 {
            return core::ptr::null_mut();
        }

        let next = sg.add(1);

        match (*next).page_link {
            link if link & CHAIN != 0 => (link & !(CHAIN | END)) as *mut _,
            _ => next,
        }
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
