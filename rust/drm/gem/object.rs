// SPDX-License-Identifier: GPL-2.0

//! GEM objects.
//!
//! C header: [`include/drm/drm_gem.h`](srctree/include/drm/drm_gem.h)

use super::{
    super::{
        device::Device,
        prime,
        DmaBuf, //
    },
    handle,
    stats,
    vm,
    DriverObject, //
};
use core::{
    ops::Deref,
    ptr,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    container_of,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        Refcount, //
    },
    types::Opaque, //
};
use pin_init::Wrapper;

/// Whose reservation object (`struct dma_resv`) a new GEM object uses.
pub enum Resv<T: DriverObject> {
    /// Its own.
    Own,
    /// That of another object of the same device, which lives as long as the new one.
    Object(ARef<Object<T>>),
    /// That of a dma-buf, which lives as long as the new object. It is for imported buffers.
    DmaBuf(ARef<DmaBuf>),
}

/// A GEM object with private data `T`.
///
/// It dereferences to the data.
///
/// # Invariants
///
/// - `obj` is an initialized `struct drm_gem_object` of the device `dev`, with
///   `Self::OBJECT_FUNCS`.
/// - `data` and `resv` are initialized as long as the reference count of `obj` is not zero.
/// - `users` is the number of [`ShmemPages`](super::ShmemPages) of the object, plus one for all
///   references together. The memory of the object is freed when it becomes zero.
#[repr(C)]
#[pin_data]
pub struct Object<T: DriverObject> {
    pub(super) obj: Opaque<bindings::drm_gem_object>,
    users: Refcount,
    /// What keeps the reservation object goes with the data, not with the memory: a dma-buf may
    /// lead to a [`WeakRef`](super::WeakRef) of what was made of it.
    resv: Opaque<Resv<T>>,
    dev: ARef<Device<T::Driver>>,
    #[pin]
    data: Opaque<T>,
}

impl<T: DriverObject> Object<T> {
    const OBJECT_FUNCS: bindings::drm_gem_object_funcs = {
        let mut funcs: bindings::drm_gem_object_funcs = pin_init::zeroed();

        funcs.free = Some(Self::free_callback);
        if T::HAS_OPEN {
            funcs.open = Some(handle::open_callback::<T>);
        }
        if T::HAS_CLOSE {
            funcs.close = Some(handle::close_callback::<T>);
        }
        funcs.export = Some(prime::export_callback::<T>);
        funcs.mmap = Some(vm::mmap_callback::<T>);
        if T::HAS_STATUS {
            funcs.status = Some(stats::status_callback::<T>);
        }
        if T::HAS_RSS {
            funcs.rss = Some(stats::rss_callback::<T>);
        }
        funcs.vm_ops = &vm::VmOps::<T>::VM_OPS;

        funcs
    };

    /// Creates an object whose memory is the driver's business.
    ///
    /// `size` is in bytes, and a multiple of the page size. May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `size` is 0 or not a multiple of the page size.
    /// - `ENOMEM`: out of memory.
    /// - What the initializer of `data` returned.
    ///
    /// C: `drm_gem_private_object_init()`.
    pub fn new_private<E>(
        dev: &Device<T::Driver>,
        size: usize,
        data: impl PinInit<T, E>,
    ) -> Result<ARef<Self>>
    where
        Error: From<E>,
    {
        Self::new_private_with_resv(dev, size, Resv::Own, data)
    }

    /// As [`new_private`](Self::new_private), with the reservation object of someone else.
    ///
    /// # Errors
    ///
    /// As for [`new_private`](Self::new_private); also `EINVAL` if the object given in `resv`
    /// belongs to another device.
    pub fn new_private_with_resv<E>(
        dev: &Device<T::Driver>,
        size: usize,
        resv: Resv<T>,
        data: impl PinInit<T, E>,
    ) -> Result<ARef<Self>>
    where
        Error: From<E>,
    {
        let this = Self::alloc(dev, size, resv, data)?;

        // SAFETY: The device and the object are valid, and `alloc` has checked the size.
        unsafe { bindings::drm_gem_private_object_init(dev.as_raw(), this.as_raw(), size) };

        // INVARIANT: The object is initialized now.
        Ok(Self::publish(this))
    }

