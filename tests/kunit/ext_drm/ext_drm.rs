// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the DRM accel abstractions, on a device without hardware.

use kernel::prelude::*;

mod driver;
mod export;
mod files;

mod test_device;
mod test_file;
mod test_ioctl;
mod test_mmap;
mod test_object;
mod test_prime;
mod test_shmem;

struct ExtDrmKunit;

impl kernel::Module for ExtDrmKunit {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

module! {
    type: ExtDrmKunit,
    name: "ext_drm_kunit",
    authors: ["hlrs developers"],
    description: "KUnit tests of the DRM accel abstractions",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
}
