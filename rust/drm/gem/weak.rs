// SPDX-License-Identifier: GPL-2.0

//! References that do not keep an object alive.

use super::{
    super::device::Device,
    DriverObject,
    Object, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    sync::aref::ARef, //
};

/// A reference to a GEM object that may be gone.
///
/// It keeps the memory of the `struct drm_gem_object` and the device, but neither the driver's
/// data nor what that stands for. The data of an object may hold one to the object itself.
///
/// # Invariants
///
/// The memory of the object is kept by a count from [`Object::get_memory`].
pub struct WeakRef<T: DriverObject>(NonNull<Object<T>>);

impl<T: DriverObject> Object<T> {
    /// Makes a reference that does not keep the object. Any context.
    pub fn downgrade(&self) -> WeakRef<T> {
        // INVARIANT: The count is handed over.
        WeakRef(self.get_memory())
    }
}

impl<T: DriverObject> WeakRef<T> {
    /// The object, unless its last reference is gone. Any context. C: `kref_get_unless_zero()`.
    ///
    /// The result may be the last reference when it is dropped.
    pub fn upgrade(&self) -> Option<ARef<Object<T>>> {
        // SAFETY: By the type invariant the memory is there; it is that of an object that was
        // initialised, whose count stays zero once it is.
        let alive = unsafe { ext_bindings::drm_gem_object_get_unless_zero(self.as_raw()) };

        // SAFETY: The reference was taken just now, and is handed over.
        alive.then(|| unsafe { ARef::from_raw(self.0) })
    }

    /// Whether there still is a reference; that may change at once. Any context.
    pub fn is_alive(&self) -> bool {
        // SAFETY: By the type invariant the memory is there, and the count was initialised.
        unsafe { ext_bindings::drm_gem_object_is_alive(self.as_raw()) }
    }

    /// The device of the object.
    pub fn dev(&self) -> &Device<T::Driver> {
        // SAFETY: By the type invariant the memory is there, and the device with it.
        unsafe { Object::dev_of(self.0) }
    }

    /// Returns the raw object. It is initialised, but its count may be zero.
    pub(in crate::drm) fn as_raw(&self) -> *mut bindings::drm_gem_object {
        // SAFETY: By the type invariant the memory is there.
        unsafe { (*self.0.as_ptr()).obj.get() }
    }
}

impl<T: DriverObject> Drop for WeakRef<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the count is given up here, once.
        unsafe { Object::put_memory(self.0) };
    }
}

// SAFETY: `Object<T>` may be sent and shared, and the counts are atomic.
unsafe impl<T: DriverObject> Send for WeakRef<T> {}

// SAFETY: As above; shared, it only hands out references to a `Sync` object.
unsafe impl<T: DriverObject> Sync for WeakRef<T> {}
