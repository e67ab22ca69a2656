// SPDX-License-Identifier: GPL-2.0

//! Registration of variant drivers.

use super::{
    Cause,
    Device,
    Driver, //
};
use kernel::{
    bindings,
    device::Bound,
    error::{
        from_result,
        to_result, //
    },
    module::this_module,
    pci,
    prelude::*,
    types::Opaque, //
};

use core::marker::PhantomData;

/// A driver that is known to the PCI core; until it is dropped, which unbinds it from all devices.
///
/// Unbinding waits until user space has closed the device; it is asked to, by the event that
/// `VFIO_PCI_REQ_ERR_IRQ_INDEX` stands for.
#[pin_data(PinnedDrop)]
pub struct Registration<T: Driver> {
    #[pin]
    raw: Opaque<bindings::pci_driver>,
    _driver: PhantomData<T>,
}

// SAFETY: Nothing can be done with a shared reference.
unsafe impl<T: Driver> Sync for Registration<T> {}

// SAFETY: A driver can be unregistered on any thread.
unsafe impl<T: Driver> Send for Registration<T> {}

impl<T: Driver> Registration<T> {
    /// Registers the driver. Sleeps.
    ///
    /// The driver decides about DMA itself (`driver_managed_dma`): it leaves that to user space.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is a driver of that name; `ENOMEM`.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            raw <- Opaque::try_ffi_init(|raw: *mut bindings::pci_driver| {
                // SAFETY: It is the place for the structure.
                unsafe {
                    raw.write(bindings::pci_driver {
                        name: T::NAME.as_char_ptr(),
                        id_table: T::IDS.as_ptr(),
                        probe: Some(Self::probe),
                        remove: Some(Self::remove),
                        err_handler: Self::ERROR_HANDLERS,
                        driver_managed_dma: true,
                        ..Default::default()
                    });
                }

                // SAFETY: The structure is complete, its place does not move until it is
                // unregistered, and the table ends with an empty entry.
                to_result(unsafe {
                    bindings::__pci_register_driver(
                        raw,
                        this_module::<T::Module>().as_ptr(),
                        T::NAME.as_char_ptr(),
                    )
                })
            }),
            _driver: PhantomData,
        })
    }

    const ERROR_HANDLERS: &'static bindings::pci_error_handlers = &bindings::pci_error_handlers {
        error_detected: Some(ext_bindings::vfio_pci_core_aer_err_detected),
        reset_prepare: Some(Self::reset_prepare),
        reset_done: Some(Self::reset_done),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the PCI core only, with a device that is being bound.
    unsafe extern "C" fn probe(
        pdev: *mut bindings::pci_dev,
        _id: *const bindings::pci_device_id,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements; the type is a transparent wrapper.
            let device = Device::<T>::alloc(unsafe { &*pdev.cast::<pci::Device<Bound>>() })?;

            // SAFETY: The device is being bound, so that its private pointer is ours. The core wants
            // that of its structure there, which is at offset 0.
            unsafe { bindings::dev_set_drvdata(&raw mut (*pdev).dev, device.as_ptr().cast()) };

            // SAFETY: The structure is initialised and not registered.
            to_result(unsafe {
                ext_bindings::vfio_pci_core_register_device(device.as_ptr().cast())
            })
            .inspect_err(|_| {
                // SAFETY: The reference is that of the allocation.
                unsafe { ext_bindings::vfio_put_device(device.as_ptr().cast()) };
            })?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `pdev` must be bound to this driver, with its probe complete, during `'a`.
    unsafe fn device<'a>(pdev: *mut bindings::pci_dev) -> &'a Device<T> {
        // SAFETY: `probe()` has stored the pointer, and `remove()` gives up the reference.
        unsafe { Device::from_vfio(bindings::dev_get_drvdata(&raw mut (*pdev).dev).cast()) }
    }

    /// # Safety
    ///
    /// Called by the PCI core only, with a device that is bound to this driver and was not removed.
    unsafe extern "C" fn remove(pdev: *mut bindings::pci_dev) {
        // SAFETY: By the safety requirements.
        let vdev = unsafe { Self::device(pdev) }.as_vfio();

        // SAFETY: `probe()` has registered it, and the reference is that of the allocation.
        unsafe {
            ext_bindings::vfio_pci_core_unregister_device(vdev.cast());
            ext_bindings::vfio_put_device(vdev);
        }
    }

    /// # Safety
    ///
    /// Called by the PCI core only, with a device that is bound to this driver and locked.
    unsafe extern "C" fn reset_prepare(pdev: *mut bindings::pci_dev) {
        // SAFETY: By the safety requirements.
        let device = unsafe { Self::device(pdev) };

        // The reset happens anyhow.
        let _ = device.data().quiesce(device, Cause::FunctionReset);
    }

    /// # Safety
    ///
    /// As `reset_prepare()`, which has been called under the same lock.
    unsafe extern "C" fn reset_done(pdev: *mut bindings::pci_dev) {
        // SAFETY: By the safety requirements.
        let device = unsafe { Self::device(pdev) };

        // `memory_lock` may be held. The state that was told before still holds: the reset restores
        // the configuration space, and whoever began it within a call of VFIO tells it anew.
        device.data().resume(device, Cause::FunctionReset);
    }
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It was registered.
        unsafe { bindings::pci_unregister_driver(self.raw.get()) };
    }
}

/// Defines the table of the functions that a variant driver is for: a `static` array of
/// `struct pci_device_id`, for [`Driver::IDS`](crate::vfio::Driver::IDS).
///
/// The driver does not bind to them by itself, but when user space asks for it (`driver_override`),
/// which finds it by the aliases `vfio_pci:` of the module.
///
/// ```ignore
/// vfio_pci_device_table!(IDS, [(0x1af4, 0x10f1)]);
/// ```
///
/// C: `PCI_DRIVER_OVERRIDE_DEVICE_VFIO()`, `MODULE_DEVICE_TABLE()`.
#[macro_export]
macro_rules! vfio_pci_device_table {
    ($table:ident, [$(($vendor:expr, $device:expr)),+ $(,)?]) => {
        #[export_name = ::core::concat!(
            "__mod_device_table__", ::core::line!(),
            "__kmod_", ::core::module_path!(),
            "__pci__", ::core::stringify!($table),
        )]
        static $table: [::kernel::bindings::pci_device_id; { [$($device),+].len() + 1 }] = [
            $(::kernel::bindings::pci_device_id {
                vendor: $vendor,
                device: $device,
                subvendor: !0,
                subdevice: !0,
                class: 0,
                class_mask: 0,
                driver_data: 0,
                override_only: ::kernel::bindings::PCI_ID_F_VFIO_DRIVER_OVERRIDE,
            },)+
            ::pin_init::zeroed(),
        ];
    };
}
