// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of negotiated interconnects.
//!
//! Exporters and importers of every kind meet: in Rust, in this module; in C, in the modules
//! `ic_test_exporter` and `ic_test_importer`, which know of the interconnects only what is in the
//! header; and the kernel's own, of which some know nothing of interconnects. The suite
//! `ext_ic_iov` needs an accelerator without a driver whose VFs can be enabled, and is skipped
//! otherwise.

use kernel::{
    driver,
    pci,
    prelude::*,
    InPlaceModule, //
};
use kernel_ext::dma_buf::interconnect::Registration;

#[macro_use]
#[path = "../common/check.rs"]
mod check;
#[path = "../common/random.rs"]
mod random;
mod support;
#[path = "../common/thread.rs"]
mod thread;

mod c;
mod example;
mod exporter;
mod importer;
mod link;
mod vfs;

mod test_c;
mod test_iov;
mod test_life;
mod test_map;
mod test_match;
mod test_ordinary;
mod test_revoke;

#[pin_data]
struct ExtIcKunit {
    _registrations: [Registration; 6],
    #[pin]
    _driver: driver::Registration<pci::Adapter<vfs::IdleDriver>>,
}

impl InPlaceModule for ExtIcKunit {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _registrations: [
                exporter::AWARE.register()?,
                vfs::VF_EXPORTER.register()?,
                example::EXPORTER.register()?,
                importer::PEER.register()?,
                importer::RIGID.register()?,
                example::IMPORTER.register()?,
            ],
            _driver <- driver::Registration::new(<Self as kernel::ModuleMetadata>::NAME, module),
        })
    }
}

module! {
    type: ExtIcKunit,
    name: "ext_ic_kunit",
    authors: ["hlrs developers"],
    description: "KUnit tests of negotiated interconnects",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
    params: {
        seed: u64 {
            default: 0,
            description: "Seed of the random tests; 0 stands for another one each time",
        },
        rounds: u32 {
            default: 0,
            description: "Rounds of the random tests; 0 stands for a few seconds' worth",
        },
    },
}
