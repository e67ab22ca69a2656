// SPDX-License-Identifier: GPL-2.0

//! An object in a VM.

use super::{
    super::exec,
    DriverVm,
    Vm,
    VmObject, //
};
use crate::dma_resv::Guard;
use core::{
    convert::Infallible,
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Deref,
    ptr,
    ptr::NonNull, //
};
use kernel::{
    alloc::flags::__GFP_ZERO,
    bindings,
    container_of,
    error::from_result,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed, //
    },
    types::Opaque, //
};

/// That an object is used in a VM, with private data. C: `struct drm_gpuvm_bo`.
///
/// It dereferences to the data. See [`VmBoRef`] for references, and [`Linked`](super::Linked) for
/// its mappings.
///
/// # Invariants
///
/// `vm_bo` is initialised, its VM is a [`Vm<T>`], and its object one of the driver of `T`. `data` is
/// initialised.
#[repr(C)]
pub struct VmBo<T: DriverVm> {
    vm_bo: Opaque<bindings::drm_gpuvm_bo>,
    data: Opaque<T::VmBoData>,
}

// SAFETY: It may be released by any thread, and its data is `Send`.
unsafe impl<T: DriverVm> Send for VmBo<T> {}

// SAFETY: The methods on a shared `VmBo` synchronise as the C side does. Its data is `Sync`.
unsafe impl<T: DriverVm> Sync for VmBo<T> {}

