// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces for other drivers of the device, as a driver in C sees them:
//! who may register what, what a user is told, and what stays until then.

mod lifetime;
mod policy;
mod races;
mod register;
mod revoke;

pub use policy::consume;
pub use revoke::lend;

use hlrs::Device;
use hlrs::VmFd;

use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards::Place;
use crate::system::consumer;
use crate::system::space::Space;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    let mut tests = register::tests();
    tests.extend(policy::tests());
    tests.extend(revoke::tests());
    tests.extend(lifetime::tests());
    tests.extend(races::tests());
    tests.extend(tests![the_module_goes]);
    tests
}

/// Where the memory of VMs is mapped, and how much there is.
const BASE: u64 = 0x40_0000_0000;
const SIZE: u64 = 8 * MIB;

/// A VM with memory, a queue and its descriptor.
fn exported(device: &Device) -> Outcome<(Space, VmFd)> {
    let space = Space::new(device)?;
    let buffer = Place::Lmem.create(device, SIZE)?;
    space.vm.map(BASE, &buffer)?;
    let fd = space.vm.export()?;
    Ok((space, fd))
}

/// Nothing of what was tested has left anything registered.
fn the_module_goes(_: &Context) -> Outcome {
    consumer::load()?;
    consumer::unload()
}
