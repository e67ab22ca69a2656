// SPDX-License-Identifier: GPL-2.0

//! The operations of a variant driver, as VFIO calls them.

use super::{
    dma_buf_request,
    Cause,
    ConfigWrite,
    Device,
    Driver,
    OpenDevice, //
};
use ext_bindings::{
    vfio_device,
    vfio_device_ops, //
};
use kernel::{
    bindings,
    error::from_result,
    prelude::*,
    str::as_char_ptr_in_const_context,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

use core::marker::PhantomData;

pub(super) struct Vtable<T: Driver>(PhantomData<T>);

/// Chooses a function of VFIO that there is only with iommufd.
macro_rules! iommufd {
    ($function:ident) => {{
        #[cfg(CONFIG_IOMMUFD)]
        {
            Some(ext_bindings::$function)
        }
        #[cfg(not(CONFIG_IOMMUFD))]
        {
            None
        }
    }};
}

/// Makes a result of what a function of the core returns: a negative errno, or something else.
fn core_result<R: Copy + TryInto<i64>>(ret: R) -> Result<R> {
    match ret.try_into() {
        // CAST: An errno.
        Ok(err) if err < 0 => Err(Error::from_errno(err as i32)),
        _ => Ok(ret),
    }
}

// All functions are called by VFIO only, with a `struct vfio_device` that is a `Device<T>`. Between
// `open_device` and `close_device` the device is open; `read`, `write`, `ioctl`, `device_feature` and
// `mmap` are called only then.
impl<T: Driver> Vtable<T> {
    pub(super) const OPS: &'static vfio_device_ops = &vfio_device_ops {
        name: as_char_ptr_in_const_context(T::NAME).cast_mut(),
        init: Some(Self::init),
        release: Some(Self::release),
        open_device: Some(Self::open_device),
        close_device: Some(Self::close_device),
        write: Some(Self::write),
        ioctl: Some(Self::ioctl),
        device_feature: Some(Self::device_feature),

        // The rest is that of vfio-pci.
        read: Some(ext_bindings::vfio_pci_core_read),
        mmap: Some(ext_bindings::vfio_pci_core_mmap),
        get_region_info_caps: Some(ext_bindings::vfio_pci_ioctl_get_region_info),
        request: Some(ext_bindings::vfio_pci_core_request),
        match_: Some(ext_bindings::vfio_pci_core_match),
        match_token_uuid: Some(ext_bindings::vfio_pci_core_match_token_uuid),
        bind_iommufd: iommufd!(vfio_iommufd_physical_bind),
        unbind_iommufd: iommufd!(vfio_iommufd_physical_unbind),
        attach_ioas: iommufd!(vfio_iommufd_physical_attach_ioas),
        detach_ioas: iommufd!(vfio_iommufd_physical_detach_ioas),
        pasid_attach_ioas: iommufd!(vfio_iommufd_physical_pasid_attach_ioas),
        pasid_detach_ioas: iommufd!(vfio_iommufd_physical_pasid_detach_ioas),
        dma_unmap: None,
    };

    /// # Safety
    ///
    /// Called by `_vfio_alloc_device()` only, in [`Device::alloc`].
    unsafe extern "C" fn init(vdev: *mut vfio_device) -> c_int {
        from_result(|| {
            // SAFETY: The allocation is one for `Device<T>`, whose device is being bound.
            unsafe { Device::<T>::init(vdev.cast()) }?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by VFIO only, once, when the last reference has gone.
    unsafe extern "C" fn release(vdev: *mut vfio_device) {
        // SAFETY: Nobody uses the device any more.
        unsafe { Device::<T>::release(vdev.cast()) };
    }

    /// # Safety
    ///
    /// `vdev` must be that of a `Device<T>`.
    unsafe extern "C" fn open_device(vdev: *mut vfio_device) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            let device = unsafe { Device::<T>::from_vfio(vdev) };

            // SAFETY: The device is a structure of the core, not enabled yet.
            core_result(unsafe { ext_bindings::vfio_pci_core_enable(vdev.cast()) })?;

            // SAFETY: It is enabled, and `dev_set->lock` keeps it so.
            let open = unsafe { OpenDevice::new(device) };
            open.refresh();
            open.data().open(&open).inspect_err(|_| {
                // SAFETY: Enabled above.
                unsafe { ext_bindings::vfio_pci_core_disable(vdev.cast()) };
            })?;

            // SAFETY: Enabled above.
            unsafe { ext_bindings::vfio_pci_core_finish_enable(vdev.cast()) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `vdev` must be that of a `Device<T>` that is open.
    unsafe extern "C" fn close_device(vdev: *mut vfio_device) {
        // SAFETY: The device is enabled until the function of the core is called.
        let open = unsafe { OpenDevice::new(Device::<T>::from_vfio(vdev)) };

        open.data().close(&open);
        // SAFETY: By the safety requirements.
        unsafe { ext_bindings::vfio_pci_core_close_device(vdev) };
    }

    /// # Safety
    ///
    /// `vdev` must be that of a `Device<T>` that is open, and `ppos` be valid.
    unsafe extern "C" fn write(
        vdev: *mut vfio_device,
        buf: *const c_char,
        count: usize,
        ppos: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: By the safety requirements.
        let open = unsafe { OpenDevice::new(Device::<T>::from_vfio(vdev)) };
        // CAST: As the macros of the header do it.
        // SAFETY: By the safety requirements.
        let pos = unsafe { *ppos } as u64;
        let core = || {
            // SAFETY: The arguments are those of the caller.
            core_result(unsafe { ext_bindings::vfio_pci_core_write(vdev, buf, count, ppos) })
        };

        let ret = match judge(&open, buf, count, pos) {
            ConfigWrite::Harmless => core(),
            ConfigWrite::KeepsMemory => open.with_memory(Cause::Memory, core),
            ConfigWrite::Takes(cause) => open.without_memory(cause, core),
        };
        // CAST: An errno.
        ret.unwrap_or_else(|err| err.to_errno() as isize)
    }

    /// # Safety
    ///
    /// `vdev` must be that of a `Device<T>` that is open.
    unsafe extern "C" fn ioctl(vdev: *mut vfio_device, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: By the safety requirements.
        let open = unsafe { OpenDevice::new(Device::<T>::from_vfio(vdev)) };
        let core = || {
            // SAFETY: The arguments are those of the caller.
            core_result(unsafe { ext_bindings::vfio_pci_core_ioctl(vdev, cmd, arg) })
        };

        let ret = match cmd {
            ext_bindings::VFIO_DEVICE_RESET | ext_bindings::VFIO_DEVICE_PCI_HOT_RESET => {
                open.without_memory(Cause::Reset, core)
            }
            _ => core(),
        };
        // CAST: An errno.
        ret.unwrap_or_else(|err| err.to_errno() as c_long)
    }

    /// # Safety
    ///
    /// `vdev` must be that of a `Device<T>` that is open.
    unsafe extern "C" fn device_feature(
        vdev: *mut vfio_device,
        flags: u32,
        arg: *mut c_void,
        argsz: usize,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let open = unsafe { OpenDevice::new(Device::<T>::from_vfio(vdev)) };
        let core = || {
            // SAFETY: The arguments are those of the caller.
            core_result(unsafe {
                ext_bindings::vfio_pci_core_ioctl_feature(vdev, flags, arg, argsz)
            })
        };
        let asks = flags & ext_bindings::VFIO_DEVICE_FEATURE_PROBE != 0;

        from_result(|| match flags & ext_bindings::VFIO_DEVICE_FEATURE_MASK {
            ext_bindings::VFIO_DEVICE_FEATURE_DMA_BUF => {
                match dma_buf_request(&open, flags, UserPtr::from_ptr(arg), argsz)? {
                    Some(request) => open.data().export_dma_buf(&open, request),
                    None => Ok(0),
                }
            }
            ext_bindings::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY
            | ext_bindings::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP
                if !asks =>
            {
                open.without_memory(Cause::Power, core)
            }
            ext_bindings::VFIO_DEVICE_FEATURE_LOW_POWER_EXIT if !asks => {
                open.with_memory(Cause::Power, core)
            }
            _ => core(),
        })
    }
}

/// What a write does, in case that it is one to the configuration space.
fn judge<T: Driver>(
    open: &OpenDevice<'_, T>,
    buf: *const c_char,
    count: usize,
    pos: u64,
) -> ConfigWrite {
    if pos >> ext_bindings::VFIO_PCI_OFFSET_SHIFT
        != u64::from(ext_bindings::VFIO_PCI_CONFIG_REGION_INDEX)
    {
        return ConfigWrite::Harmless;
    }

    let offset = pos & ((1 << ext_bindings::VFIO_PCI_OFFSET_SHIFT) - 1);
    let user = UserPtr::from_ptr(buf.cast_mut().cast());

    ConfigWrite::judge(offset, count, open.capabilities(), |at| {
        // CAST: It is less than `count`.
        let place = user.wrapping_byte_add((at - offset) as usize);

        UserSlice::new(place, 1).reader().read::<u8>().ok()
    })
}
