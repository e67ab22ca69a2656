// SPDX-License-Identifier: GPL-2.0

//! Binding to the NIC of a function of the accelerator.

use kernel::{
    auxiliary,
    device::Core,
    prelude::*,
    sync::Arc, //
};
use kernel_ext::char_device::{
    Options,
    Registration, //
};

use hlrs::nic::{
    RegistrationData,
    Subscription,
    DEVICE_NAME,
    MODULE_NAME,
    QUEUES, //
};

use crate::{
    device::NicDevice,
    engine::{
        CoherentMemory,
        Engine, //
    },
    file::NicFile, //
};

/// The driver.
pub(crate) struct Nic;

kernel::auxiliary_device_table!(
    AUX_TABLE,
    <Nic as auxiliary::Driver>::IdInfo,
    [(auxiliary::DeviceId::new(MODULE_NAME, DEVICE_NAME), ())]
);

/// Stops the engine, and gives up what it has used.
struct Running(Arc<NicDevice>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.engine.shutdown();
        self.0.vms.clear();
    }
}

/// What is there while the driver is bound. Fields are dropped in this order.
pub(crate) struct Bound {
    _registration: Registration<NicFile>,
    _subscription: Subscription,
    _running: Running,
}

impl auxiliary::Driver for Nic {
    type IdInfo = ();
    type Data<'bound> = Bound;
    const ID_TABLE: auxiliary::IdTable<Self::IdInfo> = &AUX_TABLE;

    fn probe<'bound>(
        adev: &'bound auxiliary::Device<Core<'_>>,
        _info: &'bound Self::IdInfo,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let services = Arc::clone(adev.registration_data::<RegistrationData>()?.get_ref());
            // The function does the DMA.
            let parent = adev.parent();
            let mut memory = KVec::with_capacity(QUEUES, GFP_KERNEL)?;

            for _ in 0..QUEUES {
                memory.push(CoherentMemory::new(parent)?, GFP_KERNEL)?;
            }

            let engine = Engine::new(
                adev.as_ref(),
                services.queues.clone(),
                memory,
                crate::copy_timeout_ms(),
            )?;
            let device = NicDevice::new(services.clone(), engine.clone())?;
            let running = Running(device.clone());
            let subscription = services.events.subscribe(engine.clone())?;

            engine.start()?;
            let registration = Registration::<NicFile>::new(
                Options {
                    name: fmt!("hlrs_nic{}", adev.id()),
                    mode: 0,
                },
                Some(adev.as_ref()),
                device,
            )?;

            dev_info!(adev.as_ref(), "{}\n", registration.name());
            Ok(Ok::<Bound, Error>(Bound {
                _registration: registration,
                _subscription: subscription,
                _running: running,
            }))
        })
    }
}
