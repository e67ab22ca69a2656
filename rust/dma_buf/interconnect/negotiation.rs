// SPDX-License-Identifier: GPL-2.0

//! Finding a type that both sides have, once, at attach.

use super::{
    record::{
        self,
        Owners,
        Record,
        RecordRef, //
    },
    registry::{
        self,
        Found,
        ModuleGuard, //
    },
    sgt,
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    ffi::c_void,
    prelude::*, //
};

use core::{
    ptr::{
        from_mut,
        from_ref,
        null,
        NonNull, //
    },
    slice, //
};

type Exporter = ext_bindings::dma_buf_interconnect_exporter;
type Importer = ext_bindings::dma_buf_interconnect_importer;
type Interconnect = ext_bindings::dma_buf_interconnect;

/// A negotiated attachment, as the public interface names it.
pub(in crate::dma_buf) type Raw = ext_bindings::dma_buf_interconnect_attachment;

/// The error of an attach when nothing is in common: `EPROTONOSUPPORT`.
///
/// C: `DMA_BUF_INTERCONNECT_ENOMATCH`.
pub fn no_match() -> Error {
    // CAST: Error numbers are small.
    Error::from_errno(-(bindings::EPROTONOSUPPORT as i32))
}

/// A negotiation that is under way: what C knows as `struct dma_buf_interconnect_negotiation`.
pub(super) struct State<'a> {
    dmabuf: *mut bindings::dma_buf,
    dev: *mut bindings::device,
    importer: &'a Importer,
    importer_priv: *mut c_void,
    importer_ics: &'a [*const Interconnect],
    exporter: Option<&'a Exporter>,
    /// Given to the record that is made.
    owners: Option<(ModuleGuard, Option<ModuleGuard>)>,
    outcome: Outcome,
}

enum Outcome {
    Open,
    Matched(RecordRef),
    Failed(Error),
}

impl State<'_> {
    /// Compares what the exporter has with what the importer has, in the exporter's order.
    ///
    /// # Safety
    ///
    /// The elements must be valid, and of the structures that their types demand.
    unsafe fn offer(&mut self, exporter_ics: &[*const Interconnect]) -> Result {
        match &self.outcome {
            Outcome::Open => {}
            Outcome::Matched(_) => return Ok(()),
            Outcome::Failed(err) => return Err(*err),
        }

        for &exporter in exporter_ics {
            for &importer in self.importer_ics {
                // SAFETY: By the safety requirements, and those of `attach()`.
                let ty = unsafe {
                    if (*exporter).type_ != (*importer).type_ {
                        continue;
                    }
                    (*exporter).type_
                };
                let pair = ext_bindings::dma_buf_interconnect_pair {
                    exporter,
                    importer,
                    dmabuf: self.dmabuf,
                    dev: self.dev,
                    importer_ops: &self.importer.base,
                };

                // SAFETY: The type is valid, as both sides name it.
                match unsafe { self.try_pair(&pair, ty) } {
                    Ok(record) => {
                        self.outcome = Outcome::Matched(record);
                        return Ok(());
                    }
                    Err(Refusal::Next) => {}
                    Err(Refusal::Stop(err)) => {
                        self.outcome = Outcome::Failed(err);
                        return Err(err);
                    }
                }
            }
        }
        Err(no_match())
    }

    /// # Safety
    ///
    /// `ty` must be valid, and `pair` of the structures that it demands.
    unsafe fn try_pair(
        &mut self,
        pair: &ext_bindings::dma_buf_interconnect_pair,
        ty: *const ext_bindings::dma_buf_interconnect_type,
    ) -> Result<RecordRef, Refusal> {
        // Who cannot let go gets nothing but what the exporter of old gave.
        if !sgt::is(ty) && self.importer.base.invalidate_mappings.is_none() {
            return Err(Refusal::Next);
        }

        // SAFETY: By the safety requirements.
        if let Some(matches) = unsafe { (*ty).match_ } {
            // SAFETY: As above.
            match to_result(unsafe { matches(pair) }) {
                Ok(()) => {}
                Err(err) if err == EOPNOTSUPP => return Err(Refusal::Next),
                Err(err) => return Err(Refusal::Stop(err)),
            }
        }

        // SAFETY: As above; the type is valid while both sides are.
        unsafe { self.finish(pair, ty) }.map_err(Refusal::Stop)
    }

    /// # Safety
    ///
    /// As `try_pair()`.
    unsafe fn finish(
        &mut self,
        pair: &ext_bindings::dma_buf_interconnect_pair,
        ty: *const ext_bindings::dma_buf_interconnect_type,
    ) -> Result<RecordRef> {
        // SAFETY: By the safety requirements.
        if unsafe { (*ty).name }.is_null() {
            return Err(EINVAL);
        }
        let (importer, exporter) = self.owners.take().ok_or(EINVAL)?;
        let owners = Owners {
            importer,
            exporter,
            // SAFETY: By the safety requirements.
            interconnect: unsafe { ModuleGuard::try_get((*ty).owner) }?,
        };
        let buffer = self
            .exporter
            .and_then(|exporter| exporter.buffer)
            // SAFETY: The buffer is one of this exporter.
            .map_or(core::ptr::null_mut(), |buffer| unsafe {
                buffer(self.dmabuf)
            });
        let public = record::public(
            self.dmabuf,
            self.dev,
            self.importer,
            self.importer_priv,
            self.exporter.map_or(null(), from_ref),
        );

        // SAFETY: All of it is valid while the negotiation is under way.
        let mut record = unsafe { Record::create(public, ty, buffer, owners) }?;

        record.finish(pair)?;
        Ok(record)
    }
}