impl<T: DriverVm> VmBo<T> {
    /// Converts a `struct drm_gpuvm_bo` back into the [`VmBo`] that it is part of.
    ///
    /// # Safety
    ///
    /// `ptr` must point to the `struct drm_gpuvm_bo` of a `VmBo<T>` that is not freed during `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *const bindings::drm_gpuvm_bo) -> &'a Self {
        // SAFETY: By the safety requirements.
        unsafe { &*container_of!(Opaque::cast_from(ptr), Self, vm_bo) }
    }

    /// Returns the raw `struct drm_gpuvm_bo`.
    pub(super) fn as_raw(&self) -> *mut bindings::drm_gpuvm_bo {
        self.vm_bo.get()
    }

    /// Returns the driver's data. [`VmBo`] also dereferences to it.
    pub fn data(&self) -> &T::VmBoData {
        // SAFETY: By the type invariants.
        unsafe { &*self.data.get() }
    }

    /// Returns the VM.
    pub fn vm(&self) -> &Vm<T> {
        // SAFETY: By the type invariants; it holds the VM, which does not change.
        unsafe { Vm::from_raw((*self.as_raw()).vm) }
    }

    /// Returns the object.
    pub fn obj(&self) -> &VmObject<T> {
        // SAFETY: By the type invariants; it holds the object, which does not change.
        unsafe { VmObject::<T>::from_raw((*self.as_raw()).obj) }
    }

    /// Says whether the memory of the object is away, so that it must be
    /// [validated](exec::Locked::validate) before the VM is used again.
    ///
    /// `guard` is that of the object. Does not sleep. C: `drm_gpuvm_bo_evict()`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `guard` is one of another object.
    pub fn set_evicted(&self, guard: &Guard<'_>, evicted: bool) -> Result {
        if !guard.protects(self.obj().resv()) {
            return Err(EINVAL);
        }

        // While the list of evicted objects is gone through, the next one must not leave it. It is
        // passed over, and leaves it then.
        //
        // If the object is local, the flag of the VM is protected by `guard`; if it is not, the C
        // function does the same as is done here.
        if !evicted && self.vm().validating.load(Relaxed) {
            // SAFETY: By the type invariants. The field is protected by the lock that is held.
            unsafe { (*self.as_raw()).evicted = false };
            return Ok(());
        }

        // SAFETY: By the type invariants. The lock of the object is held, which is that of the VM
        // if the function touches the list.
        unsafe { bindings::drm_gpuvm_bo_evict(self.as_raw(), evicted) };
        Ok(())
    }

    /// Whether the memory of the object is away, see [`set_evicted`](Self::set_evicted).
    ///
    /// # Errors
    ///
    /// `EINVAL`: `guard` is one of another object.
    pub fn is_evicted(&self, guard: &Guard<'_>) -> Result<bool> {
        if !guard.protects(self.obj().resv()) {
            return Err(EINVAL);
        }

        // SAFETY: By the type invariants. The field is protected by the lock that is held.
        Ok(unsafe { (*self.as_raw()).evicted })
    }

    /// Makes the object one that [`Locking::lock_vm_objects`](exec::Locking::lock_vm_objects) locks,
    /// from now on until this is freed.
    ///
    /// To be called for each [`VmBo`] before something is mapped with it; for objects that are local
    /// to the VM, and when it was called before, it does nothing. `guard` is that of the VM. Does not
    /// sleep. C: `drm_gpuvm_bo_extobj_add()`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `guard` is not that of the VM.
    pub fn add_external(&self, guard: &Guard<'_>) -> Result {
        if !guard.protects(self.vm().resv()) {
            return Err(EINVAL);
        }

        // SAFETY: By the type invariants. The list is protected by the lock that is held.
        unsafe { bindings::drm_gpuvm_bo_extobj_add(self.as_raw()) };
        Ok(())
    }

    /// Allocates memory, of which the C side initialises its part.
    ///
    /// # Safety
    ///
    /// Only for `struct drm_gpuvm_ops`.
    pub(super) unsafe extern "C" fn alloc_callback() -> *mut bindings::drm_gpuvm_bo {
        match KBox::<MaybeUninit<Self>>::new_uninit(GFP_KERNEL | __GFP_ZERO) {
            // CAST: `vm_bo` is at the start of the structure.
            Ok(this) => KBox::into_raw(this).cast(),
            Err(_) => ptr::null_mut(),
        }
    }

    /// Frees it.
    ///
    /// # Safety
    ///
    /// Only for `struct drm_gpuvm_ops`.
    pub(super) unsafe extern "C" fn free_callback(ptr: *mut bindings::drm_gpuvm_bo) {
        // SAFETY: All with this callback are embedded in a `VmBo<T>`.
        let this = unsafe { container_of!(Opaque::cast_from(ptr), Self, vm_bo) }.cast_mut();

        // SAFETY: `VmBoAlloc::new` has initialised the data, and nobody has a reference any more.
        unsafe { ptr::drop_in_place((*this).data.get()) };

        // SAFETY: `alloc_callback` has allocated it so.
        drop(unsafe { KBox::<MaybeUninit<Self>>::from_raw(this.cast()) });
    }

    /// Called for each on the list of evicted ones.
    ///
    /// # Safety
    ///
    /// Only for `struct drm_gpuvm_ops`.
    pub(super) unsafe extern "C" fn validate_callback(
        ptr: *mut bindings::drm_gpuvm_bo,
        exec: *mut bindings::drm_exec,
    ) -> c_int {
        // SAFETY: All with this callback are embedded in a `VmBo<T>`. If its last reference has
        // gone, freeing it waits for the reservation lock of the VM, which is held.
        let this = unsafe { Self::from_raw(ptr) };

        from_result(|| {
            // SAFETY: `exec` is the one that `Locked::validate` has given to the C function.
            if !unsafe { exec::holds(exec, this.obj().resv()) } {
                return Err(EINVAL);
            }

            // SAFETY: The lock is held, until the `Locked` is dropped that is borrowed for the call
            // that this is part of.
            let mut guard = unsafe { Guard::assume_held(this.obj().resv_raw()) };
            if this.is_evicted(&guard)? {
                T::validate(this, &mut guard)?;
                this.set_evicted(&guard, false)?;
            }
            Ok(0)
        })
    }
}

impl<T: DriverVm> Deref for VmBo<T> {
    type Target = T::VmBoData;

    fn deref(&self) -> &T::VmBoData {
        self.data()
    }
}

/// Owns a reference to a [`VmBo`], and is a user of its VM.
///
/// # Invariants
///
/// It owns a reference to `ptr`, which is valid. `vm` is its VM.
struct Counted<T: DriverVm> {
    ptr: NonNull<VmBo<T>>,
    /// Dropped after the reference.
    vm: ARef<Vm<T>>,
}

impl<T: DriverVm> Deref for Counted<T> {
    type Target = VmBo<T>;

