// SPDX-License-Identifier: GPL-2.0

//! Driver registration with SR-IOV and reset callbacks.

use super::VfsInReset;
use kernel::{
    bindings,
    device,
    driver::{
        DriverLayout,
        RegistrationOps, //
    },
    error::from_result,
    pci,
    prelude::*,
    types::Opaque,
    ThisModule, //
};

use core::marker::PhantomData;

/// A PCI driver that also takes part in SR-IOV and in function resets.
///
/// All callbacks run in process context, with the device lock held, while the driver is bound;
/// they may sleep. A callback that is not implemented is not announced to the PCI core, so that
/// for instance a driver without [`Driver::sriov_configure`] refuses `sriov_numvfs`.
#[vtable]
pub trait Driver: pci::Driver {
    /// Enables `num_vfs` VFs, or disables all of them when it is 0.
    ///
    /// Called when `sriov_numvfs` is written. The PCI core has checked that the number is not
    /// larger than the total, and that VFs are either all off or asked to go off.
    ///
    /// Returns the number of VFs that are enabled now; the write fails with an error returned.
    ///
    /// C: `struct pci_driver`, `sriov_configure`.
    fn sriov_configure<'bound>(
        _dev: &'bound pci::Device<device::Core<'_>>,
        _this: Pin<&Self::Data<'bound>>,
        _num_vfs: u16,
    ) -> Result<u16> {
        build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// The function is about to be reset; it must not be accessed until
    /// [`Driver::reset_done`].
    ///
    /// C: `struct pci_error_handlers`, `reset_prepare`.
    fn reset_prepare<'bound>(
        _dev: &'bound pci::Device<device::Core<'_>>,
        _this: Pin<&Self::Data<'bound>>,
    ) {
        build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// The reset is over, and the configuration space is as it was before it.
    ///
    /// C: `struct pci_error_handlers`, `reset_done`.
    fn reset_done<'bound>(
        _dev: &'bound pci::Device<device::Core<'_>>,
        _this: Pin<&Self::Data<'bound>>,
    ) {
        build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// VFs that are to go through a reset with the function: a driver of a PF that has both of the
    /// above returns what it has made in its probe, the same each time.
    ///
    /// Their drivers have been told when [`Driver::reset_prepare`] is called, and they are restored
    /// when [`Driver::reset_done`] has returned.
    fn vfs_in_reset<'a>(_this: Pin<&'a Self::Data<'_>>) -> Option<&'a VfsInReset> {
        None
    }
}

/// An adapter for the registration of PCI drivers that implement [`Driver`].
///
/// Use it in place of `kernel::pci::Adapter`, with `kernel::module_driver!`.
pub struct Adapter<T: Driver>(PhantomData<T>);

// SAFETY: Everything is as for `pci::Adapter<T>`, whose layout this repeats:
// - `bindings::pci_driver` is a C type declared as `repr(C)` with an embedded
//   `struct device_driver` at the given offset,
// - `T::Data` is the type of the driver's device private data.
unsafe impl<T: Driver> DriverLayout for Adapter<T> {
    type DriverType = bindings::pci_driver;
    type DriverData<'bound> = T::Data<'bound>;
    const DEVICE_DRIVER_OFFSET: usize = core::mem::offset_of!(Self::DriverType, driver);
}

// SAFETY: `register` and `unregister` are those of `pci::Adapter<T>`, which keep the promise.
unsafe impl<T: Driver> RegistrationOps for Adapter<T> {
    unsafe fn register(
        pdrv: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: The driver is not registered yet, so that nobody else accesses the structure.
        unsafe {
            (*pdrv.get()).sriov_configure = if T::HAS_SRIOV_CONFIGURE {
                Some(Self::sriov_configure_callback)
            } else {
                None
            };
            (*pdrv.get()).err_handler = &Self::ERROR_HANDLERS;
        }

        // SAFETY: The requirements of this function are those of the one called; it sets other
        // fields than the above.
        unsafe { <pci::Adapter<T> as RegistrationOps>::register(pdrv, name, module) }
    }

    unsafe fn unregister(pdrv: &Opaque<Self::DriverType>) {
        // SAFETY: By the requirements of this function the driver was registered by `register`.
        unsafe { <pci::Adapter<T> as RegistrationOps>::unregister(pdrv) }
    }
}

impl<T: Driver> Adapter<T> {
    const ERROR_HANDLERS: bindings::pci_error_handlers = bindings::pci_error_handlers {
        reset_prepare: if T::HAS_RESET_PREPARE {
            Some(Self::reset_prepare_callback)
        } else {
            None
        },
        reset_done: if T::HAS_RESET_DONE {
            Some(Self::reset_done_callback)
        } else {
            None
        },
        ..pin_init::zeroed()
    };

    /// Runs `f` with the device and the driver's private data.
    ///
    /// # Safety
    ///
    /// `pdev` must be valid, bound to this driver with its probe complete, and its device lock be
    /// held for the call.
    unsafe fn with_bound<R>(
        pdev: *mut bindings::pci_dev,
        f: impl for<'bound> FnOnce(
            &'bound pci::Device<device::Core<'bound>>,
            Pin<&'bound T::Data<'bound>>,
        ) -> R,
    ) -> R {
        // SAFETY: By the requirements of this function the pointer is valid; `pci::Device` is a
        // transparent wrapper.
        //
        // INVARIANT: The device lock is held and the device is bound, as `CoreInternal` demands.
        let dev = unsafe { &*pdev.cast::<pci::Device<device::CoreInternal<'_>>>() };

        // SAFETY: The probe is complete, so that `pci::Adapter::probe_callback` has set the
        // private data, of this type; the device lock keeps it in place for the call.
        let data = unsafe { dev.as_ref().drvdata_borrow::<T::Data<'_>>() };

        f(dev, data)
    }

    extern "C" fn sriov_configure_callback(pdev: *mut bindings::pci_dev, num_vfs: c_int) -> c_int {
        from_result(|| {
            let num_vfs = u16::try_from(num_vfs)?;

            // SAFETY: `sriov_numvfs_store()` holds the device lock and has found the driver bound.
            let enabled = unsafe {
                Self::with_bound(pdev, |dev, data| T::sriov_configure(dev, data, num_vfs))
            }?;

            Ok(c_int::from(enabled))
        })
    }

    extern "C" fn reset_prepare_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: `pci_dev_save_and_disable()` asserts that the device lock is held, and calls
        // only what the bound driver provides. `reset_done` follows under the same lock.
        unsafe {
            Self::with_bound(pdev, |dev, data| {
                if let Some(vfs) = T::vfs_in_reset(data).filter(|_| T::HAS_RESET_DONE) {
                    vfs.prepare(dev);
                }
                T::reset_prepare(dev, data)
            })
        }
    }

    extern "C" fn reset_done_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: As for `reset_prepare`; `pci_dev_restore()` runs under the same lock, which the same
        // task holds since.
        unsafe {
            Self::with_bound(pdev, |dev, data| {
                T::reset_done(dev, data);
                if let Some(vfs) = T::vfs_in_reset(data) {
                    vfs.restore();
                }
            })
        }
    }
}
