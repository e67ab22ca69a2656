// SPDX-License-Identifier: GPL-2.0

//! Functions that a variant driver is bound to.

use super::{
    ops::Vtable,
    Cause,
    Driver, //
};
use kernel::{
    bindings,
    device::Bound,
    error::{
        from_err_ptr,
        to_result, //
    },
    pci,
    prelude::*,
    types::Opaque, //
};

use core::{
    ops::Deref,
    ptr::NonNull, //
};

/// A PCI function, the core's structure and the driver's data.
///
/// # Invariants
///
/// It was allocated by `_vfio_alloc_device()` with the operations of `T`, and `core` and `data` are
/// initialised. The `struct vfio_device` is at offset 0.
#[repr(C)]
pub struct Device<T: Driver> {
    core: Opaque<ext_bindings::vfio_pci_core_device>,
    /// Where in the configuration space the capability Advanced Features is; 0: nowhere.
    af_cap: u8,
    data: T,
}

// SAFETY: What is accessed of `core` does not change or has its own locks; the data is `Send`.
unsafe impl<T: Driver> Send for Device<T> {}

// SAFETY: As above, and the data is `Sync`.
unsafe impl<T: Driver> Sync for Device<T> {}

impl<T: Driver> Device<T> {
    /// Allocates one for `pdev`, with one reference. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of [`Driver::probe`].
    pub(super) fn alloc(pdev: &pci::Device<Bound>) -> Result<NonNull<Self>> {
        const {
            assert!(core::mem::offset_of!(Self, core) == 0);
            assert!(core::mem::offset_of!(ext_bindings::vfio_pci_core_device, vdev) == 0);
            // Allocated by `kvzalloc()`.
            assert!(align_of::<Self>() <= align_of::<u64>());
        }

        let dev: &kernel::device::Device = pdev.as_ref();

        // SAFETY: The device is valid. The size is that of the structure, which begins with the
        // `struct vfio_device`, and the operations are those for it; they stay as long as the module,
        // which is loaded as long as it has devices.
        let vdev = from_err_ptr(unsafe {
            ext_bindings::_vfio_alloc_device(
                size_of::<Self>(),
                core::ptr::from_ref(dev).cast_mut().cast(),
                Vtable::<T>::OPS,
            )
        })?;

        NonNull::new(vdev.cast()).ok_or(ENOMEM)
    }

    /// Initialises what `_vfio_alloc_device()` has allocated, and is called by it.
    ///
    /// # Safety
    ///
    /// `this` must be such an allocation, zeroed, and its device be one of PCI that is being bound.
    pub(super) unsafe fn init(this: *mut Self) -> Result {
        let core = this.cast();

        // SAFETY: By the safety requirements.
        to_result(unsafe { ext_bindings::vfio_pci_core_init_dev(core) })?;

        let init = || {
            // SAFETY: The function above has stored the device, which the driver is being bound to.
            let pdev = unsafe { (*core.cast::<ext_bindings::vfio_pci_core_device>()).pdev };
            // SAFETY: As above; `pci::Device` is a transparent wrapper.
            let data = T::probe(unsafe { &*pdev.cast::<pci::Device<Bound>>() })?;

            // SAFETY: The place is that of the data, not initialised yet, and does not move.
            unsafe { pin_init::raw_try_init(&raw mut (*this).data, data) }?;

            // CAST: The number of a capability.
            //
            // SAFETY: The device is valid, and nobody else knows of the structure yet.
            unsafe {
                (*this).af_cap =
                    bindings::pci_find_capability(pdev, bindings::PCI_CAP_ID_AF as c_int);
            }
            Ok(())
        };

        init().inspect_err(|_| {
            // SAFETY: It was initialised above, and the C side does not do this after a failure.
            unsafe { ext_bindings::vfio_pci_core_release_dev(core) };
        })
    }

    /// Ends what [`Device::init`] has begun. The C side frees the allocation afterwards.
    ///
    /// # Safety
    ///
    /// `this` must be valid, and not be used afterwards.
    pub(super) unsafe fn release(this: *mut Self) {
        // SAFETY: By the safety requirements and the type invariants.
        unsafe {
            (&raw mut (*this).data).drop_in_place();
            ext_bindings::vfio_pci_core_release_dev(this.cast());
        }
    }

    /// # Safety
    ///
    /// `vdev` must be that of a `Device<T>`, which lives during `'a`.
    #[inline]
    pub(super) unsafe fn from_vfio<'a>(vdev: *mut ext_bindings::vfio_device) -> &'a Self {
        // SAFETY: By the safety requirements; it is at offset 0.
        unsafe { &*vdev.cast() }
    }

