// SPDX-License-Identifier: GPL-2.0

//! What statistics need to know about GEM objects.

use super::{
    DriverObject,
    Object,
    ObjectStatus, //
};
use kernel::bindings;

impl<T: DriverObject> Object<T> {
    /// Returns whether the object is shared, for statistics: whether it has more than one handle,
    /// or is exported or imported as a dma-buf.
    ///
    /// C: `drm_gem_object_is_shared_for_memory_stats()`.
    pub fn is_shared(&self) -> bool {
        // SAFETY: `self` is a valid object. The field is written under a lock that is not held
        // here; the pointer is not followed.
        let dmabuf = unsafe { (&raw const (*self.as_raw()).dma_buf).read_volatile() };

        self.handle_count() > 1 || !dmabuf.is_null()
    }

    /// Returns the state of the object, as [`DriverObject::status`] tells it.
    pub fn status(&self) -> ObjectStatus {
        if T::HAS_STATUS {
            T::status(self)
        } else {
            ObjectStatus::NONE
        }
    }
}

/// The status callback of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// Only for `struct drm_gem_object_funcs` of `T`.
pub(super) unsafe extern "C" fn status_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
) -> bindings::drm_gem_object_status {
    // SAFETY: Called for objects of this type only, with a reference held.
    T::status(unsafe { Object::<T>::from_raw(obj) }).as_raw()
}

/// The rss callback of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// Only for `struct drm_gem_object_funcs` of `T`.
pub(super) unsafe extern "C" fn rss_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
) -> usize {
    // SAFETY: Called for objects of this type only, with a reference held.
    T::rss(unsafe { Object::<T>::from_raw(obj) })
}
