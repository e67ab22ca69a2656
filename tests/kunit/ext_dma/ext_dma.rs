// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of dma_fence, dma_resv, dma_buf and p2pdma, and a second exporter.
//!
//! Most need no hardware. The suite `ext_dma_p2p` needs two accelerators, with `hlrs.ko` or without
//! a driver (this module then has one), and is skipped otherwise. What it sees depends on the
//! machine: below a switch the addresses are those of the bus, across root ports they go through
//! the DMA API, with an IOMMU or not, and some host bridges allow no way at all.

use kernel::{
    driver,
    pci,
    prelude::*,
    InPlaceModule, //
};

#[macro_use]
#[path = "../common/check.rs"]
mod check;
mod support;
#[path = "../common/thread.rs"]
mod thread;

mod exporter;
mod importer;
mod peers;

mod test_attach;
mod test_callback;
mod test_fence;
mod test_file;
mod test_list;
mod test_map;
mod test_p2p;
mod test_resv;
mod test_retained;
mod test_segments;

#[pin_data]
struct ExtDmaKunit {
    #[pin]
    _driver: driver::Registration<pci::Adapter<peers::IdleDriver>>,
}

impl InPlaceModule for ExtDmaKunit {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _driver <- driver::Registration::new(<Self as kernel::ModuleMetadata>::NAME, module),
        })
    }
}

module! {
    type: ExtDmaKunit,
    name: "ext_dma_kunit",
    authors: ["hlrs developers"],
    description: "KUnit tests of the dma-buf abstractions",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
}
