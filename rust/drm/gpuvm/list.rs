// SPDX-License-Identifier: GPL-2.0

//! From an object to where it is mapped.

use super::{
    super::gem::{
        DriverObject,
        Object,
        WeakRef, //
    },
    DriverVm,
    Va,
    Vm,
    VmBo,
    VmObject, //
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr, //
};
use kernel::{
    bindings,
    container_of,
    types::NotThreadSafe, //
};

/// `gpuva.lock` of an object is held.
pub(super) struct GpuvaLock<'a> {
    obj: *mut bindings::drm_gem_object,
    _obj: PhantomData<&'a ()>,
    _not_send: NotThreadSafe,
}

impl<'a> GpuvaLock<'a> {
    /// Takes the lock. Sleeps.
    pub(super) fn new<O: DriverObject>(obj: &'a Object<O>) -> Self {
        // SAFETY: An object has this mutex, initialised, for all of its life.
        unsafe { Self::of_raw(obj.as_raw()) }
    }

    /// # Safety
    ///
    /// `obj` must be a GEM object that is initialised, and not released during `'a`.
    unsafe fn of_raw(obj: *mut bindings::drm_gem_object) -> Self {
        // SAFETY: By the safety requirements.
        unsafe { bindings::mutex_lock(&raw mut (*obj).gpuva.lock) };

        Self {
            obj,
            _obj: PhantomData,
            _not_send: NotThreadSafe,
        }
    }
}

impl Drop for GpuvaLock<'_> {
    fn drop(&mut self) {
        // SAFETY: Locked by this task when the value was made; the object is still there.
        unsafe { bindings::mutex_unlock(&raw mut (*self.obj).gpuva.lock) };
    }
}

impl<O: DriverObject> Object<O> {
    /// Calls `f` for each VM in which the object is used and whose type is `T`.
    ///
    /// `gpuva.lock` of the object is held meanwhile: `f` must not allocate, not call this or
    /// [`VmBo::with_vas`] for the same object, not change its mappings, and not drop a
    /// [`VmBoRef`](super::VmBoRef) of it. It may sleep as the signalling path of a fence may.
    ///
    /// C: `drm_gem_for_each_gpuvm_bo()`.
    pub fn for_each_vm_bo<T: DriverVm<Driver = O::Driver>>(&self, f: impl FnMut(Linked<'_, T>)) {
        // SAFETY: The object is valid.
        unsafe { for_each_vm_bo(self.as_raw(), f) };
    }
}

impl<O: DriverObject> WeakRef<O> {
    /// As [`Object::for_each_vm_bo`], without a reference that could be the last one. What is used
    /// in a VM is held there.
    pub fn for_each_vm_bo<T: DriverVm<Driver = O::Driver>>(&self, f: impl FnMut(Linked<'_, T>)) {
        // SAFETY: The memory of the object is kept, and is not released before `self` is dropped.
        // The list and its lock stay as they are until then.
        unsafe { for_each_vm_bo(self.as_raw(), f) };
    }
}

/// Calls `f` for each entry of the list of an object whose VM is of type `T`.
///
/// # Safety
///
/// `obj` must be a GEM object of the driver of `T` that was initialised and not yet released.
unsafe fn for_each_vm_bo<T: DriverVm>(
    obj: *mut bindings::drm_gem_object,
    mut f: impl FnMut(Linked<'_, T>),
) {
    // SAFETY: An object has this mutex, initialised, until it is released.
    let _lock = unsafe { GpuvaLock::of_raw(obj) };

    // SAFETY: An object has this list, initialised, until it is released.
    let head = unsafe { &raw mut (*obj).gpuva.list };
    // SAFETY: As above; it is protected by the lock.
    let mut entry = unsafe { (*head).next };

    while !ptr::eq(entry, head) {
        // SAFETY: All entries of the list are part of a `struct drm_gpuvm_bo`.
        let vm_bo = unsafe { container_of!(entry, bindings::drm_gpuvm_bo, list.entry.gem) };

        // SAFETY: Only `VmBoAlloc::obtain` makes entries of the list of an `Object`. They leave
        // it with the lock held, before the last reference is gone, and hold their VM.
        if unsafe { Vm::<T>::is_type_of((*vm_bo).vm) } {
            // SAFETY: As above; the VM being a `Vm<T>`, it is part of a `VmBo<T>`.
            f(Linked(unsafe { VmBo::from_raw(vm_bo) }));
        }

        // SAFETY: The list does not change, as the lock is held.
        entry = unsafe { (*entry).next };
    }
}

impl<T: DriverVm> VmBo<T> {
    /// Calls `f` with `gpuva.lock` of the object held, so that it can see the mappings, and returns
    /// what it returns.
    ///
    /// The same rules apply to `f` as in [`Object::for_each_vm_bo`].
    pub fn with_vas<R>(&self, f: impl FnOnce(Linked<'_, T>) -> R) -> R {
        let _lock = GpuvaLock::new(self.obj());

        f(Linked(self))
    }
}

/// A [`VmBo`] while `gpuva.lock` of its object is held.
///
/// # Invariants
///
/// The lock is held by this task during `'l`.
pub struct Linked<'l, T: DriverVm>(&'l VmBo<T>);

impl<'l, T: DriverVm> Linked<'l, T> {
    /// Returns the mappings of the object in the VM, in no particular order.
    pub fn vas(&self) -> LinkedVas<'l, T> {
        // SAFETY: The list is initialised, and protected by the lock that is held.
        let (head, next) = unsafe {
            let head = &raw mut (*self.0.as_raw()).list.gpuva;
            (head, (*head).next)
        };

        // INVARIANT: By the invariants of `self`.
        LinkedVas {
            head,
            next,
            _lock: PhantomData,
            _not_send: NotThreadSafe,
        }
    }

    /// Returns the object, as [`VmBo::obj`] does, for as long as the lock is held.
    pub fn obj(&self) -> &'l VmObject<T> {
        self.0.obj()
    }
}

impl<T: DriverVm> Deref for Linked<'_, T> {
    type Target = VmBo<T>;

    fn deref(&self) -> &VmBo<T> {
        self.0
    }
}

/// The mappings of an object in a VM, see [`Linked::vas`].
///
/// # Invariants
///
/// `head` is the list of a [`VmBo<T>`], which does not change during `'l`, and `next` is an entry of
/// it, or `head`.
pub struct LinkedVas<'l, T: DriverVm> {
    head: *mut bindings::list_head,
    next: *mut bindings::list_head,
    _lock: PhantomData<&'l VmBo<T>>,
    _not_send: NotThreadSafe,
}

impl<'l, T: DriverVm> Iterator for LinkedVas<'l, T> {
    type Item = &'l Va<T>;

    fn next(&mut self) -> Option<&'l Va<T>> {
        if ptr::eq(self.next, self.head) {
            return None;
        }

        // SAFETY: By the type invariants it is part of a `struct drm_gpuva`.
        let va = unsafe { container_of!(self.next, bindings::drm_gpuva, gem.entry) };
        // SAFETY: By the type invariants.
        self.next = unsafe { (*self.next).next };

        // SAFETY: In the list of a `VmBo<T>` there are `Va<T>`s only, and none leaves it during
        // `'l`.
        Some(unsafe { Va::from_raw(va) })
    }
}
