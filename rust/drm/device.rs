// SPDX-License-Identifier: GPL-2.0

//! DRM device.
//!
//! C header: [`include/drm/drm_device.h`](srctree/include/drm/drm_device.h)

use super::{
    file::File,
    Driver, //
};
use core::{
    alloc::Layout,
    mem,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    alloc::allocator::Kmalloc,
    bindings,
    container_of,
    device,
    error::from_err_ptr,
    module::this_module,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// A DRM accel device of the driver `T`.
///
/// It dereferences to the driver's private data, [`Driver::Data`].
///
/// # Invariants
///
/// - `dev` is an initialized `struct drm_device`, allocated with an accel minor and with
///   `Self::VTABLE` as its driver.
/// - `data` is initialized, unless the device is still private to [`UnregisteredDevice::new`].
/// - `published` is true only if `drm_dev_register()` was called on `dev` while its parent was
///   bound, by a [`Registration`](super::Registration).
#[repr(C)]
pub struct Device<T: Driver> {
    dev: Opaque<bindings::drm_device>,
    published: Atomic<bool>,
    data: Opaque<T::Data>,
}

impl<T: Driver> Device<T> {
    const FEATURES: u32 = bindings::drm_driver_feature_DRIVER_COMPUTE_ACCEL
        | bindings::drm_driver_feature_DRIVER_GEM
        | if T::FEAT_SYNCOBJ {
            bindings::drm_driver_feature_DRIVER_SYNCOBJ
        } else {
            0
        }
        | if T::FEAT_SYNCOBJ_TIMELINE {
            bindings::drm_driver_feature_DRIVER_SYNCOBJ_TIMELINE
        } else {
            0
        };

    const VTABLE: bindings::drm_driver = {
        let mut vtable: bindings::drm_driver = pin_init::zeroed();

        vtable.open = Some(File::<T::File>::open_callback);
        vtable.postclose = Some(File::<T::File>::postclose_callback);
        vtable.release = Some(Self::release_callback);
        if T::HAS_SHOW_FDINFO {
            vtable.show_fdinfo = Some(File::<T::File>::show_fdinfo_callback);
        }
        if T::HAS_IMPORT {
            vtable.gem_prime_import = Some(super::prime::import_callback::<T>);
        }
        vtable.major = T::INFO.major;
        vtable.minor = T::INFO.minor;
        vtable.patchlevel = T::INFO.patchlevel;
        vtable.name = kernel::str::as_char_ptr_in_const_context(T::INFO.name).cast_mut();
        vtable.desc = kernel::str::as_char_ptr_in_const_context(T::INFO.desc).cast_mut();
        vtable.driver_features = Self::FEATURES;
        vtable.ioctls = T::IOCTLS.as_ptr().cast();
        vtable.num_ioctls = T::IOCTLS.len() as i32;
        vtable.fops = &Self::FOPS;

        vtable
    };

    /// What an unfinished device has: nothing of it calls into the driver.
    const UNFINISHED_VTABLE: bindings::drm_driver = bindings::drm_driver {
        release: None,
        ..Self::VTABLE
    };

    // As `DRM_ACCEL_FOPS`, which has no `show_fdinfo`.
    const FOPS: bindings::file_operations = {
        let mut fops: bindings::file_operations = pin_init::zeroed();

        fops.owner = this_module::<T::OwnerModule>().as_ptr();
        fops.open = Some(ext_bindings::accel_open);
        fops.release = Some(bindings::drm_release);
        fops.unlocked_ioctl = Some(bindings::drm_ioctl);
        #[cfg(CONFIG_COMPAT)]
        {
            fops.compat_ioctl = Some(bindings::drm_compat_ioctl);
        }
        fops.poll = Some(bindings::drm_poll);
        fops.read = Some(bindings::drm_read);
        fops.llseek = Some(bindings::noop_llseek);
        fops.mmap = Some(bindings::drm_gem_mmap);
        fops.show_fdinfo = Some(bindings::drm_show_fdinfo);
        fops.fop_flags = bindings::FOP_UNSIGNED_OFFSET;

        fops
    };

    /// Returns the raw `struct drm_device`, valid as long as `self`.
    pub fn as_raw(&self) -> *mut bindings::drm_device {
        self.dev.get()
    }

    /// Converts a `struct drm_device` back into the [`Device`] that it is part of.
    ///
    /// # Safety
    ///
    /// - `ptr` must point to the `struct drm_device` of a `Device<T>`.
    /// - Its reference count must not drop to zero for the duration of `'a`.
    pub unsafe fn from_raw<'a>(ptr: *const bindings::drm_device) -> &'a Self {
        // SAFETY: By the safety requirements `ptr` is embedded in a `Device<T>` that lives for
        // `'a`.
        unsafe { &*container_of!(Opaque::cast_from(ptr), Self, dev) }
    }

    /// Returns the driver's private data. [`Device`] also dereferences to it.
    pub fn data(&self) -> &T::Data {
        // SAFETY: By the type invariants `data` is initialized; it is dropped only when the last
        // reference to `self` is gone.
        unsafe { &*self.data.get() }
    }

    /// Returns the device that the DRM device belongs to, which may be bound or not.
    ///
    /// See [`DeviceGuard::parent`] for a way to have it bound.
    pub fn parent(&self) -> &device::Device {
        // SAFETY: A DRM device holds a reference to its parent as long as it lives.
        unsafe { device::Device::from_raw((*self.as_raw()).dev) }
    }

    /// Enters a section in which the device cannot be unplugged, and its parent cannot be unbound.
    ///
    /// Returns `None` if the device is unplugged, or was never registered. Sections nest, and may
    /// sleep; but unplugging (and thus unbinding the driver, or removing the hardware) waits for
    /// them. Do not wait in one for anything that takes long, or that unplugging is to end.
    ///
    /// It says nothing about the hardware: a device that was pulled out is unplugged some time
    /// later.
    ///
    /// C: `drm_dev_enter()`, a read-side critical section of an SRCU domain that all DRM devices
    /// share. Takes no lock, does not sleep.
    #[must_use]
    pub fn enter(&self) -> Option<DeviceGuard<'_, T>> {
        if !self.published.load(Acquire) {
            return None;
        }

        let mut idx = 0;
        // SAFETY: `self.as_raw()` is a valid `struct drm_device`.
        if !unsafe { bindings::drm_dev_enter(self.as_raw(), &mut idx) } {
            return None;
        }

        // INVARIANT: `drm_dev_enter()` succeeded and gave `idx`. `published` is set, so that
        // `drm_dev_register()` was called while the parent was bound; from then on the parent is
        // unbound only after `drm_dev_unplug()` has waited for the end of this section.
        Some(DeviceGuard {
            dev: self,
            idx,
            _not_send: NotThreadSafe,
        })
    }

    /// Returns whether the device is unplugged, for good.
    ///
    /// `false` may be outdated when it is returned, see [`enter`](Self::enter) for a way to rely
    /// on it. Does not sleep. C: `drm_dev_is_unplugged()`.
    pub fn is_unplugged(&self) -> bool {
        let mut idx = 0;
        // SAFETY: `self.as_raw()` is a valid `struct drm_device`.
        if unsafe { bindings::drm_dev_enter(self.as_raw(), &mut idx) } {
            // SAFETY: `idx` was given by a successful `drm_dev_enter()`.
            unsafe { bindings::drm_dev_exit(idx) };
            return false;
        }
        true
    }

    /// Removes all CPU mappings of all GEM objects of this device from all processes.
    ///
    /// The mappings themselves stay: the next access to them faults again, see
    /// [`DriverObject::fault`](super::gem::DriverObject::fault), also for how to keep a concurrent
    /// fault from undoing this.
    ///
    /// May sleep. C: `unmap_mapping_range()` on the inode that all files of the device share.
    pub fn unmap_all_cpu(&self) {
        // SAFETY: A DRM device has its anonymous inode, with an address space, for all of its
        // life. Length 0 stands for everything.
        unsafe { bindings::unmap_mapping_range((*(*self.as_raw()).anon_inode).i_mapping, 0, 0, 1) };
    }

    /// Returns `N` of the device's node `/dev/accel/accelN`.
    pub fn minor_index(&self) -> u32 {
        // SAFETY: A device with `DRIVER_COMPUTE_ACCEL` has its accel minor from allocation on for
        // as long as it lives, and the index of a minor does not change.
        let index = unsafe { (*(*self.as_raw()).accel).index };

        // CAST: Minors are numbered from 0.
        index as u32
    }

    /// Notes that the device is about to be registered, so that sections may be entered.
    ///
    /// # Safety
    ///
    /// The parent must be bound, and the caller must ensure that `drm_dev_register()` fails, or
    /// that `drm_dev_unplug()` is called, before it is unbound.
    pub(super) unsafe fn publish(&self) {
        self.published.store(true, Release);
    }

    /// The release callback of `struct drm_driver`, called when the last reference is gone.
    ///
    /// # Safety
    ///
    /// Only for `struct drm_driver`.
    unsafe extern "C" fn release_callback(ptr: *mut bindings::drm_device) {
        // SAFETY: All devices with this callback are embedded in a `Device<T>`.
        let this = unsafe { container_of!(Opaque::cast_from(ptr), Self, dev) };

        // SAFETY: There is no reference left, hence no other user of the data, which is
        // initialized since this callback was set.
        unsafe { core::ptr::drop_in_place((*this).data.get()) };
    }
}