enum Refusal {
    Next,
    Stop(Error),
}

/// Negotiates, and attaches.
///
/// # Safety
///
/// `dmabuf` and `dev` must be valid, and `importer_ics` be of the structures that their types
/// demand. `importer_priv` must be what the importer's operations expect, until it is detached.
unsafe fn attach(
    dmabuf: *mut bindings::dma_buf,
    dev: *mut bindings::device,
    importer: *const Importer,
    importer_priv: *mut c_void,
    importer_ics: &[*const Interconnect],
) -> Result<RecordRef> {
    let importer: Found<Importer> = registry::find(importer.cast())?.ok_or(EINVAL)?;

    // SAFETY: By the safety requirements. The exporter may replace its operations until it gives
    // the buffer away; they are looked up now, and not again.
    let ops = unsafe { (&raw const (*dmabuf).ops).read_volatile() };
    let exporter: Option<Found<Exporter>> = registry::find(ops.cast())?;

    // SAFETY: The references on the modules are in the state, and then in the record.
    let (importer_side, exporter_side) = unsafe {
        (
            &*from_ref(importer.get()),
            exporter.as_ref().map(|exporter| &*from_ref(exporter.get())),
        )
    };
    let mut state = State {
        dmabuf,
        dev,
        importer: importer_side,
        importer_priv,
        importer_ics,
        exporter: exporter_side,
        owners: Some((importer.into_owner(), exporter.map(Found::into_owner))),
        outcome: Outcome::Open,
    };

    let result = match exporter_side.and_then(|exporter| exporter.match_interconnects) {
        // SAFETY: The buffer is one of this exporter, and the state is what it passes on.
        Some(matches) => to_result(unsafe { matches(dmabuf, from_mut(&mut state).cast()) }),
        // An exporter that knows nothing of this has a scatterlist.
        //
        // SAFETY: It is what the type demands.
        None => unsafe { state.offer(&[&sgt::ordinary_exporter().base]) },
    };
    let record = match state.outcome {
        Outcome::Failed(err) => return Err(err),
        Outcome::Open => return Err(result.err().unwrap_or_else(no_match)),
        Outcome::Matched(record) => {
            result?;
            record
        }
    };

    // From here on the exporter's `attach` and the importer's callback can find it.
    record.publish();

    let (ops, private) = record.attach_arguments();

    // SAFETY: By the safety requirements. The operations are in the record, which stays until it is
    // detached.
    let raw = from_err_ptr(unsafe { bindings::dma_buf_dynamic_attach(dmabuf, dev, ops, private) });

    match raw {
        Ok(raw) => {
            record.set_attach(raw);
            Ok(record)
        }
        Err(err) => {
            record.hide();
            Err(err)
        }
    }
}

/// # Safety
///
/// `ics` must point to `num` elements that are valid during `'a`.
unsafe fn slice_of<'a>(
    ics: *const *const Interconnect,
    num: c_uint,
) -> Result<&'a [*const Interconnect]> {
    if num == 0 {
        return Ok(&[]);
    }
    let ics = NonNull::new(ics.cast_mut()).ok_or(EINVAL)?;

    // SAFETY: By the safety requirements.
    Ok(unsafe { slice::from_raw_parts(ics.as_ptr(), num as usize) })
}

