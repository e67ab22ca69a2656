// SPDX-License-Identifier: GPL-2.0

//! dma-buf interconnect core, and home of the crate `kernel_ext`.

use kernel::prelude::*;

struct DmaBufIc {
    _deferred: kernel_ext::deferred::Service,
}

impl kernel::Module for DmaBufIc {
    fn init(_module: &'static kernel::ThisModule) -> Result<Self> {
        // SAFETY: The modules that use the crate depend on this one, which is loaded once.
        unsafe { kernel_ext::p2pdma::init() };

        Ok(Self {
            // SAFETY: As above; it is dropped when this module exits.
            _deferred: unsafe { kernel_ext::deferred::Service::start() }?,
        })
    }
}

module! {
    type: DmaBufIc,
    name: "dma_buf_ic",
    authors: ["hlrs developers"],
    description: "dma-buf interconnect core",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
}