impl<T: Driver> Deref for Device<T> {
    type Target = T::Data;

    fn deref(&self) -> &Self::Target {
        self.data()
    }
}

impl<T: Driver> AsRef<device::Device> for Device<T> {
    fn as_ref(&self) -> &device::Device {
        self.parent()
    }
}

// SAFETY: DRM devices are reference counted; a reference is taken with `drm_dev_get()` and
// released with `drm_dev_put()`.
unsafe impl<T: Driver> AlwaysRefCounted for Device<T> {
    fn inc_ref(&self) {
        // SAFETY: The existence of a shared reference guarantees that the refcount is non-zero.
        unsafe { bindings::drm_dev_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: `obj` is valid by the safety requirements.
        let dev = unsafe { obj.as_ref() }.as_raw();

        // SAFETY: The safety requirements guarantee that the refcount is non-zero.
        unsafe { bindings::drm_dev_put(dev) };
    }
}

// SAFETY: A `Device` can be released from any thread, and its data is `Send`.
unsafe impl<T: Driver> Send for Device<T> {}

// SAFETY: All methods on a shared `Device` are protected by the synchronization of `struct
// drm_device`, and its data is `Sync`.
unsafe impl<T: Driver> Sync for Device<T> {}

/// A section in which a device is registered and its parent is bound, see [`Device::enter`].
///
/// It ends when the guard is dropped.
///
/// # Invariants
///
/// - `idx` was given by a successful `drm_dev_enter()`, which has not been exited.
/// - The parent of `dev` is bound as long as the guard exists.
#[must_use = "the section ends immediately when the guard is not used"]
pub struct DeviceGuard<'a, T: Driver> {
    dev: &'a Device<T>,
    idx: i32,
    _not_send: NotThreadSafe,
}