    /// Creates an object that is backed by shmem. Its pages are allocated, as zeroes, when they
    /// are used first.
    ///
    /// `size` is in bytes, and a multiple of the page size. May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `size` is 0 or not a multiple of the page size, or larger than a file can be.
    /// - `ENOMEM`: out of memory.
    /// - What the initializer of `data` returned.
    ///
    /// C: `drm_gem_object_init()`.
    pub fn new_shmem<E>(
        dev: &Device<T::Driver>,
        size: usize,
        data: impl PinInit<T, E>,
    ) -> Result<ARef<Self>>
    where
        Error: From<E>,
    {
        let this = Self::alloc(dev, size, Resv::Own, data)?;

        // SAFETY: The device and the object are valid, and `alloc` has checked the size.
        let ret = unsafe { bindings::drm_gem_object_init(dev.as_raw(), this.as_raw(), size) };
        if let Err(e) = to_result(ret) {
            // SAFETY: `drm_gem_object_init()` has initialized the private part before it failed;
            // nobody else knows the object, whose data was initialized by `alloc`.
            unsafe {
                ptr::drop_in_place(this.data.get());
                ptr::drop_in_place(this.resv.get());
                bindings::drm_gem_private_object_fini(this.as_raw());
            }
            return Err(e);
        }

        // INVARIANT: The object is initialized now.
        Ok(Self::publish(this))
    }

    /// Allocates an object with its data, but without an initialized `struct drm_gem_object`.
    ///
    /// The data is not dropped when the result is.
    fn alloc<E>(
        dev: &Device<T::Driver>,
        size: usize,
        resv: Resv<T>,
        data: impl PinInit<T, E>,
    ) -> Result<Pin<KBox<Self>>>
    where
        Error: From<E>,
    {
        // The C functions take other sizes for a bug of the driver.
        if size == 0 || size % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }

        let raw_resv = match &resv {
            Resv::Own => ptr::null_mut(),
            Resv::Object(obj) => {
                if !ptr::eq(obj.dev(), dev) {
                    return Err(EINVAL);
                }
                obj.resv_raw()
            }
            // SAFETY: A dma-buf has its reservation object for all of its life.
            Resv::DmaBuf(dmabuf) => unsafe { (*dmabuf.as_raw()).resv },
        };

        let this: Pin<KBox<Self>> = KBox::pin_init::<Error>(
            try_pin_init!(Self {
                obj: Opaque::zeroed(),
                users: Refcount::new(1),
                dev: dev.into(),
                data <- Opaque::pin_init(data),
                // The last, as it is not dropped when another fails.
                resv: Opaque::new(resv),
            }? Error),
            GFP_KERNEL,
        )?;

        // SAFETY: The object is not initialized yet, and private to this function.
        unsafe {
            (*this.as_raw()).funcs = const { &Self::OBJECT_FUNCS };
            (*this.as_raw()).resv = raw_resv;
        }

