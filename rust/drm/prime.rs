// SPDX-License-Identifier: GPL-2.0

//! PRIME: GEM objects as dma-bufs.
//!
//! C header: [`include/drm/drm_prime.h`](srctree/include/drm/drm_prime.h)

use super::{
    gem,
    Device,
    Driver, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

/// A dma-buf.
///
/// # Invariants
///
/// `self.0` is a valid `struct dma_buf`.
#[repr(transparent)]
pub struct DmaBuf(Opaque<bindings::dma_buf>);

impl DmaBuf {
    /// Wraps a `struct dma_buf`.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid for the duration of `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::dma_buf) -> &'a Self {
        // SAFETY: By the safety requirements.
        // CAST: `DmaBuf` is a transparent wrapper of `struct dma_buf`.
        unsafe { &*ptr.cast() }
    }

    /// Returns the raw `struct dma_buf`, valid as long as `self`.
    pub fn as_raw(&self) -> *mut bindings::dma_buf {
        self.0.get()
    }
}

// SAFETY: dma-bufs are reference counted by their file.
unsafe impl AlwaysRefCounted for DmaBuf {
    fn inc_ref(&self) {
        // SAFETY: The existence of a shared reference guarantees that the refcount is non-zero.
        unsafe { ext_bindings::get_dma_buf(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The safety requirements guarantee that the refcount is non-zero.
        unsafe { bindings::dma_buf_put(obj.as_ref().as_raw()) };
    }
}

// SAFETY: A dma-buf can be released from any thread.
unsafe impl Send for DmaBuf {}

// SAFETY: All methods on a shared dma-buf are safe to call from several threads.
unsafe impl Sync for DmaBuf {}

/// The gem_prime_import callback of `struct drm_driver`.
///
/// # Safety
///
/// Only for `struct drm_driver` of `T`.
pub(super) unsafe extern "C" fn import_callback<T: Driver>(
    dev: *mut bindings::drm_device,
    dmabuf: *mut bindings::dma_buf,
) -> *mut bindings::drm_gem_object {
    // SAFETY: Called for devices of `T` only; the file holds the device.
    let dev = unsafe { Device::<T>::from_raw(dev) };

    // SAFETY: The caller holds a reference to the dma-buf.
    let dmabuf = unsafe { DmaBuf::from_raw(dmabuf) };

    let import = || {
        let obj = T::import(dev, dmabuf)?;

        // The caller holds locks of `dev` which it expects to be those of the object.
        if !core::ptr::eq(obj.dev(), dev) {
            return Err(EINVAL);
        }
        Ok(obj)
    };

    match import() {
        // The caller takes over the reference.
        Ok(obj) => gem::Object::into_raw(obj),
        Err(e) => e.to_ptr(),
    }
}

/// The export callback of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// Only for `struct drm_gem_object_funcs` of `T`.
pub(super) unsafe extern "C" fn export_callback<T: gem::DriverObject>(
    obj: *mut bindings::drm_gem_object,
    flags: kernel::ffi::c_int,
) -> *mut bindings::dma_buf {
    if !T::HAS_EXPORT {
        return EOPNOTSUPP.to_ptr();
    }

    // SAFETY: Called for objects of type `Object<T>` only; the caller holds a reference.
    let obj = unsafe { gem::Object::<T>::from_raw(obj) };

    // Mappings of the dma-buf find the object's pages by its place in the device's address space.
    //
    // CAST: The flags are a set of bits.
    match obj.mmap_offset().and_then(|_| T::export(obj, flags as u32)) {
        // The caller takes over the reference.
        Ok(dmabuf) => ARef::into_raw(dmabuf).as_ptr().cast(),
        Err(e) => e.to_ptr(),
    }
}
