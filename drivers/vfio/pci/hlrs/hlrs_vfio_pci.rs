// SPDX-License-Identifier: GPL-2.0

//! VFIO driver of the virtual functions of the HLRS accelerator.
//!
//! It does what vfio-pci does, by the same core, except for `VFIO_DEVICE_FEATURE_DMA_BUF`: the dma-bufs
//! are ours, so that importers which know more than scatterlists can be offered more.
//!
//! | module | subject |
//! |---|---|
//! | [`driver`] | binding to a function; what VFIO asks |
//! | [`gate`] | whether the memory can be accessed now |
//! | [`session`] | what was exported while the device is open |
//! | [`export`] | what importers get |
//! | [`interconnect`] | what they get if they know more than scatterlists |
//! | [`ranges`] | ranges of a BAR as physical addresses |
//! | [`revoke`] | taking it back |
//!
//! # Lifetimes
//!
//! A dma-buf outlives the file descriptor of the device: it holds the [session](session), which ends
//! when the last file of the device is closed, and does not come back. Then importers get nothing any
//! more. One that does not let go keeps the addresses: nobody can open the function until it does, see
//! [`revoke`].

mod driver;
mod export;
mod gate;
mod interconnect;
mod ranges;
mod revoke;
mod session;

use kernel::prelude::*;
use kernel_ext::{
    dma_buf,
    vfio, //
};

kernel_ext::vfio_pci_device_table!(IDS, [(driver::VENDOR, driver::DEVICE)]);

#[pin_data]
struct Module {
    #[pin]
    _driver: vfio::Registration<driver::Vf>,
    // Goes after the driver; a dma-buf keeps the module.
    _exporter: dma_buf::interconnect::Registration,
}

impl kernel::InPlaceModule for Module {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _exporter: interconnect::OPS.register()?,
            _driver <- vfio::Registration::new(),
        })
    }
}

module! {
    type: Module,
    name: "hlrs_vfio_pci",
    authors: ["hlrs developers"],
    description: "VFIO driver of the virtual functions of the HLRS accelerator",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
    params: {
        revoke_timeout_ms: u32 {
            default: 2000,
            description: "Time that importers get to let go of memory, milliseconds (1 to 60000)",
        },
    },
}

/// How long importers may take to let go, milliseconds.
fn revoke_timeout_ms() -> u32 {
    module_parameters::revoke_timeout_ms
        .value()
        .clamp(1, 60_000)
}