/// Names what an exporter has to offer.
///
/// # Safety
///
/// As `dma_buf_match_interconnects()` demands: to be called from within `match_interconnects`.
#[no_mangle]
pub(in crate::dma_buf) unsafe extern "C" fn dma_buf_match_interconnects(
    negotiation: *mut ext_bindings::dma_buf_interconnect_negotiation,
    ics: *const *const Interconnect,
    num_ics: c_uint,
) -> c_int {
    from_result(|| {
        // SAFETY: By the safety requirements. Nobody else has the state meanwhile.
        let state = unsafe { &mut *negotiation.cast::<State<'_>>() };

        // SAFETY: By the safety requirements.
        unsafe { state.offer(slice_of(ics, num_ics)?) }?;
        Ok(0)
    })
}

/// Attaches a device to a buffer by what exporter and importer have in common.
///
/// # Safety
///
/// As `dma_buf_interconnect_attach()` demands.
#[no_mangle]
pub(in crate::dma_buf) unsafe extern "C" fn dma_buf_interconnect_attach(
    dmabuf: *mut bindings::dma_buf,
    dev: *mut bindings::device,
    importer: *const Importer,
    importer_priv: *mut c_void,
    ics: *const *const Interconnect,
    num_ics: c_uint,
) -> *mut ext_bindings::dma_buf_interconnect_attachment {
    if dmabuf.is_null() || dev.is_null() {
        return EINVAL.to_ptr();
    }

    // SAFETY: By the safety requirements.
    let record = unsafe {
        slice_of(ics, num_ics).and_then(|ics| attach(dmabuf, dev, importer, importer_priv, ics))
    };

    match record {
        Ok(record) => record.into_public(),
        Err(err) => err.to_ptr(),
    }
}

/// Undoes `dma_buf_interconnect_attach()`, and drops its reference.
///
/// # Safety
///
/// As `dma_buf_interconnect_detach()` demands.
#[no_mangle]
pub(in crate::dma_buf) unsafe extern "C" fn dma_buf_interconnect_detach(
    ica: *mut ext_bindings::dma_buf_interconnect_attachment,
) {
    // SAFETY: By the safety requirements the caller gives up the reference of the attachment.
    let record = unsafe { RecordRef::from_public(ica) };
    let left = record.mappings();

    if left != 0 {
        pr_err!(
            "{}: detached with {left} mappings\n",
            // SAFETY: A name is a string, and the importer is valid.
            unsafe { CStr::from_char_ptr((*record.public.importer).name) }
        );
    }
    // SAFETY: The attachment exists, as it is detached here only.
    unsafe { bindings::dma_buf_detach(record.public.dmabuf, record.attach()) };
    record.hide();
}

/// Takes a reference.
///
/// # Safety
///
/// `ica` must be valid.
#[no_mangle]
pub(in crate::dma_buf) unsafe extern "C" fn dma_buf_interconnect_get(
    ica: *mut ext_bindings::dma_buf_interconnect_attachment,
) {
    // SAFETY: By the safety requirements. The reference that `from_public()` would own is not ours.
    let record = core::mem::ManuallyDrop::new(unsafe { RecordRef::from_public(ica) });

    core::mem::forget(RecordRef::clone(&record));
}

/// Drops a reference that `dma_buf_interconnect_get()` has taken.
///
/// # Safety
///
/// The caller must own it.
#[no_mangle]
pub(in crate::dma_buf) unsafe extern "C" fn dma_buf_interconnect_put(
    ica: *mut ext_bindings::dma_buf_interconnect_attachment,
) {
    // SAFETY: By the safety requirements.
    drop(unsafe { RecordRef::from_public(ica) });
}

/// The negotiated attachment of an ordinary one, or null.
///
/// # Safety
///
/// `attach` must be valid.
#[no_mangle]
pub(in crate::dma_buf) unsafe extern "C" fn dma_buf_interconnect_attachment(
    attach: *mut bindings::dma_buf_attachment,
) -> *mut ext_bindings::dma_buf_interconnect_attachment {
    // SAFETY: By the safety requirements.
    unsafe { record::find(attach) }.map_or(core::ptr::null_mut(), Record::as_public)
}