    fn deref(&self) -> &VmBo<T> {
        // SAFETY: By the type invariants.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T: DriverVm> Drop for Counted<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants there is a reference to give up. If it is the last, the
        // structure is put aside. It need not be in any list for that.
        unsafe { bindings::drm_gpuvm_bo_put_deferred(self.as_raw()) };
    }
}

// SAFETY: A `VmBo` may be shared and released by any thread, and the same is true for its VM.
unsafe impl<T: DriverVm> Send for Counted<T> {}

// SAFETY: As above.
unsafe impl<T: DriverVm> Sync for Counted<T> {}

/// A [`VmBo`] that is not known to its object yet.
pub struct VmBoAlloc<T: DriverVm>(Counted<T>);

impl<T: DriverVm> VmBoAlloc<T> {
    /// Allocates one for `obj` in `vm`.
    ///
    /// Dropping it puts it aside, see [`Vm::deferred_cleanup`]. May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `obj` belongs to another device.
    /// - `ENOMEM`.
    ///
    /// C: `drm_gpuvm_bo_create()`.
    pub fn new(
        vm: &Vm<T>,
        obj: &VmObject<T>,
        data: impl PinInit<T::VmBoData, Infallible>,
    ) -> Result<Self> {
        if !ptr::eq(vm.dev(), obj.dev()) {
            return Err(EINVAL);
        }

        // SAFETY: Both are valid; the new one takes its own references.
        let ptr = unsafe { bindings::drm_gpuvm_bo_create(vm.as_raw(), obj.as_raw()) };
        // CAST: It is embedded in a `VmBo<T>`, at the start, by `VmBo::alloc_callback`.
        let ptr = NonNull::new(ptr.cast::<VmBo<T>>()).ok_or(ENOMEM)?;

        // SAFETY: The place is not initialised yet, and does not move before it is dropped.
        match unsafe {
            pin_init::raw_try_init(Opaque::cast_into(&raw const (*ptr.as_ptr()).data), data)
        } {
            Ok(()) => {}
            Err(e) => match e {},
        }

        // INVARIANT: The structure comes with one reference.
        Ok(Self(Counted { ptr, vm: vm.into() }))
    }

    /// Returns the [`VmBo`] of the object in the VM: this one, or the one that there is.
    ///
    /// In the latter case the memory is freed here, with its data. Takes `gpuva.lock` of the
    /// object; sleeps. C: `drm_gpuvm_bo_obtain_prealloc()`.
    pub fn obtain(self) -> VmBoRef<T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, and the field not used again.
        let vm = unsafe { ptr::read(&this.0.vm) };

        // SAFETY: It is in no list. The reference is handed over, and one comes back.
        let ptr = unsafe { bindings::drm_gpuvm_bo_obtain_prealloc(this.0.as_raw()) };

        // SAFETY: What comes back is never null. It is of the same VM, hence a `VmBo<T>`, at whose
        // start it is.
        let ptr = unsafe { NonNull::new_unchecked(ptr.cast()) };

        // INVARIANT: The reference is the one that came back.
        VmBoRef(Counted { ptr, vm })
    }
}

impl<T: DriverVm> Deref for VmBoAlloc<T> {
    type Target = VmBo<T>;

    fn deref(&self) -> &VmBo<T> {
        &self.0
    }
}

/// A reference to a [`VmBo`] that its object knows.
///
/// As long as it exists, the object is held, and it is a user of the VM. Dropping it does not
/// sleep, except that the last reference takes `gpuva.lock` of the object (which may be taken in the
/// signalling path of a fence), and that the last user of a VM frees it, see the
/// [module](super#lifetime-model).
pub struct VmBoRef<T: DriverVm>(Counted<T>);

impl<T: DriverVm> Clone for VmBoRef<T> {
    fn clone(&self) -> Self {
        // SAFETY: By the invariants of `Counted` there is a reference already.
        unsafe { ext_bindings::drm_gpuvm_bo_get(self.as_raw()) };

        // INVARIANT: The reference was just taken.
        Self(Counted {
            ptr: self.0.ptr,
            vm: self.0.vm.clone(),
        })
    }
}

impl<T: DriverVm> Deref for VmBoRef<T> {
    type Target = VmBo<T>;

    fn deref(&self) -> &VmBo<T> {
        &self.0
    }
}
