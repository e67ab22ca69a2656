// SPDX-License-Identifier: GPL-2.0

//! test

use kernel::prelude::*;

struct Hlrs;

impl kernel::Module for Hlrs {
    fn init(_module: &'static kernel::ThisModule) -> Result<Self> {

        pr_info!("{}\n", hlrs_abi::HLRS_NR_QUEUES);
        Ok(Self)
    }
}

module! {
    type: Hlrs,
    name: "hlrs",
    authors: ["hlrs developers"],
    description: "HLRS accelerator",
    license: "GPL",
}
