// SPDX-License-Identifier: GPL-2.0

//! Driver of the NIC engine of the HLRS accelerator.
//!
//! | module | subject |
//! |---|---|
//! | [`driver`] | binding to the auxiliary device `hlrs.nic` |
//! | [`device`] | what a character device consists of; lives as long as an open file |
//! | [`file`], [`ioctl`] | user space: open files, calls |
//! | [`client`] | the copies of an open file, and how they have ended |
//! | [`vms`] | the VMs that were registered |
//! | [`engine`] | the queues of the engine |
//!
//! The accelerator's driver, `hlrs.ko`, owns the address spaces and the registers, and lends what of
//! them belongs to the NIC, see `hlrs::nic`. This driver owns the NIC's rings and decides what runs.
//!
//! # Lifetimes
//!
//! While the driver is bound there is a character device, and the engine runs. Unbinding removes the
//! device, which ends the calls on it; stops the engine, which ends the copies; and gives up the VMs,
//! in this order. Open files live on without any of it.

mod client;
mod device;
mod driver;
mod engine;
mod file;
mod ioctl;
mod vms;

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../tests/kunit/hlrs_nic/hlrs_nic.rs"]
mod tests;

kernel::module_auxiliary_driver! {
    type: driver::Nic,
    name: "hlrs_nic",
    authors: ["hlrs developers"],
    description: "NIC engine of the HLRS accelerator",
    license: "GPL",
    params: {
        copy_timeout_ms: u32 {
            default: 5000,
            description: "Time after which a copy fails, milliseconds (1 to 600000)",
        },
    },
}

/// The module parameter of this name; values out of range are taken as the nearest in range.
fn copy_timeout_ms() -> u32 {
    module_parameters::copy_timeout_ms.value().clamp(1, 600_000)
}