        Ok(this)
    }

    /// Turns an allocation with an initialized `struct drm_gem_object` into a reference.
    fn publish(this: Pin<KBox<Self>>) -> ARef<Self> {
        // SAFETY: The object is never moved, being accessible through references only.
        let this = KBox::leak(unsafe { Pin::into_inner_unchecked(this) });

        // SAFETY: The object was initialized with one reference, which is handed over.
        unsafe { ARef::from_raw(this.into()) }
    }

    /// Converts a `struct drm_gem_object` back into the [`Object`] that it is part of.
    ///
    /// # Safety
    ///
    /// - `ptr` must point to the `struct drm_gem_object` of an `Object<T>`.
    /// - Its reference count must not drop to zero for the duration of `'a`.
    pub unsafe fn from_raw<'a>(ptr: *const bindings::drm_gem_object) -> &'a Self {
        // SAFETY: By the safety requirements `ptr` is embedded in an `Object<T>` that lives for
        // `'a`.
        unsafe { &*container_of!(Opaque::cast_from(ptr), Self, obj) }
    }

    /// Gives a reference away to C.
    pub(in crate::drm) fn into_raw(this: ARef<Self>) -> *mut bindings::drm_gem_object {
        let raw = this.as_raw();
        core::mem::forget(this);
        raw
    }

    /// Returns the raw `struct drm_gem_object`, valid as long as `self`.
    pub fn as_raw(&self) -> *mut bindings::drm_gem_object {
        self.obj.get()
    }

    /// Returns the driver's private data. [`Object`] also dereferences to it.
    pub fn data(&self) -> &T {
        // SAFETY: The data is initialized as long as there are references, by the type invariants.
        unsafe { &*self.data.get() }
    }

    /// Returns the device of the object.
    pub fn dev(&self) -> &Device<T::Driver> {
        &self.dev
    }

    /// Returns the size in bytes, a multiple of the page size.
    pub fn size(&self) -> usize {
        // SAFETY: `self` is a valid object, whose size does not change.
        unsafe { (*self.as_raw()).size }
    }

    /// Returns the dma-buf that the object is exported as, or was imported from.
    ///
    /// An object forgets the dma-buf when its last handle is closed.
    ///
    /// Takes `drm_device.object_name_lock`. May sleep.
    pub fn dma_buf(&self) -> Option<ARef<DmaBuf>> {
        let dev = self.dev.as_raw();

        // SAFETY: The device has a mutex there since GEM was initialized.
        unsafe { bindings::mutex_lock(&raw mut (*dev).object_name_lock) };

        // SAFETY: The field is protected by the lock held.
        let dmabuf = NonNull::new(unsafe { (*self.as_raw()).dma_buf }).map(|dmabuf| {
            // SAFETY: The object holds a reference to the dma-buf.
            ARef::from(unsafe { DmaBuf::from_raw(dmabuf.as_ptr()) })
        });

        // SAFETY: The lock was taken above.
        unsafe { bindings::mutex_unlock(&raw mut (*dev).object_name_lock) };

        dmabuf
    }

    /// Returns the offset at which the device's node maps the object to userspace, in bytes.
    ///
    /// It is allocated on the first call. It is usable only in files that have a handle. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: out of memory. `ENOSPC`: out of offsets.
    ///
    /// C: `drm_gem_create_mmap_offset()`.
    pub fn mmap_offset(&self) -> Result<u64> {
        // SAFETY: `self` is a valid object.
        to_result(unsafe { bindings::drm_gem_create_mmap_offset(self.as_raw()) })?;

        // SAFETY: `self` is a valid object, with an offset.
        Ok(unsafe { ext_bindings::drm_vma_node_offset_addr(&raw mut (*self.as_raw()).vma_node) })
    }

    /// Returns the place of the object in the device's address space, in pages; 0 if it has none
    /// yet.
    pub(super) fn first_page(&self) -> usize {
        // SAFETY: `self` is a valid object. Once allocated, the place does not change.
        unsafe { (*self.as_raw()).vma_node.vm_node.start as usize }
    }

    /// Removes the CPU mappings of the object's pages from all processes.
    ///
    /// The mappings themselves stay: the next access to them faults again, see
    /// [`DriverObject::fault`], also for how to keep a concurrent fault from undoing this.
    ///
    /// May sleep. C: `drm_vma_node_unmap()`.
    pub fn unmap_cpu(&self) {
        // SAFETY: The object and its device are valid; a device has its anonymous inode, with an
        // address space, for all of its life.
        unsafe {
            ext_bindings::drm_vma_node_unmap(
                &raw mut (*self.as_raw()).vma_node,
                (*(*self.dev.as_raw()).anon_inode).i_mapping,
            )
        };
    }

    /// Returns the reservation object, valid as long as `self`.
    pub fn resv_raw(&self) -> *mut bindings::dma_resv {
        // SAFETY: `self` is a valid object, whose reservation object does not change.
        unsafe { (*self.as_raw()).resv }
    }

    /// Takes a reference to the object's memory, but not to its data.
    pub(super) fn get_memory(&self) -> NonNull<Self> {
        self.users.inc();
        NonNull::from(self)
    }

    /// The device of an object whose data may be gone.
    ///
    /// # Safety
    ///
    /// The memory of the object must be kept during `'a` by [`get_memory`](Self::get_memory).
    pub(super) unsafe fn dev_of<'a>(this: NonNull<Self>) -> &'a Device<T::Driver> {
        // SAFETY: By the safety requirements. The device goes with the memory, not with the data.
        unsafe { &(*this.as_ptr()).dev }
    }

    /// Releases a reference that [`get_memory`](Self::get_memory) took.
    ///
    /// # Safety
    ///
    /// `this` must come from [`get_memory`](Self::get_memory), and must not be used afterwards.
    pub(super) unsafe fn put_memory(this: NonNull<Self>) {
        // SAFETY: The memory is valid by the safety requirements.
        if !unsafe { this.as_ref() }.users.dec_and_test() {
            return;
        }

        // SAFETY: This was the last user, hence the reference count is zero as well.
        unsafe { bindings::drm_gem_object_release(this.as_ref().as_raw()) };

        // SAFETY: The memory was allocated as a `KBox`, and nobody uses it any more. The data and
        // the reservation object, which are not dropped with it, were dropped when the reference
        // count became zero.
        drop(unsafe { KBox::from_raw(this.as_ptr()) });
    }

    /// The free callback of `struct drm_gem_object_funcs`.
    ///
    /// # Safety
    ///
    /// Only for `struct drm_gem_object_funcs` of `T`.
    unsafe extern "C" fn free_callback(obj: *mut bindings::drm_gem_object) {
        // SAFETY: All objects with this callback are embedded in an `Object<T>`.
        let this = unsafe { container_of!(Opaque::cast_from(obj), Self, obj) }.cast_mut();

        // SAFETY: There is no reference left, hence no other user of the data.
        unsafe { ptr::drop_in_place((*this).data.get()) };

        // SAFETY: The reservation object is reached through references and the data only. What is
        // done with the memory from now on, up to `drm_gem_object_release()`, does not touch it.
        unsafe { ptr::drop_in_place((*this).resv.get()) };

        // SAFETY: `this` is not null. All references together hold one reference to the memory.
        unsafe { Self::put_memory(NonNull::new_unchecked(this)) };
    }
}

impl<T: DriverObject> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &Self::Target {
        self.data()
    }
}

// SAFETY: GEM objects are reference counted; a reference is taken with `drm_gem_object_get()` and
// released with `drm_gem_object_put()`.
unsafe impl<T: DriverObject> AlwaysRefCounted for Object<T> {
    fn inc_ref(&self) {
        // SAFETY: The existence of a shared reference guarantees that the refcount is non-zero.
        unsafe { ext_bindings::drm_gem_object_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: `obj` is valid by the safety requirements.
        let obj = unsafe { obj.as_ref() }.as_raw();

        // SAFETY: The safety requirements guarantee that the refcount is non-zero.
        unsafe { ext_bindings::drm_gem_object_put(obj) };
    }
}

// SAFETY: A GEM object can be released from any thread, and its data is `Send`.
unsafe impl<T: DriverObject> Send for Object<T> {}

// SAFETY: All methods on a shared object are protected by the synchronization of `struct
// drm_gem_object`, and its data is `Sync`.
unsafe impl<T: DriverObject> Sync for Object<T> {}
