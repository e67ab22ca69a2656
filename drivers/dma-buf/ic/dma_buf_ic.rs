// SPDX-License-Identifier: GPL-2.0

//! dma-buf interconnect core, and home of the crate `kernel_ext`.

use kernel::prelude::*;
use kernel_ext::{
    deferred,
    dma_buf::interconnect,
    p2pdma, //
};

struct DmaBufIc {
    _debugfs: interconnect::Directory,
    _deferred: deferred::Service,
}

impl kernel::Module for DmaBufIc {
    fn init(_module: &'static kernel::ThisModule) -> Result<Self> {
        // SAFETY: The modules that use the crate depend on this one, which is loaded once.
        unsafe {
            p2pdma::init();
            interconnect::init();
        }

        Ok(Self {
            // SAFETY: This is the module, and it is dropped when it exits.
            _debugfs: unsafe { interconnect::Directory::new() },
            // SAFETY: As above; it is dropped when this module exits.
            _deferred: unsafe { deferred::Service::start() }?,
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
