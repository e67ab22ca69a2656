// SPDX-License-Identifier: GPL-2.0

//! Open files.

use kernel::{
    fs,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        poll::PollTable,
        Arc, //
    }, //
};
use kernel_ext::{
    char_device::{
        Call,
        OpenFile, //
    },
    poll::{
        PollEvent,
        PollEvents, //
    },
};

use crate::{
    client::Client,
    device::NicDevice,
    ioctl, //
};

/// Private data of an open file.
pub(crate) struct NicFile {
    pub(crate) client: Arc<Client>,
    device: Arc<NicDevice>,
}

#[vtable]
impl OpenFile for NicFile {
    type Device = NicDevice;

    fn open(device: &Arc<NicDevice>, _file: &fs::File) -> impl PinInit<Self, Error> {
        Ok::<_, Error>(Self {
            client: Client::new()?,
            device: device.clone(),
        })
    }

    fn ioctl(call: &Call<'_, Self>, cmd: u32, arg: usize) -> Result<isize> {
        ioctl::dispatch(call, cmd, arg)
    }

    fn poll(call: &Call<'_, Self>, table: PollTable<'_>) -> PollEvents {
        let client = &call.data.client;
        let mut events = PollEvents::default();

        table.register_wait(call.file, &client.changed);
        table.register_wait(call.file, &call.device.gone);
        let (has_room, is_idle) = client.readiness();
        if has_room {
            events |= PollEvent::Out | PollEvent::WrNorm;
        }
        if is_idle {
            events |= PollEvent::In | PollEvent::RdNorm;
        }
        events
    }

    fn show_fdinfo(call: &Call<'_, Self>, m: &SeqFile) {
        let client = &call.data.client;
        let (submitted, pending) = client.counts();

        kernel::seq_print!(m, "hlrs-nic-client:\t{}\n", client.id());
        kernel::seq_print!(m, "hlrs-nic-submitted:\t{}\n", submitted);
        kernel::seq_print!(m, "hlrs-nic-pending:\t{}\n", pending);
        kernel::seq_print!(m, "hlrs-nic-vms:\t{}\n", call.device.vms.count(client.id()));
    }

    fn shutdown(device: &NicDevice) {
        // Ends all copies, and with them every wait for one.
        device.engine.give_up(ENODEV);
        device.gone.notify_all();
    }
}

impl Drop for NicFile {
    fn drop(&mut self) {
        self.device.vms.remove_all(self.client.id());
    }
}
