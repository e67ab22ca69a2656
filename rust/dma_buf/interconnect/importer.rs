// SPDX-License-Identifier: GPL-2.0

//! Importers in Rust.

use super::{
    exporter::Registration,
    iov,
    private::{
        PrivateType,
        RawImporter, //
    },
    record,
    registry,
    sgt, //
};
use crate::dma_buf::importer::{
    invalidate,
    Importer, //
};
use kernel::{
    bindings,
    ffi::c_void,
    module::this_module,
    prelude::*, //
};

use core::{
    marker::PhantomData,
    ptr::{
        from_ref,
        NonNull, //
    },
};

/// The operations of the importer `I`, for attachments that are negotiated. Has to be a `static`.
#[repr(transparent)]
pub struct ImporterOps<I>(
    ext_bindings::dma_buf_interconnect_importer,
    PhantomData<fn(I)>,
);

// SAFETY: Never written to; what is pointed to is static.
unsafe impl<I> Sync for ImporterOps<I> {}

impl<I: Importer> ImporterOps<I> {
    /// The operations of `I`. `name` is for debugfs and messages.
    pub const fn new(name: &'static CStr) -> Self {
        Self(
            ext_bindings::dma_buf_interconnect_importer {
                base: bindings::dma_buf_attach_ops {
                    allow_peer2peer: I::ALLOW_PEER2PEER,
                    invalidate_mappings: if I::HAS_INVALIDATE_MAPPINGS {
                        Some(invalidate_mappings::<I>)
                    } else {
                        None
                    },
                },
                owner: this_module::<I::OwnerModule>().as_ptr(),
                name: name.to_bytes_with_nul().as_ptr(),
            },
            PhantomData,
        )
    }

    /// Allows attachments to be negotiated, until what is returned is dropped. Sleeps (allocates).
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EEXIST` if that was done already.
    pub fn register(&'static self) -> Result<Registration> {
        // SAFETY: It is static data of the module that it names as its owner.
        unsafe { registry::register(NonNull::from(&self.0)) }?;
        Ok(Registration::of_importer(&self.0))
    }

    pub(in crate::dma_buf) fn as_raw(
        &'static self,
    ) -> *const ext_bindings::dma_buf_interconnect_importer {
        &self.0
    }
}

/// The importer's own pointer of a negotiated attachment; null if it is none.
///
/// # Safety
///
/// `attachment` must be valid.
unsafe fn private_of(attachment: *mut bindings::dma_buf_attachment) -> *mut c_void {
    // SAFETY: By the safety requirements.
    unsafe { record::find(attachment) }
        .map_or(core::ptr::null_mut(), |record| record.public.importer_priv)
}

/// # Safety
///
/// Called by the C side only, with the lock of the buffer held, for an attachment that
/// [`Attachment::negotiate`](crate::dma_buf::Attachment::negotiate) has made for `I`.
unsafe extern "C" fn invalidate_mappings<I: Importer>(
    attachment: *mut bindings::dma_buf_attachment,
) {
    // SAFETY: By the safety requirements.
    let private = unsafe { private_of(attachment) };

    if !private.is_null() {
        // SAFETY: The pointer is the one that was given with these operations.
        unsafe { invalidate::<I>(attachment, private) };
    }
}

/// What an importer says about one type.
///
/// # Safety
///
/// `as_raw()` must return the structure that the type demands of importers.
pub unsafe trait ImporterSide {
    /// The structure.
    fn as_raw(&self) -> &ext_bindings::dma_buf_interconnect;
}

/// A scatterlist, of which [`Importer::ALLOW_PEER2PEER`] says what it may be.
pub struct SgtImporter(ext_bindings::dma_buf_sgt_interconnect);

impl SgtImporter {
    /// There is nothing more to say.
    #[expect(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(sgt::side(false))
    }
}

// SAFETY: As the type demands.
unsafe impl ImporterSide for SgtImporter {
    fn as_raw(&self) -> &ext_bindings::dma_buf_interconnect {
        &self.0.base
    }
}

/// Memory of the VFs of the device that is attached, which must be their PF.
pub struct IovImporter(ext_bindings::dma_buf_iov_importer);

impl IovImporter {
    /// Memory behind BAR `bar` of a VF, which the PF can translate.
    pub fn new(bar: u32) -> Self {
        Self(ext_bindings::dma_buf_iov_importer {
            base: ext_bindings::dma_buf_interconnect {
                type_: iov::descriptor(),
            },
            bar,
        })
    }
}

// SAFETY: As the type demands.
unsafe impl ImporterSide for IovImporter {
    fn as_raw(&self) -> &ext_bindings::dma_buf_interconnect {
        &self.0.base
    }
}

/// A private type.
pub struct PrivateImporter<'a, T: PrivateType>(RawImporter<T>, PhantomData<&'a T::Importer>);

impl<'a, T: PrivateType> PrivateImporter<'a, T> {
    /// What the importer says about itself.
    pub fn new(said: &'a T::Importer) -> Self {
        Self(
            RawImporter {
                base: ext_bindings::dma_buf_interconnect {
                    type_: T::descriptor().raw(),
                },
                said: from_ref(said),
            },
            PhantomData,
        )
    }
}

// SAFETY: As the type demands.
unsafe impl<T: PrivateType> ImporterSide for PrivateImporter<'_, T> {
    fn as_raw(&self) -> &ext_bindings::dma_buf_interconnect {
        &self.0.base
    }
}
