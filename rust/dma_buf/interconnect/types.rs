// SPDX-License-Identifier: GPL-2.0

//! Types as Rust drivers see them.

use super::{
    iov,
    mapping,
    negotiation::Raw,
    sgt, //
};
use kernel::{
    bindings,
    dma::DataDirection,
    error::from_err_ptr,
    pci,
    prelude::*,
    scatterlist::SGTable,
    types::Opaque, //
};

use core::ptr::{
    from_ref,
    NonNull, //
};

/// A type on which an exporter and an importer can agree.
///
/// # Safety
///
/// `descriptor()` must always return the same, and the other functions be right for it.
pub unsafe trait Type: Sized + 'static {
    /// What was negotiated.
    type Match;

    /// What a mapping looks like to the importer.
    type Mapping;

    /// The descriptor, by whose address the type is known.
    fn descriptor() -> &'static ext_bindings::dma_buf_interconnect_type;

    /// The match of an attachment.
    ///
    /// # Safety
    ///
    /// `matched` must be a match of this type, and valid during `'a`.
    unsafe fn match_from_raw<'a>(
        matched: *const ext_bindings::dma_buf_interconnect_match,
    ) -> &'a Self::Match;

    /// Maps. Sleeps.
    ///
    /// # Safety
    ///
    /// `ica` must be valid, and the reservation lock of its buffer held.
    unsafe fn map(ica: *mut Raw, direction: DataDirection) -> Result<NonNull<Self::Mapping>>;

    /// Undoes [`Type::map`]. Sleeps.
    ///
    /// # Safety
    ///
    /// As [`Type::map`]; `mapping` must be what that returned for `ica` and `direction`, and is
    /// not used afterwards.
    unsafe fn unmap(ica: *mut Raw, mapping: NonNull<Self::Mapping>, direction: DataDirection);
}

/// A type that exporters map with functions of its own: all but the scatterlist.
pub trait NativeType: Type {
    /// A mapping as the exporter makes it.
    type Owned;
}

/// The scatterlist. C: `dma_buf_sgt_type`.
///
/// Exporters map it by [`Exporter::map`](crate::dma_buf::Exporter::map).
pub struct Sgt;

// SAFETY: The functions of C for this type.
unsafe impl Type for Sgt {
    type Match = ();
    type Mapping = SGTable;

    fn descriptor() -> &'static ext_bindings::dma_buf_interconnect_type {
        sgt::descriptor()
    }

    unsafe fn match_from_raw<'a>(
        _matched: *const ext_bindings::dma_buf_interconnect_match,
    ) -> &'a () {
        &()
    }

    unsafe fn map(ica: *mut Raw, direction: DataDirection) -> Result<NonNull<SGTable>> {
        // SAFETY: By the safety requirements.
        let table = unsafe { mapping::dma_buf_sgt_map_interconnect(ica, direction.into()) };
        let table = from_err_ptr(table)?;

        // CAST: `SGTable` is a transparent wrapper.
        NonNull::new(table.cast()).ok_or(ENOMEM)
    }

    unsafe fn unmap(ica: *mut Raw, mapping: NonNull<SGTable>, direction: DataDirection) {
        // SAFETY: By the safety requirements.
        unsafe {
            mapping::dma_buf_sgt_unmap_interconnect(ica, mapping.as_ptr().cast(), direction.into())
        };
    }
}

/// Memory of a virtual function, for its physical function. C: `dma_buf_iov_type`.
///
/// The device of the importer is the PF itself. Neither DMA nor physical addresses are exchanged.
pub struct Iov;

/// What was negotiated about memory of a VF. C: `struct dma_buf_iov_match`.
///
/// It holds references on both functions, so that they can be named; the VF may have been disabled
/// meanwhile.
///
/// # Invariants
///
/// The C structure is complete, and does not change.
#[repr(transparent)]
pub struct IovMatch(Opaque<ext_bindings::dma_buf_iov_match>);

// SAFETY: A match does not change.
unsafe impl Sync for IovMatch {}

impl IovMatch {
    fn raw(&self) -> &ext_bindings::dma_buf_iov_match {
        // SAFETY: By the type invariant.
        unsafe { &*self.0.get() }
    }

    /// The VF whose memory it is.
    pub fn vf(&self) -> &pci::Device {
        // CAST: `pci::Device` is a transparent wrapper of the structure.
        // SAFETY: By the type invariant there is a reference on it.
        unsafe { &*self.raw().vf.cast_const().cast() }
    }

    /// The PF of the VF, which is the importer's device.
    pub fn pf(&self) -> &pci::Device {
        // CAST: As above.
        // SAFETY: As above.
        unsafe { &*self.raw().pf.cast_const().cast() }
    }

    /// Number of the VF, counted from 1.
    pub fn vf_number(&self) -> u32 {
        self.raw().vf_number
    }

    /// Number of the BAR.
    pub fn bar(&self) -> u32 {
        self.raw().bar
    }

    pub(super) fn ops(&self) -> *const ext_bindings::dma_buf_iov_ops {
        self.raw().ops
    }
}

/// A part of a BAR of a VF. C: `struct dma_buf_iov_range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct IovRange {
    /// From the beginning of the BAR, in bytes.
    pub offset: u64,
    /// In bytes.
    pub len: u64,
    /// Number of the BAR.
    pub bar: u32,
    pad: u32,
}

