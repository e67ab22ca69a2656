// SPDX-License-Identifier: GPL-2.0

//! Driver of the HLRS accelerator, PF and VF.
//!
//! | module | subject |
//! |---|---|
//! | [`driver`] | binding to a function; what ends with the binding |
//! | [`device`] | what an accel node consists of; lives longer |
//! | [`hw`], [`regs`] | registers, identification, reset of a function |
//! | [`irq`] | interrupts |
//! | [`queue`] | the kernel's own copy queue |
//! | [`lmem`] | device-local memory |
//! | [`gem`] | buffers |
//! | [`prime`] | buffers shared with other devices |
//! | [`ops`] | copy, fill, checksum |
//! | [`vm`] | address spaces of the engines |
//! | [`exec`] | queues of user space, and the engines that do their work |
//! | [`sync`], [`numbered`] | syncobjs, and objects that user space knows by number |
//! | [`ioctl`], [`client`], [`fdinfo`] | user space: calls, open files, statistics |
//! | [`sriov`] | VFs and their memory |
//! | [`nic`], [`vm_api`] | the driver of the NIC engine; VMs for it |
//! | [`c_api`] | VMs for drivers in C |
//! | [`debugfs`] | counters, error injection |
//!
//! # Lifetimes
//!
//! What touches the hardware ends with the binding of the driver: the interrupts, the queue's ring
//! and the mapping of the registers. The accel device and its buffers live as long as somebody has
//! them open, mapped or imported; what they then ask of the hardware fails with `ENODEV`.

use kernel::prelude::*;

mod c_api;
mod client;
mod debugfs;
mod device;
mod driver;
mod exec;
mod fdinfo;
mod gem;
mod hw;
mod ioctl;
mod irq;
mod lmem;
pub mod nic;
mod numbered;
mod ops;
mod prime;
mod queue;
mod regs;
mod sriov;
mod sync;
mod vm;
pub mod vm_api;

/// The module: the driver, and what has to be there before a device is bound.
#[pin_data]
struct HlrsModule {
    #[pin]
    _driver: kernel::driver::Registration<kernel_ext::pci::Adapter<driver::Hlrs>>,
    /// Dropped after the driver is gone.
    _interconnects: prime::Registrations,
}

impl kernel::InPlaceModule for HlrsModule {
    fn init(module: &'static kernel::ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _interconnects: {
                check_parameters()?;
                prime::Registrations::new()?
            },
            _driver <- kernel::driver::Registration::new(
                <Self as kernel::ModuleMetadata>::NAME,
                module,
            ),
        })
    }
}

kernel::prelude::module! {
    type: HlrsModule,
    name: "hlrs",
    authors: ["hlrs developers"],
    description: "HLRS accelerator",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
    params: {
        job_timeout_ms: u32 {
            default: 5000,
            description: "Time after which a job of the copy queue fails, milliseconds (1 to 600000)",
        },
        revoke_timeout_ms: u32 {
            default: 2000,
            description: "Time that importers get to let go of memory, milliseconds (1 to 60000)",
        },
        export_limit_mib: u32 {
            default: 0,
            description: "MiB that an open file may have exported at a time; 0: no limit",
        },
        skip_zeroing: u8 {
            default: 0,
            description: "1: buffers show what their memory held before. For benchmarks only, taints",
        },
    },
}

kernel_ext::choice_param! {
    /// What becomes of importers that cannot be revoked.
    static pinned_importers = ["refuse", "own"];
    name: c"pinned_importers",
    info: b"parm=pinned_importers:Importers that cannot be revoked: refuse (default), or own: \
those of a file that owns the device may attach\0parmtype=pinned_importers:charp\0",
}

/// Refuses to load with parameters that are out of range: taken as something else they would mislead.
fn check_parameters() -> Result {
    let ranges = [
        ("job_timeout_ms", job_timeout_ms(), 1..=600_000),
        ("revoke_timeout_ms", revoke_timeout_ms(), 1..=60_000),
        (
            "skip_zeroing",
            u32::from(module_parameters::skip_zeroing.value()),
            0..=1,
        ),
    ];

    for (name, value, range) in ranges {
        if !range.contains(&value) {
            pr_err!(
                "{}={}: must be {} to {}\n",
                name,
                value,
                range.start(),
                range.end()
            );
            return Err(EINVAL);
        }
    }
    Ok(())
}

/// Whether importers that cannot be revoked may attach to what the owner of a device exports.
fn pinned_importers_may_attach() -> bool {
    pinned_importers.chosen() == 1
}

/// How long importers may take to let go, milliseconds.
fn revoke_timeout_ms() -> u32 {
    module_parameters::revoke_timeout_ms.value()
}

/// Bytes that an open file may have exported at a time.
fn export_limit() -> u64 {
    match module_parameters::export_limit_mib.value() {
        0 => u64::MAX,
        mib => u64::from(mib) << 20,
    }
}

/// Whether memory is handed out as it is. Taints the kernel if so.
fn skip_zeroing() -> bool {
    let skip = module_parameters::skip_zeroing.value() == 1;

    if skip {
        kernel_ext::taint::user();
    }
    skip
}

/// How long a job may take, milliseconds.
fn job_timeout_ms() -> u32 {
    module_parameters::job_timeout_ms.value()
}
