// SPDX-License-Identifier: GPL-2.0

//! The VM.

use super::{
    super::Device,
    vm_bo::VmBo,
    DriverVm,
    VmObject,
    VmTree, //
};
use crate::dma_resv::DmaResv;
use core::{
    any::TypeId,
    ops::{
        Deref,
        Range, //
    },
    ptr,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    container_of,
    prelude::*,
    str::CString,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::Atomic,
        Refcount, //
    },
    types::Opaque, //
};

/// What all [`Vm`]s have in common, whatever their type.
#[repr(C)]
struct Header {
    vm: Opaque<bindings::drm_gpuvm>,
    /// The type of the data.
    tag: TypeId,
}

/// A VM with private data `T`.
///
/// It dereferences to the data. See the [module](super) for who keeps it alive, and for where the
/// last reference may be dropped.
///
/// # Invariants
///
/// - `header.vm` is an initialised `struct drm_gpuvm` in immediate mode, protected by its
///   reservation lock, with `Self::OPS`, of a device of `T::Driver`; `header.tag` is that of `T`.
/// - `users` counts the [`VmTree`], [`VmBoRef`](super::VmBoRef)s, [`VmBoAlloc`](super::VmBoAlloc)s
///   and [`ARef`]s. All together own one reference to `header.vm`.
/// - The tree of `header.vm` has only [`Va`](super::Va)s of `T`, and is accessed by the
///   [`VmTree`] only. All its `struct drm_gpuvm_bo` are [`VmBo`]s of `T`.
#[repr(C)]
#[pin_data]
pub struct Vm<T: DriverVm> {
    header: Header,
    users: Refcount,
    /// Whether the list of evicted objects is being gone through; protected by the reservation
    /// lock.
    pub(super) validating: Atomic<bool>,
    /// What the `struct drm_gpuvm` refers to.
    name: CString,
    #[pin]
    data: T,
}

impl<T: DriverVm> Vm<T> {
    const OPS: bindings::drm_gpuvm_ops = bindings::drm_gpuvm_ops {
        vm_free: Some(Self::free_callback),
        op_alloc: None,
        op_free: None,
        vm_bo_alloc: Some(VmBo::<T>::alloc_callback),
        vm_bo_free: Some(VmBo::<T>::free_callback),
        vm_bo_validate: Some(VmBo::<T>::validate_callback),
        sm_step_map: Some(super::sm::map_callback::<T>),
        sm_step_remap: Some(super::sm::remap_callback::<T>),
        sm_step_unmap: Some(super::sm::unmap_callback::<T>),
    };

    /// Creates a VM for the addresses `range`, and returns the right to change it.
    ///
    /// `local` is the object whose reservation object the VM is to share: objects with that
    /// reservation object (see [`Resv::Object`](crate::drm::gem::Resv)) are local to the VM, and
    /// are locked with it. Without it the VM gets one of its own, and all objects are external.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `range` is empty, or `local` belongs to another device.
    /// - `ENOMEM`.
    /// - What the initializer of `data` returned.
    ///
    /// C: `drm_gpuvm_init()`.
    #[expect(clippy::new_ret_no_self)]
    pub fn new<E>(
        dev: &Device<T::Driver>,
        name: CString,
        range: Range<u64>,
        local: Option<&VmObject<T>>,
        data: impl PinInit<T, E>,
    ) -> Result<VmTree<T>>
    where
        Error: From<E>,
    {
        if range.is_empty() || local.is_some_and(|obj| !ptr::eq(obj.dev(), dev)) {
            return Err(EINVAL);
        }

        let this = KBox::pin_init::<Error>(
            try_pin_init!(Self {
                header: Header {
                    vm: Opaque::zeroed(),
                    tag: TypeId::of::<T>(),
                },
                users: Refcount::new(1),
                validating: Atomic::new(false),
                name,
                data <- data,
            }? Error),
            GFP_KERNEL,
        )?;

        let own = match local {
            Some(_) => ptr::null_mut(),
            None => {
                // SAFETY: `dev` is a valid DRM device.
                let obj = unsafe { bindings::drm_gpuvm_resv_object_alloc(dev.as_raw()) };
                if obj.is_null() {
                    return Err(ENOMEM);
                }
                obj
            }
        };

        // SAFETY: The structure is zeroed, and not moved any more. Device and object are valid, the
        // VM takes its own references. The name lives as long as the VM, the operations for ever.
        // The range is valid. A reserved range of size 0 is none.
        unsafe {
            bindings::drm_gpuvm_init(
                this.as_raw(),
                this.name.as_char_ptr(),
                bindings::drm_gpuvm_flags_DRM_GPUVM_IMMEDIATE_MODE
                    | bindings::drm_gpuvm_flags_DRM_GPUVM_RESV_PROTECTED,
                dev.as_raw(),
                local.map_or(own, |obj| obj.as_raw()),
                range.start,
                range.end - range.start,
                0,
                0,
                const { &Self::OPS },
            );
        }

        if !own.is_null() {
            // SAFETY: This is the reference that came with the object; the VM has another.
            unsafe { ext_bindings::drm_gem_object_put(own) };
        }

        // SAFETY: The VM is never moved, being accessible through references only.
        let this = KBox::leak(unsafe { Pin::into_inner_unchecked(this) });

        // SAFETY: The VM was initialised with one user and one reference, which are handed over.
        // There is no other `VmTree` for it.
        Ok(unsafe { VmTree::new(ARef::from_raw(this.into())) })
    }