const _: () = assert!(size_of::<IovRange>() == size_of::<iov::RawRange>());

impl IovRange {
    /// `len` bytes at `offset` of `bar`.
    pub const fn new(bar: u32, offset: u64, len: u64) -> Self {
        Self {
            offset,
            len,
            bar,
            pad: 0,
        }
    }
}

/// A mapping of memory of a VF, as the importer sees it. C: `struct dma_buf_iov_ranges`.
///
/// # Invariants
///
/// The C structure is complete, and does not change.
#[repr(transparent)]
pub struct IovMapping(Opaque<iov::RawRanges>);

impl IovMapping {
    /// The ranges, in the order of the buffer.
    ///
    /// They are what the exporter says. [`IovMapping::check`] is the least that has to be done
    /// before they are used.
    pub fn ranges(&self) -> &[IovRange] {
        // SAFETY: By the type invariant.
        let ranges = unsafe { iov::ranges_of(NonNull::from(&self.0).cast()) };

        // CAST: The layout is the same.
        // SAFETY: As above.
        unsafe { core::slice::from_raw_parts(ranges.as_ptr().cast(), ranges.len()) }
    }

    /// Checks each range: not empty, of `matched`'s BAR, and within `limit` bytes from its
    /// beginning; and that they add up to `size`, that of the buffer.
    ///
    /// # Errors
    ///
    /// - `ERANGE`: a range ends beyond the limit, or wraps around.
    /// - `EINVAL`: anything else.
    pub fn check(&self, matched: &IovMatch, limit: u64, size: u64) -> Result {
        // SAFETY: By the type invariant.
        let ranges = unsafe { iov::ranges_of(NonNull::from(&self.0).cast()) };

        iov::check(ranges, matched.bar(), limit, size)
    }
}

/// A mapping of memory of a VF, as the exporter makes it: one allocation.
///
/// # Invariants
///
/// It owns what `iov::alloc()` returned, and all ranges are initialised.
pub struct IovRanges(NonNull<iov::RawRanges>);

// SAFETY: It is plain memory.
unsafe impl Send for IovRanges {}

impl IovRanges {
    /// Makes a mapping of `ranges`. Sleeps (allocates).
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EOVERFLOW` if there are too many.
    pub fn new<R>(ranges: R) -> Result<Self>
    where
        R: IntoIterator<Item = IovRange>,
        R::IntoIter: ExactSizeIterator,
    {
        let mut ranges = ranges.into_iter();
        let count = u32::try_from(ranges.len()).map_err(|_| EOVERFLOW)?;
        let memory = iov::alloc(count)?;

        for i in 0..count as usize {
            // An iterator that ends early leaves ranges that no importer accepts.
            let range = ranges.next().unwrap_or(IovRange::new(u32::MAX, 0, 0));

            // SAFETY: There is room for as many ranges; the layout is the same.
            unsafe {
                (&raw mut (*memory.as_ptr()).ranges)
                    .cast::<IovRange>()
                    .add(i)
                    .write(range)
            };
        }
        // INVARIANT: Made above.
        Ok(Self(memory))
    }

    pub(super) fn into_raw(self) -> *mut iov::RawRanges {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    ///
    /// `ranges` must have come from [`IovRanges::into_raw`], and not be used any more.
    pub(super) unsafe fn from_raw(ranges: NonNull<iov::RawRanges>) -> Self {
        // INVARIANT: By the safety requirements.
        Self(ranges)
    }
}

impl Drop for IovRanges {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::kvfree(self.0.as_ptr().cast()) };
    }
}

// SAFETY: As the functions that `DEFINE_DMA_BUF_INTERCONNECT_MAP()` makes.
unsafe impl Type for Iov {
    type Match = IovMatch;
    type Mapping = IovMapping;

    fn descriptor() -> &'static ext_bindings::dma_buf_interconnect_type {
        iov::descriptor()
    }

    unsafe fn match_from_raw<'a>(
        matched: *const ext_bindings::dma_buf_interconnect_match,
    ) -> &'a IovMatch {
        // CAST: A match of this type is embedded in the structure at offset 0.
        // SAFETY: By the safety requirements.
        unsafe { &*matched.cast() }
    }

    unsafe fn map(ica: *mut Raw, direction: DataDirection) -> Result<NonNull<IovMapping>> {
        // SAFETY: By the safety requirements.
        unsafe {
            mapping::typed_map(ica, from_ref(Self::descriptor()), |matched| {
                let ops = Self::match_from_raw(matched).ops();
                let map = (*ops).map_interconnect.ok_or(EINVAL)?;
                let ranges = from_err_ptr(map(ica, direction.into()))?;

                // CAST: `IovMapping` is a transparent wrapper.
                NonNull::new(ranges.cast()).ok_or(ENOMEM)
            })
        }
    }

    unsafe fn unmap(ica: *mut Raw, mapping: NonNull<IovMapping>, direction: DataDirection) {
        // SAFETY: By the safety requirements.
        unsafe {
            mapping::typed_unmap(ica, from_ref(Self::descriptor()), |matched| {
                let ops = Self::match_from_raw(matched).ops();

                if let Some(unmap) = (*ops).unmap_interconnect {
                    unmap(ica, mapping.as_ptr().cast(), direction.into());
                }
            })
        };
    }
}

impl NativeType for Iov {
    type Owned = IovRanges;
}
