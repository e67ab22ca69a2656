// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the DRM accel abstractions, on a device without hardware, and of the GPU scheduler,
//! on a ring that ends jobs when it is told to.

use kernel::prelude::*;

#[macro_use]
#[path = "../common/check.rs"]
mod check;
mod driver;
mod export;
mod files;
mod gpuvm;
mod mock;
#[path = "../common/random.rs"]
mod random;
#[path = "../common/thread.rs"]
mod thread;

mod test_device;
mod test_exec;
mod test_file;
mod test_gpuvm;
mod test_gpuvm_evict;
mod test_gpuvm_life;
mod test_gpuvm_random;
mod test_ioctl;
mod test_mmap;
mod test_object;
mod test_prime;
mod test_sched;
mod test_sched_end;
mod test_sched_timeout;
mod test_shmem;
mod test_syncobj;

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
