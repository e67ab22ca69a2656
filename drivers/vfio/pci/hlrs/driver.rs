// SPDX-License-Identifier: GPL-2.0

//! Binding to a virtual function, and what VFIO asks then.

use kernel::{
    device::Bound,
    new_mutex,
    pci,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use kernel_ext::{
    pci::DeviceExt,
    vfio::{
        self,
        Cause,
        Device,
        DmaBufRequest,
        OpenDevice, //
    }, //
};

use crate::{
    export,
    gate::Gate,
    revoke,
    session::Session, //
};

/// Vendor of the functions.
pub(crate) const VENDOR: u32 = 0x1af4;
/// Device ID of the virtual ones.
pub(crate) const DEVICE: u32 = 0x10f1;

/// A virtual function.
#[pin_data]
pub(crate) struct Vf {
    gate: Arc<Gate>,
    /// There while the function is open.
    #[pin]
    session: Mutex<Option<Arc<Session>>>,
}

impl Vf {
    fn session(&self) -> Option<Arc<Session>> {
        self.session.lock().clone()
    }
}

impl vfio::Driver for Vf {
    type Module = crate::Module;

    const NAME: &'static CStr = c"hlrs_vfio_pci";
    const IDS: &'static [kernel::bindings::pci_device_id] = &crate::IDS;

    fn probe(pdev: &pci::Device<Bound>) -> Result<impl PinInit<Self, Error>> {
        if !pdev.is_virtfn()
            || u32::from(pdev.vendor_id().as_raw()) != VENDOR
            || u32::from(pdev.device_id()) != DEVICE
        {
            return Err(ENODEV);
        }

        let gate = Arc::new(Gate::new(), GFP_KERNEL)?;

        Ok(try_pin_init!(Self {
            gate,
            session <- new_mutex!(None, "hlrs_vfio_pci::session"),
        }))
    }

    fn open(&self, device: &OpenDevice<'_, Self>) -> Result {
        revoke::check_unused(device.bound()).inspect_err(|_| {
            dev_err!(
                device.bound(),
                "an importer still has memory that an earlier user has exported\n"
            );
        })?;

        *self.session.lock() = Some(Session::new(self.gate.clone())?);
        Ok(())
    }

    fn close(&self, device: &OpenDevice<'_, Self>) {
        let session = self.session.lock().take();

        if let Some(session) = session {
            session.end();
            // Who does not let go keeps the next user out.
            let _ = revoke::take_back(&session, device.pci(), "close", |export| export.retain());
        }
        // Nothing is known of the memory until the function is opened again.
        self.gate.set_enabled(false);
    }

    fn quiesce(&self, device: &Device<Self>, cause: Cause) -> Result {
        self.gate.begin();
        match self.session() {
            Some(session) => revoke::take_back(&session, device.pci(), cause.as_str(), |_| {}),
            None => Ok(()),
        }
    }

    fn resume(&self, _device: &Device<Self>, _cause: Cause) {
        self.gate.end();
    }

    fn memory_changed(&self, _device: &Device<Self>, enabled: bool) {
        self.gate.set_enabled(enabled);
    }

    fn export_dma_buf(&self, device: &OpenDevice<'_, Self>, request: DmaBufRequest) -> Result<i32> {
        export::make(self.session().ok_or(ENODEV)?, device, request)
    }
}
