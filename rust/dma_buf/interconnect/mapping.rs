// SPDX-License-Identifier: GPL-2.0

//! What is common to maps and unmaps of all types: checks and counts.
//!
//! There is neither a lock nor an allocation here: the reservation lock protects everything.

use super::{
    buffer::BufferState,
    record::Record,
    sgt, //
};
use kernel::{
    bindings,
    error::from_result,
    prelude::*,
    warn_on, //
};

use core::ptr::from_ref;

type Attachment = ext_bindings::dma_buf_interconnect_attachment;
type Type = ext_bindings::dma_buf_interconnect_type;

impl Record {
    /// # Safety
    ///
    /// The reservation lock of the buffer must be held.
    unsafe fn begin_map(&self, ty: *const Type) -> Result {
        // SAFETY: The buffer is valid.
        unsafe { ext_bindings::dma_resv_assert_held((*self.public.dmabuf).resv) };

        if !core::ptr::eq(self.ty(), ty) {
            return Err(EINVAL);
        }
        if self.attach().is_null() {
            return Err(ENODEV);
        }
        // Scatterlists are counted by the exporter, for importers of all kinds.
        if !sgt::is(ty) {
            if let Some(buffer) = self.buffer() {
                // SAFETY: By the safety requirements.
                unsafe { buffer.map() }?;
            }
        }
        self.add_mapping();
        Ok(())
    }

    /// # Safety
    ///
    /// As `begin_map()`; there must be a mapping.
    unsafe fn end_unmap(&self) {
        self.remove_mapping();
        if !sgt::is(self.ty()) {
            if let Some(buffer) = self.buffer() {
                // SAFETY: By the safety requirements.
                unsafe { buffer.unmap() };
            }
        }
    }

    fn buffer(&self) -> Option<&BufferState> {
        // SAFETY: By the contract of `buffer` of the exporter's operations it is valid as long as
        // the dma-buf, on which there is a reference.
        (!self.buffer.is_null()).then(|| unsafe { BufferState::from_raw(self.buffer) })
    }
}

/// Begins a map: checks the type and that the buffer was not revoked, and counts the mapping.
///
/// # Safety
///
/// `ica` must be valid, and the reservation lock held.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_begin_map(
    ica: *mut Attachment,
    ty: *const Type,
) -> c_int {
    from_result(|| {
        // SAFETY: By the safety requirements.
        unsafe { Record::from_public(ica).begin_map(ty) }?;
        Ok(0)
    })
}

/// Begins an unmap: checks the type and that there is a mapping.
///
/// # Safety
///
/// `ica` must be valid, and the reservation lock held.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_begin_unmap(
    ica: *mut Attachment,
    ty: *const Type,
) -> bool {
    // SAFETY: By the safety requirements.
    let record = unsafe { Record::from_public(ica) };

    // SAFETY: The buffer is valid.
    unsafe { ext_bindings::dma_resv_assert_held((*record.public.dmabuf).resv) };
    !warn_on!(!core::ptr::eq(record.ty(), ty) || record.mappings() == 0)
}

/// Ends an unmap, or a map that has failed.
///
/// # Safety
///
/// `dma_buf_interconnect_begin_unmap()` or `dma_buf_interconnect_begin_map()` must have succeeded,
/// and the lock have been held since.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_end_unmap(ica: *mut Attachment) {
    // SAFETY: By the safety requirements.
    unsafe { Record::from_public(ica).end_unmap() };
}

/// Number of mappings that an attachment has.
///
/// # Safety
///
/// `ica` must be valid.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_mappings(ica: *const Attachment) -> c_uint {
    // SAFETY: By the safety requirements.
    unsafe { Record::from_public(ica) }.mappings()
}

/// Maps a scatterlist.
///
/// # Safety
///
/// As `dma_buf_sgt_map_interconnect()` demands.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_sgt_map_interconnect(
    ica: *mut Attachment,
    direction: bindings::dma_data_direction,
) -> *mut bindings::sg_table {
    // SAFETY: By the safety requirements.
    let record = unsafe { Record::from_public(ica) };

    // SAFETY: As above.
    if let Err(err) = unsafe { record.begin_map(from_ref(sgt::descriptor())) } {
        return err.to_ptr();
    }
    // SAFETY: The attachment exists, which `begin_map()` has checked, and the lock is held.
    let table = unsafe { bindings::dma_buf_map_attachment(record.attach(), direction) };

    if kernel::error::from_err_ptr(table).is_err() {
        // SAFETY: Begun above.
        unsafe { record.end_unmap() };
    }
    table
}

/// Undoes `dma_buf_sgt_map_interconnect()`.
///
/// # Safety
///
/// As `dma_buf_sgt_unmap_interconnect()` demands.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_sgt_unmap_interconnect(
    ica: *mut Attachment,
    table: *mut bindings::sg_table,
    direction: bindings::dma_data_direction,
) {
    // SAFETY: By the safety requirements.
    unsafe {
        if dma_buf_interconnect_begin_unmap(ica, from_ref(sgt::descriptor())) {
            let record = Record::from_public(ica);

            bindings::dma_buf_unmap_attachment(record.attach(), table, direction);
            record.end_unmap();
        }
    }
}

/// Maps with the function of a type, between the common checks and counts.
///
/// # Safety
///
/// `ica` must be valid, and the reservation lock held. `map` is called with a match of `ty`.
pub(super) unsafe fn typed_map<R>(
    ica: *mut Attachment,
    ty: *const Type,
    map: impl FnOnce(*const ext_bindings::dma_buf_interconnect_match) -> Result<R>,
) -> Result<R> {
    // SAFETY: By the safety requirements.
    kernel::error::to_result(unsafe { dma_buf_interconnect_begin_map(ica, ty) })?;

    // SAFETY: By the safety requirements.
    let result = map(unsafe { (*ica).match_ });

    if result.is_err() {
        // SAFETY: Begun above.
        unsafe { dma_buf_interconnect_end_unmap(ica) };
    }
    result
}

/// Unmaps with the function of a type, between the common checks and counts.
///
/// # Safety
///
/// As [`typed_map`].
pub(super) unsafe fn typed_unmap(
    ica: *mut Attachment,
    ty: *const Type,
    unmap: impl FnOnce(*const ext_bindings::dma_buf_interconnect_match),
) {
    // SAFETY: By the safety requirements.
    unsafe {
        if dma_buf_interconnect_begin_unmap(ica, ty) {
            unmap((*ica).match_);
            dma_buf_interconnect_end_unmap(ica);
        }
    }
}
