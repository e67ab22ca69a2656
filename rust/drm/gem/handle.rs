// SPDX-License-Identifier: GPL-2.0

//! Handles, by which userspace names GEM objects.
//!
//! C header: [`include/drm/drm_gem.h`](srctree/include/drm/drm_gem.h)

use super::{
    DriverObject,
    Object,
    ObjectFile, //
};
use core::ptr;
use kernel::{
    bindings,
    error::to_result,
    ffi::c_int,
    prelude::*,
    sync::aref::ARef, //
};

impl<T: DriverObject> Object<T> {
    /// Creates a handle to the object in `file`. The object is then visible to userspace, and may
    /// be closed by it before this returns.
    ///
    /// Takes `drm_device.object_name_lock`. May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `file` belongs to another device.
    /// - `ENOMEM`: out of memory. `ENOSPC`: out of handles.
    /// - What [`DriverObject::open`] returned.
    ///
    /// C: `drm_gem_handle_create()`.
    pub fn create_handle(&self, file: &ObjectFile<T>) -> Result<u32> {
        if !ptr::eq(file.device(), self.dev()) {
            return Err(EINVAL);
        }

        let mut handle = 0;
        // SAFETY: The file and the object are valid.
        to_result(unsafe {
            bindings::drm_gem_handle_create(file.as_raw(), self.as_raw(), &mut handle)
        })?;
        Ok(handle)
    }

    /// Closes a handle of `file`.
    ///
    /// Takes `drm_device.object_name_lock` and the file's PRIME lock. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no such handle.
    ///
    /// C: `drm_gem_handle_delete()`.
    pub fn close_handle(file: &ObjectFile<T>, handle: u32) -> Result {
        // SAFETY: The file is valid.
        to_result(unsafe { bindings::drm_gem_handle_delete(file.as_raw(), handle) })
    }

    /// Returns the object that `handle` stands for in `file`.
    ///
    /// Takes the spinlock `drm_file.table_lock`; does not sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such handle.
    ///
    /// C: `drm_gem_object_lookup()`.
    pub fn lookup(file: &ObjectFile<T>, handle: u32) -> Result<ARef<Self>> {
        // SAFETY: The file is valid.
        let obj = unsafe { bindings::drm_gem_object_lookup(file.as_raw(), handle) };
        if obj.is_null() {
            return Err(ENOENT);
        }

        // SAFETY: Objects in a file of `T::Driver` are made by `create_handle` or by the import
        // callback, and hence of type `Object<T>`. The lookup took a reference.
        let obj = unsafe { Self::from_raw(obj) };

        // SAFETY: The reference that the lookup took is handed over.
        Ok(unsafe { ARef::from_raw(obj.into()) })
    }

    /// Returns the number of handles to the object, in all files.
    ///
    /// It may be outdated when it is returned.
    pub fn handle_count(&self) -> u32 {
        // SAFETY: `self` is a valid object. The field is written under a lock that is not held
        // here; a volatile read is what `READ_ONCE()` is.
        unsafe { (&raw const (*self.as_raw()).handle_count).read_volatile() }
    }
}

/// The open callback of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// Only for `struct drm_gem_object_funcs` of `T`.
pub(super) unsafe extern "C" fn open_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
    file: *mut bindings::drm_file,
) -> c_int {
    // SAFETY: Called for objects of this type only, with a reference held.
    let obj = unsafe { Object::<T>::from_raw(obj) };

    // SAFETY: The file is open, and one of `T::Driver`, as the object is.
    match T::open(obj, unsafe { ObjectFile::<T>::from_raw(file) }) {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// The close callback of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// Only for `struct drm_gem_object_funcs` of `T`.
pub(super) unsafe extern "C" fn close_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
    file: *mut bindings::drm_file,
) {
    // SAFETY: Called for objects of this type only, with a reference held.
    let obj = unsafe { Object::<T>::from_raw(obj) };

    // SAFETY: The file was opened successfully, and its data lives until postclose.
    T::close(obj, unsafe { ObjectFile::<T>::from_raw(file) });
}
