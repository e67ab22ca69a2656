// SPDX-License-Identifier: GPL-2.0

//! What a variant driver has to do.

use super::{
    Device,
    DmaBufRequest,
    OpenDevice, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*,
    ModuleMetadata, //
};

/// Why the memory of a function cannot be accessed for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The function is reset: `VFIO_DEVICE_RESET`, `VFIO_DEVICE_PCI_HOT_RESET`, or an FLR bit in its
    /// configuration space.
    Reset,
    /// Somebody else resets it, or the core does for one of the above.
    FunctionReset,
    /// Memory Space Enable is switched off.
    Memory,
    /// Another power state.
    Power,
}

impl Cause {
    /// For messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::FunctionReset => "function reset",
            Self::Memory => "disabled memory",
            Self::Power => "low power",
        }
    }
}

/// A driver of PCI functions for user space; implemented by its private data for one of them.
///
/// What is not here is done by `vfio_pci_core`, as for vfio-pci. The functions run in process context
/// and may sleep. See [the module](super#locking) for the locks.
pub trait Driver: Sized + Send + Sync + 'static {
    /// The module, which stays while a device is open.
    type Module: ModuleMetadata;

    /// Name of the driver: as in `driver_override`, and in `/sys/bus/pci/drivers`.
    const NAME: &'static CStr;

    /// The functions that the driver binds to, made by [`vfio_pci_device_table!`].
    ///
    /// [`vfio_pci_device_table!`]: super::vfio_pci_device_table
    const IDS: &'static [kernel::bindings::pci_device_id];

    /// The driver is being bound: makes the private data.
    ///
    /// With `driver_override` a user can give the driver any function at all, so look at it first.
    /// Called with the device lock held.
    ///
    /// # Errors
    ///
    /// By convention `ENODEV` if it is not for this driver.
    fn probe(pdev: &pci::Device<Bound>) -> Result<impl PinInit<Self, Error>>;

    /// The device is opened for the first time, and enabled. `dev_set->lock` is held.
    ///
    /// [`Driver::memory_changed`] has been called before. If this fails, the device is disabled again,
    /// and [`Driver::close`] is not called.
    fn open(&self, device: &OpenDevice<'_, Self>) -> Result;

    /// The last file is closed; the device is still enabled. `dev_set->lock` is held.
    ///
    /// Nobody may use the memory any more when this returns.
    fn close(&self, device: &OpenDevice<'_, Self>);

    /// The memory becomes inaccessible, until [`Driver::resume`]: makes others let go of it.
    ///
    /// [`Driver::resume`] is called in any case. See [the module](super#locking) for the locks that may
    /// be held.
    ///
    /// # Errors
    ///
    /// If it fails, the call of the user fails with the error, and nothing becomes inaccessible. It is
    /// ignored for [`Cause::FunctionReset`], of which one is only told.
    fn quiesce(&self, device: &Device<Self>, cause: Cause) -> Result;

    /// Ends one [`Driver::quiesce`].
    fn resume(&self, device: &Device<Self>, cause: Cause);

    /// Whether the memory can be accessed while nobody has asked to [`Driver::quiesce`].
    ///
    /// Called after each call that may have changed it, with `memory_lock` held for reading.
    fn memory_changed(&self, device: &Device<Self>, enabled: bool);

    /// `VFIO_DEVICE_FEATURE_DMA_BUF`: makes a dma-buf, returns a descriptor.
    ///
    /// The argument is well formed in itself, and the region is a BAR that the device has.
    fn export_dma_buf(&self, device: &OpenDevice<'_, Self>, request: DmaBufRequest) -> Result<i32>;
}
