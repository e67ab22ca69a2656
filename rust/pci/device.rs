// SPDX-License-Identifier: GPL-2.0

//! Methods of a PCI device.

use kernel::{
    bindings,
    device,
    dma::{
        Device as _,
        DmaMask, //
    },
    error::to_result,
    pci,
    prelude::*, //
};

/// Methods that `kernel::pci::Device` lacks.
pub trait DeviceExt {
    /// Returns the C structure. The pointer is valid as long as `self` is.
    fn as_raw_ptr(&self) -> *mut bindings::pci_dev;

    /// Whether the device is a virtual function.
    ///
    /// C: `struct pci_dev`, `is_virtfn`.
    fn is_virtfn(&self) -> bool {
        // SAFETY: The pointer is valid, and the bit is not written after the device was added.
        unsafe { (*self.as_raw_ptr()).is_virtfn() != 0 }
    }

    /// Whether the device is a physical function with SR-IOV.
    ///
    /// C: `struct pci_dev`, `is_physfn`.
    fn is_physfn(&self) -> bool {
        // SAFETY: As for `is_virtfn`.
        unsafe { (*self.as_raw_ptr()).is_physfn() != 0 }
    }

    /// Number of VFs that the device can have; 0 on a device without SR-IOV.
    ///
    /// C: `pci_sriov_get_totalvfs()`.
    fn total_vfs(&self) -> u16 {
        // SAFETY: The pointer is valid.
        let num = unsafe { bindings::pci_sriov_get_totalvfs(self.as_raw_ptr()) };

        // CAST: The number comes from a 16-bit register and is never negative.
        num as u16
    }

    /// Number of VFs that are enabled now; 0 on a device without SR-IOV.
    ///
    /// C: `pci_num_vf()`.
    fn num_vf(&self) -> u16 {
        // SAFETY: The pointer is valid.
        let num = unsafe { bindings::pci_num_vf(self.as_raw_ptr()) };

        // CAST: The number comes from a 16-bit register and is never negative.
        num as u16
    }

    /// Whether the device is part of the system: it was added, and not been removed yet.
    ///
    /// May change at any time. A device that was removed is never added again: if it is there now,
    /// it has been since whatever the caller has read before. Any context.
    ///
    /// C: `device_is_registered()`.
    fn is_registered(&self) -> bool {
        // SAFETY: The pointer is valid. The bit is written when the device is added and removed;
        // the C function reads it just so.
        let registered = unsafe {
            bindings::kobject::state_in_sysfs_raw(&raw const (*self.as_raw_ptr()).dev.kobj)
        };

        registered != 0
    }

    /// Whether the device does not answer any more: it was removed, or its link is gone.
    ///
    /// C: `pci_device_is_present()`. Reads configuration space; may not be called in atomic
    /// context on all architectures.
    fn is_gone(&self) -> bool {
        // SAFETY: The pointer is valid.
        !unsafe { bindings::pci_device_is_present(self.as_raw_ptr()) }
    }
}

impl<Ctx: device::DeviceContext> DeviceExt for pci::Device<Ctx> {
    fn as_raw_ptr(&self) -> *mut bindings::pci_dev {
        // CAST: `pci::Device` is a transparent wrapper of `Opaque<bindings::pci_dev>`.
        core::ptr::from_ref(self).cast_mut().cast()
    }
}

/// A device with memory decoding and bus mastering enabled; both end when this is dropped.
///
/// C: `pci_enable_device_mem()`, `pci_set_master()` and their opposites. The C functions count,
/// so that several owners do not disturb each other.
pub struct EnabledDevice<'bound>(&'bound pci::Device<device::Bound>);

impl<'bound> EnabledDevice<'bound> {
    /// Enables memory decoding and bus mastering, with DMA addresses limited to `mask`, and each
    /// segment of a DMA mapping to `max_segment` bytes.
    ///
    /// May sleep. Fails with the error of `pci_enable_device_mem()`, for instance when a BAR has no
    /// address, and with `EIO` if the platform does not support the mask.
    pub fn new(
        dev: &'bound pci::Device<device::Core<'_>>,
        mask: DmaMask,
        max_segment: u32,
    ) -> Result<Self> {
        dev.enable_device_mem()?;
        let this = Self(dev);

        // SAFETY: The device is not a bus master yet, so that no driver has mapped anything for it.
        unsafe { dev.dma_set_mask_and_coherent(mask)? };

        // SAFETY: As above.
        unsafe { dev.dma_set_max_seg_size(max_segment) };

        dev.set_master();
        Ok(this)
    }
}

impl Drop for EnabledDevice<'_> {
    fn drop(&mut self) {
        let pdev = self.0.as_raw_ptr();

        // SAFETY: The device is valid for the lifetime of the reference, and `new` has enabled
        // it; this is the matching call.
        unsafe {
            bindings::pci_clear_master(pdev);
            bindings::pci_disable_device(pdev);
        }
    }
}

/// VFs of a device, switched on by [`Sriov::enable`] and off by [`Sriov::disable`].
pub struct Sriov;

impl Sriov {
    /// Enables `num_vfs` VFs. They are probed before the call returns if a driver is there.
    ///
    /// Sleeps. The device lock of `dev` is held by the caller (the context says so), that of
    /// each VF is taken in turn.
    ///
    /// C: `pci_enable_sriov()`.
    pub fn enable(dev: &pci::Device<device::Core<'_>>, num_vfs: u16) -> Result {
        // SAFETY: The device is valid and bound; the C function checks the number.
        to_result(unsafe { bindings::pci_enable_sriov(dev.as_raw_ptr(), c_int::from(num_vfs)) })
    }

    /// Disables all VFs. Their drivers are unbound before the call returns.
    ///
    /// Sleeps. Does nothing when no VF is enabled.
    ///
    /// C: `pci_disable_sriov()`.
    pub fn disable(dev: &pci::Device<device::Core<'_>>) {
        // SAFETY: The device is valid and bound.
        unsafe { bindings::pci_disable_sriov(dev.as_raw_ptr()) };
    }
}