impl<T: Driver> DeviceGuard<'_, T> {
    /// Returns the device that the DRM device belongs to. It stays bound as long as the guard.
    pub fn parent(&self) -> &device::Device<device::Bound> {
        // SAFETY: The parent is bound by the type invariants.
        unsafe { self.dev.parent().as_bound() }
    }
}

impl<T: Driver> Deref for DeviceGuard<'_, T> {
    type Target = Device<T>;

    fn deref(&self) -> &Self::Target {
        self.dev
    }
}

impl<T: Driver> Drop for DeviceGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `idx` is that of a section which has not been exited, by the type invariants.
        unsafe { bindings::drm_dev_exit(self.idx) };
    }
}

/// A device that was not registered yet, and hence has no users.
///
/// # Invariants
///
/// `drm_dev_register()` was not called on the device.
pub struct UnregisteredDevice<T: Driver>(ARef<Device<T>>, NotThreadSafe);

impl<T: Driver> UnregisteredDevice<T> {
    /// Allocates a DRM device for `parent`, and initializes its private data with `data`.
    ///
    /// Its minor, and with it [`Device::minor_index`], is reserved from now on. May sleep.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`: out of memory.
    /// - `EBUSY`: there is no free accel minor.
    /// - `ENODEV`: the DRM core failed to initialize.
    /// - What the initializer of `data` returned; nothing of the device is left then.
    ///
    /// C: `__drm_dev_alloc()`.
    pub fn new<E>(
        parent: &device::Device<device::Bound>,
        data: impl PinInit<T::Data, E>,
    ) -> Result<Self>
    where
        Error: From<E>,
    {
        // `__drm_dev_alloc()` uses `kmalloc()`, hence the layout has to be one that it keeps.
        let layout = Kmalloc::aligned_layout(Layout::new::<Device<T>>());

        // The release callback is added below, when there is something to release.
        //
        // SAFETY: `parent` is a valid device, the driver structure is a constant, and the `struct
        // drm_device` is at the given offset of memory of the given size.
        let dev: *mut Device<T> = unsafe {
            bindings::__drm_dev_alloc(
                raw_device(parent),
                const { &Device::<T>::UNFINISHED_VTABLE },
                layout.size(),
                mem::offset_of!(Device<T>, dev),
            )
        }
        .cast();
        let dev = NonNull::new(from_err_ptr(dev)?).ok_or(ENOMEM)?;

        // SAFETY: `dev` points to the allocation that was just made.
        let raw = unsafe { Opaque::cast_into(&raw const (*dev.as_ptr()).dev) };

        // SAFETY: As above; nobody else knows the device.
        unsafe { (&raw mut (*dev.as_ptr()).published).write(Atomic::new(false)) };

        // SAFETY: As above.
        let slot = unsafe { Opaque::cast_into(&raw const (*dev.as_ptr()).data) };

        // SAFETY: `slot` is valid for writes and pinned, since the device never moves. On failure
        // it is not used again.
        unsafe { pin_init::raw_try_init(slot, data) }.inspect_err(|_| {
            // SAFETY: This is the only reference to the device, which has no release callback.
            unsafe { bindings::drm_dev_put(raw) };
        })?;

        // SAFETY: The device is still private to this function.
        unsafe { (*raw).driver = const { &Device::<T>::VTABLE } };

        // SAFETY: The device was allocated with one reference, which is handed over.
        // INVARIANT: The device was just created, so that it was not registered.
        Ok(Self(unsafe { ARef::from_raw(dev) }, NotThreadSafe))
    }

    /// Hands the device over to the one who registers it.
    pub(super) fn into_inner(self) -> ARef<Device<T>> {
        self.0
    }
}

impl<T: Driver> Deref for UnregisteredDevice<T> {
    type Target = Device<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Returns the raw `struct device` of `dev`.
pub(super) fn raw_device<Ctx: device::DeviceContext>(
    dev: &device::Device<Ctx>,
) -> *mut bindings::device {
    // CAST: `device::Device` is a transparent wrapper of `Opaque<struct device>`.
    core::ptr::from_ref(dev).cast_mut().cast()
}