    #[inline]
    pub(super) fn as_vfio(&self) -> *mut ext_bindings::vfio_device {
        self.core.get().cast()
    }

    /// The driver's data.
    #[inline]
    pub fn data(&self) -> &T {
        &self.data
    }

    /// The PCI function.
    #[inline]
    pub fn pci(&self) -> &pci::Device {
        // SAFETY: The core has a reference on the device, and the pointer does not change.
        unsafe { &*(*self.core.get()).pdev.cast() }
    }

    fn raw_pci(&self) -> *mut bindings::pci_dev {
        core::ptr::from_ref(self.pci()).cast_mut().cast()
    }

    /// Offsets of the capabilities PCI Power Management, PCI Express and Advanced Features; 0 for those
    /// that are not there.
    pub(super) fn capabilities(&self) -> [u8; 3] {
        // SAFETY: The device is valid, and the fields do not change after it was added.
        unsafe {
            [
                (*self.raw_pci()).pm_cap,
                (*self.raw_pci()).pcie_cap,
                self.af_cap,
            ]
        }
    }

    /// Tells the driver whether the memory is enabled, and returns it.
    ///
    /// Takes `memory_lock`. The device must be open, since there is no virtual configuration space
    /// otherwise: hence [`OpenDevice::refresh`].
    fn refresh(&self) -> bool {
        let core = self.core.get();

        // SAFETY: The lock was initialised with the structure.
        unsafe { bindings::down_read(&raw mut (*core).memory_lock) };

        // SAFETY: The device is open, and the lock held, which protects what is read.
        let enabled =
            unsafe { ext_bindings::__vfio_pci_memory_enabled(core) && !(*core).pm_runtime_engaged };

        self.data.memory_changed(self, enabled);
        // SAFETY: Locked above.
        unsafe { bindings::up_read(&raw mut (*core).memory_lock) };
        enabled
    }
}

/// A device that is open: it is enabled, and the driver stays bound.
pub struct OpenDevice<'a, T: Driver>(&'a Device<T>);

impl<'a, T: Driver> OpenDevice<'a, T> {
    /// # Safety
    ///
    /// The device must be open, and its BARs be mapped by the core, during `'a`.
    #[inline]
    pub(super) unsafe fn new(device: &'a Device<T>) -> Self {
        Self(device)
    }

    /// The PCI function, bound to this driver.
    pub fn bound(&self) -> &pci::Device<Bound> {
        // SAFETY: An open device keeps the driver: unbinding waits until all files are closed. The
        // type is a transparent wrapper.
        unsafe { &*self.0.raw_pci().cast() }
    }

    /// Checks that a region is a BAR that the core has claimed and mapped.
    ///
    /// # Errors
    ///
    /// `ENODEV`: it is not.
    pub fn check_bar(&self, index: u32) -> Result {
        if index >= ext_bindings::VFIO_PCI_ROM_REGION_INDEX {
            return Err(ENODEV);
        }
        // SAFETY: The BARs are mapped while the device is open, and the index is that of one.
        let map = unsafe { ext_bindings::vfio_pci_core_get_iomap(self.core.get(), index) };

        from_err_ptr(map).map(|_| ()).map_err(|_| ENODEV)
    }

    /// Tells the driver whether the memory is enabled, and returns it. Takes `memory_lock`.
    pub(super) fn refresh(&self) -> bool {
        self.0.refresh()
    }

    /// Calls the core for something that makes the memory inaccessible for a while.
    ///
    /// No lock of [the module](super#locking) after the first may be held.
    pub(super) fn without_memory<R>(
        &self,
        cause: Cause,
        core: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let quiet = self.data.quiesce(self, cause);
        let ret = quiet.and_then(|()| {
            let ret = core();

            self.refresh();
            ret
        });

        self.data.resume(self, cause);
        ret
    }

    /// Calls the core for something that should leave the memory as it is, or switch it on. If it has
    /// been switched off nevertheless, others are made to let go of it now.
    pub(super) fn with_memory<R>(
        &self,
        cause: Cause,
        core: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let ret = core();

        if !self.refresh() {
            // It is too late to refuse.
            let _ = self.data.quiesce(self, cause);
            self.data.resume(self, cause);
        }
        ret
    }
}

impl<T: Driver> Deref for OpenDevice<'_, T> {
    type Target = Device<T>;

    #[inline]
    fn deref(&self) -> &Device<T> {
        self.0
    }
}
