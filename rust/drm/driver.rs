// SPDX-License-Identifier: GPL-2.0

//! DRM driver, and registration of its devices.
//!
//! C header: [`include/drm/drm_drv.h`](srctree/include/drm/drm_drv.h)

use super::{
    device::raw_device,
    gem,
    Device,
    DmaBuf,
    File,
    FileData,
    IoctlDescriptor,
    Printer,
    UnregisteredDevice, //
};
use kernel::{
    bindings,
    build_error,
    device,
    devres::Devres,
    error::{
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    prelude::*,
    sync::aref::ARef, //
};

/// What `DRM_IOCTL_VERSION` tells about a driver.
pub struct DriverInfo {
    /// Driver major version.
    pub major: i32,
    /// Driver minor version.
    pub minor: i32,
    /// Driver patchlevel version.
    pub patchlevel: i32,
    /// Driver name.
    pub name: &'static CStr,
    /// Driver description.
    pub desc: &'static CStr,
}

/// A driver of DRM accel devices.
///
/// The features `DRIVER_COMPUTE_ACCEL` and `DRIVER_GEM` are always set.
#[vtable]
pub trait Driver: Sized + 'static {
    /// Private data of a device, which lives until the last reference to the device is gone.
    ///
    /// It must not own anything that ends with the binding of the parent, see the
    /// [module](super).
    type Data: Sync + Send;

    /// Private data of an open file.
    type File: FileData<Driver = Self>;

    /// Private data of a GEM object.
    type Object: gem::DriverObject<Driver = Self>;

    /// Name and version.
    const INFO: DriverInfo;

    /// The driver's own ioctls, see [`drm_accel_ioctls!`](crate::drm_accel_ioctls).
    const IOCTLS: &'static [IoctlDescriptor<Self>];

    /// Sets the feature `DRIVER_SYNCOBJ`: synchronization objects and their ioctls.
    const FEAT_SYNCOBJ: bool = false;

    /// Sets the feature `DRIVER_SYNCOBJ_TIMELINE`: synchronization objects with timelines.
    const FEAT_SYNCOBJ_TIMELINE: bool = false;

    /// Prints to `/proc/PID/fdinfo/FD` what is known about a client, in the keys of
    /// `Documentation/gpu/drm-usage-stats.rst`.
    ///
    /// `drm-driver`, `drm-client-id`, `drm-pdev` and `drm-client-name` are printed already. Called
    /// in a section of [`Device::enter`]; may sleep.
    fn show_fdinfo(_dev: &Device<Self>, _file: &File<Self::File>, _printer: &mut Printer) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes a GEM object of `dev` from a dma-buf (`DRM_IOCTL_PRIME_FD_TO_HANDLE`).
    ///
    /// Returns either a new object, which holds its own reference to the dma-buf, or, if `dmabuf`
    /// is what an object of this very device is exported as, that object. An object of another
    /// device, or one with another dma-buf, is refused with `EINVAL`. Without this method only the
    /// latter kind of import works, and only for dma-bufs of the DRM core's own making; others
    /// fail with `EINVAL`.
    ///
    /// Called for each file once per dma-buf, with the file's PRIME lock and
    /// `drm_device.object_name_lock` held: must not create handles, nor call
    /// [`gem::Object::dma_buf`]. May sleep.
    fn import(_dev: &Device<Self>, _dmabuf: &DmaBuf) -> Result<ARef<gem::Object<Self::Object>>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// The registration of a device with userspace.
///
/// As long as it exists, the device has its node. Dropping it unplugs the device: this waits for
/// all sections of [`Device::enter`], removes the node, and all CPU mappings of buffers. Dropping
/// it may sleep. It must not be dropped in a section of [`Device::enter`], which it would wait
/// for.
///
/// It should be part of what the bus driver keeps while it is bound, before all that the device
/// uses, so that it goes first. If it is still there afterwards, the device is unplugged when the
/// resources of the parent are released, which happens in the reverse order of their acquisition.
pub struct Registration<T: Driver> {
    dev: ARef<Device<T>>,
    _inner: Devres<Registered<T>>,
}

impl<T: Driver> Registration<T> {
    /// Registers a device with userspace; its node appears before this returns.
    ///
    /// `parent` is the device that `dev` was created for. May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `dev` does not belong to `parent`.
    /// - `ENOMEM`: out of memory.
    /// - What `device_add()` of the node returned.
    ///
    /// On failure the device is gone, unless someone else has a reference to it.
    ///
    /// C: `drm_dev_register()`.
    pub fn new(parent: &device::Device<device::Bound>, dev: UnregisteredDevice<T>) -> Result<Self> {
        if raw_device(dev.parent()) != raw_device(parent) {
            return Err(EINVAL);
        }
        let dev = dev.into_inner();

        // SAFETY: `parent` is bound. Either `drm_dev_register()` fails, or the device is unplugged
        // when `Registered` is dropped, for which `Devres` cares at the latest when `parent` is
        // unbound.
        unsafe { dev.publish() };

        // SAFETY: `dev` is an initialized DRM device which, having been an `UnregisteredDevice`,
        // was not registered before.
        to_result(unsafe { bindings::drm_dev_register(dev.as_raw(), 0) })?;

        // INVARIANT: The device was just registered.
        let registered = Registered(dev.clone());
        Ok(Self {
            dev,
            _inner: Devres::new(parent, registered)?,
        })
    }

    /// Returns the device.
    pub fn device(&self) -> &Device<T> {
        &self.dev
    }
}

/// Unplugs the device when dropped.
///
/// # Invariants
///
/// The device is registered.
struct Registered<T: Driver>(ARef<Device<T>>);

impl<T: Driver> Drop for Registered<T> {
    fn drop(&mut self) {
        // Unplugging, other than just unregistering, waits for the sections of `Device::enter`,
        // which rely on the parent being bound.
        //
        // SAFETY: The device is registered by the type invariants.
        unsafe { bindings::drm_dev_unplug(self.0.as_raw()) };
    }
}
