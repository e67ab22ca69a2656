// SPDX-License-Identifier: GPL-2.0

//! What a character device of this driver consists of.

use kernel::{
    new_poll_condvar,
    prelude::*,
    sync::{
        poll::PollCondVar,
        Arc, //
    }, //
};

use hlrs::nic::Services;

use crate::{
    engine::Engine,
    vms::VmTable, //
};

/// Data of a character device. It lives as long as an open file does, which may be longer than the
/// driver is bound; [`Engine`] knows when that is over, and [`VmTable`] is empty then.
#[pin_data]
pub(crate) struct NicDevice {
    /// What the accelerator's driver lends.
    pub(crate) services: Arc<Services>,
    pub(crate) engine: Arc<Engine>,
    #[pin]
    pub(crate) vms: VmTable,
    /// Signalled when the device goes; for `poll(2)`, which looks for itself.
    #[pin]
    pub(crate) gone: PollCondVar,
}

impl NicDevice {
    /// Puts the parts together. Sleeps.
    pub(crate) fn new(services: Arc<Services>, engine: Arc<Engine>) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                vms <- VmTable::new(),
                gone <- new_poll_condvar!("hlrs_nic::NicDevice::gone"),
                services,
                engine,
            }),
            GFP_KERNEL,
        )
    }
}
