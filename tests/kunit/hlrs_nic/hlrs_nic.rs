// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the NIC's driver, with an engine made of memory and VMs made of numbers.

#[macro_use]
#[path = "../common/check.rs"]
mod check;
mod fake;

mod test_engine;
mod test_limits;
mod test_reset;
mod test_vms;
