// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of what userspace gets as a file: anonymous inodes, character devices, eventfds,
//! coredumps, functions in the hands of VFIO.

use kernel::prelude::*;

#[macro_use]
#[path = "../common/check.rs"]
mod check;
mod support;
#[path = "../common/thread.rs"]
mod thread;

mod test_anon;
mod test_char;
mod test_coredump;
mod test_eventfd;
#[cfg(CONFIG_VFIO_PCI_CORE)]
mod test_vfio;

struct ExtFileKunit;

impl kernel::Module for ExtFileKunit {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

module! {
    type: ExtFileKunit,
    name: "ext_file_kunit",
    authors: ["hlrs developers"],
    description: "KUnit tests of files without hardware",
    license: "GPL",
}
