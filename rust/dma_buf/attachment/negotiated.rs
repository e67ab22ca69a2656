// SPDX-License-Identifier: GPL-2.0

//! Attachments that are negotiated.

use super::{
    Attachment,
    Mapped, //
};
use crate::{
    dma_buf::{
        interconnect::{
            self,
            negotiation::{
                dma_buf_interconnect_attach,
                dma_buf_interconnect_get,
                dma_buf_interconnect_put,
                Raw, //
            },
            ImporterSide,
            Type, //
        },
        DmaBuf,
        Importer, //
    },
    dma_resv::Guard,
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::DataDirection,
    error::from_err_ptr,
    ffi::c_void,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

use core::ptr::{
    from_ref,
    null_mut,
    NonNull, //
};

/// A reference to a negotiated attachment; empty if it was not negotiated, or not yet.
///
/// # Invariants
///
/// If it is not null there is a reference. It is written once, before anyone but the one who
/// attaches can read it.
pub(super) struct Negotiated(Atomic<*mut Raw>);

impl Negotiated {
    pub(super) fn none() -> Self {
        // INVARIANT: Null.
        Self(Atomic::new(null_mut()))
    }

    pub(super) fn get(&self) -> *mut Raw {
        self.0.load(Relaxed)
    }
}

impl Drop for Negotiated {
    fn drop(&mut self) {
        if !self.get().is_null() {
            // SAFETY: By the type invariant.
            unsafe { dma_buf_interconnect_put(self.get()) };
        }
    }
}

/// [`Type::unmap`] for a mapping whose type has been forgotten.
///
/// # Safety
///
/// As [`Type::unmap`] of `T`.
unsafe fn unmap_as<T: Type>(ica: *mut Raw, mapping: NonNull<c_void>, direction: DataDirection) {
    // SAFETY: By the safety requirements.
    unsafe { T::unmap(ica, mapping.cast(), direction) };
}

impl<I: Importer> Attachment<I> {
    /// Attaches `device` to `dma_buf` by whatever `sides` and the exporter have in common, of which
    /// the exporter prefers one. An exporter that does not know of interconnects has a scatterlist.
    ///
    /// Types other than the scatterlist are for importers that have
    /// [`Importer::invalidate_mappings`]. The operations of `I` must be registered.
    ///
    /// Sleeps; takes the reservation lock. C: `dma_buf_interconnect_attach()`.
    ///
    /// # Errors
    ///
    /// - [`no_match()`](interconnect::no_match): they have nothing in common.
    /// - `EINVAL`: `I` has no operations for interconnects, or they are not registered; or more
    ///   than [`MAX_SIDES`](interconnect::MAX_SIDES).
    /// - Those of [`Attachment::new`], and of the match of a type.
    pub fn negotiate<Err>(
        dma_buf: &DmaBuf,
        device: &Device<Bound>,
        importer: impl PinInit<I, Err>,
        sides: &[&dyn ImporterSide],
    ) -> Result<Self>
    where
        Error: From<Err>,
    {
        let ops = I::interconnects().ok_or(EINVAL)?;
        let (pointers, count) = interconnect::collect(sides.iter().map(|side| side.as_raw()))?;
        let inner = Self::prepare(dma_buf, device, importer)?;

        // SAFETY: As in `with_ops()`; each side is what its type demands.
        let ica = from_err_ptr(unsafe {
            dma_buf_interconnect_attach(
                inner.dma_buf.as_raw(),
                from_ref(device).cast_mut().cast(),
                ops.as_raw(),
                Arc::as_ptr(&inner).cast_mut().cast(),
                pointers.as_ptr(),
                count,
            )
        })?;

        // SAFETY: The attachment is valid, and attached.
        let raw = unsafe {
            dma_buf_interconnect_get(ica);
            (*ica).attach
        };
        // INVARIANT: The reference was taken just now.
        inner.negotiated.0.store(ica, Relaxed);
        Self::finish(device, inner, raw)
    }

    /// Maps the buffer, if it is not mapped already, by the type `T`, which must be the one that
    /// was negotiated.
    ///
    /// As [`Attachment::map`], which is this for [`Sgt`]; what it returns is a borrow that ends
    /// with the reservation lock.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: another type was negotiated, or none.
    /// - Those of [`Attachment::map`].
    pub fn map_as<'g, T: Type>(
        &'g self,
        guard: &'g mut Guard<'_>,
        direction: DataDirection,
    ) -> Result<&'g T::Mapping> {
        let ica = self.inner.negotiated.get();
        let (raw, mapping) = self
            .inner
            .with_state(guard, |state| (state.raw, state.mapping))?;

        if self.negotiated::<T>().is_none() {
            return Err(EINVAL);
        }
        raw.ok_or(ENODEV)?;

        let mapping = match mapping {
            Some(mapped) if mapped.direction != direction => return Err(EBUSY),
            Some(mapped) => mapped.mapping.cast(),
            None => {
                // SAFETY: The attachment is valid, as it is detached with the lock held only. It
                // is one of `T`. Nothing of the state is borrowed.
                let mapping = unsafe { T::map(ica, direction) }?;

                self.inner.with_state(guard, |state| {
                    // INVARIANT: Mapped just now.
                    state.mapping = Some(Mapped {
                        mapping: mapping.cast(),
                        direction,
                        unmap: Some(unmap_as::<T>),
                    });
                })?;
                mapping
            }
        };

        // SAFETY: It is a mapping of `T`, the only type of this attachment. It is undone by
        // functions that need the guard exclusively, or take the lock. Neither can happen during
        // `'g`.
        Ok(unsafe { mapping.as_ref() })
    }

    /// What was negotiated, if that is of the type `T`. Any context.
    pub fn negotiated<T: Type>(&self) -> Option<&T::Match> {
        let ica = NonNull::new(self.inner.negotiated.get())?;

        // SAFETY: There is a reference on it, as long as `self` exists; the match is of the type
        // that it names.
        unsafe {
            let matched = (*ica.as_ptr()).match_;

            core::ptr::eq((*matched).type_, T::descriptor()).then(|| T::match_from_raw(matched))
        }
    }

    /// The name of the type that was negotiated; [`None`] for an attachment by
    /// [`Attachment::new`]. Any context.
    pub fn interconnect(&self) -> Option<&CStr> {
        let ica = NonNull::new(self.inner.negotiated.get())?;

        // SAFETY: As in `negotiated()`; the name is a string of a module on which there is a
        // reference.
        Some(unsafe { CStr::from_char_ptr((*(*(*ica.as_ptr()).match_).type_).name) })
    }

    /// Whether the exporter knows of interconnects, so that what was negotiated is its choice. Any
    /// context.
    pub fn has_aware_exporter(&self) -> bool {
        NonNull::new(self.inner.negotiated.get())
            // SAFETY: As in `negotiated()`.
            .is_some_and(|ica| unsafe { !(*ica.as_ptr()).exporter.is_null() })
    }
}