    /// Converts a `struct drm_gpuvm` back into the [`Vm`] that it is part of.
    ///
    /// # Safety
    ///
    /// - `ptr` must point to the `struct drm_gpuvm` of a `Vm<T>`.
    /// - It must not be freed during `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *const bindings::drm_gpuvm) -> &'a Self {
        // SAFETY: By the safety requirements `ptr` is embedded in a `Vm<T>` that lives for `'a`.
        unsafe { &*container_of!(Opaque::cast_from(ptr), Self, header.vm) }
    }

    /// Whether `ptr` belongs to a `Vm<T>`.
    ///
    /// # Safety
    ///
    /// `ptr` must point to the `struct drm_gpuvm` of a valid [`Vm`] of whatever type.
    pub(super) unsafe fn is_type_of(ptr: *const bindings::drm_gpuvm) -> bool {
        // SAFETY: By the safety requirements; all `Vm`s begin with a `Header`.
        unsafe { (*container_of!(Opaque::cast_from(ptr), Header, vm)).tag == TypeId::of::<T>() }
    }

    /// Returns the raw `struct drm_gpuvm`, valid as long as `self`.
    pub fn as_raw(&self) -> *mut bindings::drm_gpuvm {
        self.header.vm.get()
    }

    /// Returns the driver's private data. [`Vm`] also dereferences to it.
    pub fn data(&self) -> &T {
        &self.data
    }

    /// Returns the name.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// Returns the device of the VM.
    pub fn dev(&self) -> &Device<T::Driver> {
        // SAFETY: By the type invariants; the VM holds the device, which does not change.
        unsafe { Device::from_raw((*self.as_raw()).drm) }
    }

    /// Returns the addresses of the VM.
    pub fn range(&self) -> Range<u64> {
        // SAFETY: By the type invariants the VM is initialised. The fields do not change.
        let (start, size) = unsafe { ((*self.as_raw()).mm_start, (*self.as_raw()).mm_range) };

        // The end is the one that `new` was given.
        start..start + size
    }

    /// Returns the reservation object of the VM and of the objects that are local to it.
    pub fn resv(&self) -> &DmaResv {
        // SAFETY: By the type invariants the VM is initialised. It holds the object, which keeps
        // its reservation object.
        unsafe { DmaResv::from_raw((*(*self.as_raw()).r_obj).resv) }
    }

    /// Whether `obj` has a reservation object of its own. C: `drm_gpuvm_is_extobj()`.
    pub fn is_external(&self, obj: &VmObject<T>) -> bool {
        !ptr::eq(obj.resv(), self.resv())
    }

    /// Frees each [`VmBo`] whose last reference has gone, and drops its reference to the object.
    ///
    /// Takes the reservation lock of the VM, if there is one to free. Sleeps. Must not be called
    /// with a reservation lock held, nor in the signalling path of a fence.
    ///
    /// C: `drm_gpuvm_bo_deferred_cleanup()`.
    pub fn deferred_cleanup(&self) {
        // SAFETY: By the type invariants the VM is initialised. Of what it puts aside nobody has a
        // reference.
        unsafe { bindings::drm_gpuvm_bo_deferred_cleanup(self.as_raw()) };
    }

    /// Called when the last reference is gone.
    ///
    /// # Safety
    ///
    /// Only for `struct drm_gpuvm_ops`.
    unsafe extern "C" fn free_callback(ptr: *mut bindings::drm_gpuvm) {
        // SAFETY: All VMs with this callback are embedded in a `Vm<T>`.
        let this = unsafe { container_of!(Opaque::cast_from(ptr), Self, header.vm) }.cast_mut();

        // SAFETY: `new` has allocated it as a `KBox`. There is no reference left.
        drop(unsafe { KBox::from_raw(this) });
    }
}

impl<T: DriverVm> Deref for Vm<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

// SAFETY: `users` counts the references, and is 1 for the first. The VM is freed when there is none
// left, or later.
unsafe impl<T: DriverVm> AlwaysRefCounted for Vm<T> {
    fn inc_ref(&self) {
        self.users.inc();
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: `obj` is valid by the safety requirements.
        let this = unsafe { obj.as_ref() };

        if !this.users.dec_and_test() {
            return;
        }

        // Without a `VmTree` there are no mappings, and without a `VmBoRef` and a `VmBoAlloc` no
        // reference to a `VmBo`: all that there are wait for this. It is the last time, since
        // nothing can be put aside any more.
        this.deferred_cleanup();

        // SAFETY: The users together own this reference, and the last one is gone.
        unsafe { bindings::drm_gpuvm_put(this.as_raw()) };
    }
}

// SAFETY: A `Vm` can be released from any thread; its data is `Send`, and so is what belongs to its
// mappings and objects.
unsafe impl<T: DriverVm> Send for Vm<T> {}

// SAFETY: The methods on a shared `Vm` read what does not change, or synchronise as the C side
// does. What can be reached through it is `Sync`.
unsafe impl<T: DriverVm> Sync for Vm<T> {}
