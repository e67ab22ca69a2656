// SPDX-License-Identifier: GPL-2.0

//! PRIME: GEM objects as dma-bufs.
//!
//! C header: [`include/drm/drm_prime.h`](srctree/include/drm/drm_prime.h)
//!
//! A driver exports in [`DriverObject::export`](gem::DriverObject::export) and imports in
//! [`Driver::import`].

use super::{
    gem,
    Device,
    Driver, //
};
use crate::dma_buf::DmaBuf;
use core::ptr;
use kernel::{
    bindings,
    ffi::c_int,
    prelude::*,
    sync::aref::ARef, //
};

impl<T: gem::DriverObject> gem::Object<T> {
    /// Lets a new dma-buf of the object share the address space of the device's files, so that it
    /// can be mapped to userspace ([`mmap_exported`](Self::mmap_exported)), and
    /// [`unmap_cpu`](Self::unmap_cpu) reaches these mappings.
    ///
    /// The dma-buf must use the reservation object that is the object's own, and with which it
    /// keeps the object.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the dma-buf has another reservation object, or that of the object is not its
    ///   own (see [`Resv`](gem::Resv)).
    /// - `EBUSY`: somebody else has a reference to the dma-buf, so that it may be mapped already.
    pub fn share_mappings(&self, dmabuf: &DmaBuf) -> Result {
        // SAFETY: Only the address is taken.
        let own = unsafe { &raw mut (*self.as_raw())._resv };
        if dmabuf.resv().as_raw() != own {
            return Err(EINVAL);
        }

        // SAFETY: A dma-buf has its file for all of its life.
        let file = unsafe { (*dmabuf.as_raw()).file };
        // SAFETY: The file is valid.
        if unsafe { ext_bindings::file_count(file) } != 1 {
            return Err(EBUSY);
        }

        // SAFETY: Nobody else has a reference to the file, hence there are no mappings. The
        // address space lives as long as the device, which the object holds, whose memory in turn
        // lives as long as its own reservation object, and so as long as the dma-buf.
        unsafe { (*file).f_mapping = (*(*self.dev().as_raw()).anon_inode).i_mapping };
        Ok(())
    }
}

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
        if !ptr::eq(obj.dev(), dev) {
            return Err(EINVAL);
        }

        // The caller records the dma-buf in the object, and warns if there is another one.
        //
        // SAFETY: The object is valid, and `object_name_lock`, which protects the field, held.
        let known = unsafe { (*obj.as_raw()).dma_buf };
        if !known.is_null() && known != dmabuf.as_raw() {
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
    flags: c_int,
) -> *mut bindings::dma_buf {
    if !T::HAS_EXPORT {
        return EOPNOTSUPP.to_ptr();
    }

    // SAFETY: Called for objects of type `Object<T>` only; the caller holds a reference.
    let obj = unsafe { gem::Object::<T>::from_raw(obj) };

    // Exporters written in C map the dma-buf by the object's place in the device's address space.
    //
    // CAST: The flags are a set of bits.
    match obj.mmap_offset().and_then(|_| T::export(obj, flags as u32)) {
        // The caller takes over the reference.
        Ok(dmabuf) => ARef::into_raw(dmabuf).as_ptr().cast(),
        Err(e) => e.to_ptr(),
    }
}
