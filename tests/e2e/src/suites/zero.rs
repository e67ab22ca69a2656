// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory is zero when it is handed out, whoever had it before.

use std::path::Path;

use hlrs::Buffer;
use hlrs::Device;

use super::mem::exhaust;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::role;
use crate::system::role::Role;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        after_a_close: 180,
        after_a_kill_with_jobs_in_flight: 180,
        system_memory: 120,
        from_owner_to_owner: 300,
        after_unbinding: 180,
    ]
}

const SECRET: u64 = 0x5ec4_e75e_c4e7_5ec4;
const PIECE: u64 = 4 * MIB;

/// Takes all of a device's memory, piece by piece.
fn take_all(device: &Device) -> Outcome<Vec<Buffer>> {
    let mut all = exhaust(device, Place::Lmem, PIECE)?;
    all.extend(exhaust(device, Place::Lmem, 4096)?);
    let lmem = device.lmem()?;
    check_eq!(lmem.used, lmem.total, "used after all was taken");
    Ok(all)
}

/// Fills all of a device's memory and returns the buffers.
fn hide_secret(device: &Device) -> Outcome<Vec<Buffer>> {
    let all = take_all(device)?;
    for buffer in &all {
        let _job = buffer.fill_async(0, buffer.size(), SECRET)?;
    }
    for buffer in &all {
        cards::holds_pattern("the secret", buffer, SECRET)?;
    }
    Ok(all)
}

/// Takes all of a device's memory and looks at it, as the device and, where
/// that is possible, as the CPU sees it.
fn no_secret(device: &Device) -> Outcome {
    let all = take_all(device)?;
    for buffer in &all {
        cards::holds_pattern("memory handed out", buffer, 0)?;
    }
    if let Some(map) = all.iter().find_map(|buffer| buffer.map().ok()) {
        cards::compare("as the CPU sees it", &map.to_vec(0, 4096)?, &[0; 4096])?;
    }
    Ok(())
}

fn after_a_close(_: &Context) -> Outcome {
    let device = cards::first()?;
    drop(hide_secret(&device)?);
    no_secret(&device)
}

fn hoarder() -> Outcome<Role> {
    let node = cards::first_node()?.path.display().to_string();
    let mut role = Role::start("hoard", &[&node])?;
    role.expect("ready")?;
    Ok(role)
}

/// Waits until the memory of a process that has ended is free.
fn freed(device: &Device) -> Outcome {
    crate::system::wait_until("all of LMEM is free", crate::system::REACTION, || {
        device.lmem().is_ok_and(|lmem| lmem.used == 0)
    })
}

fn after_a_kill_with_jobs_in_flight(_: &Context) -> Outcome {
    let mut role = hoarder()?;
    role.tell("work")?;
    role.expect("working")?;
    role.kill()?;
    let device = cards::first()?;
    freed(&device)?;
    no_secret(&device)
}

/// Role: takes all memory, fills it, and works until it is killed.
pub fn hoard(node: &str) -> Outcome {
    let device = Device::open(Path::new(node))?;
    let all = hide_secret(&device)?;
    role::say("ready");
    while role::listen()? == "work" {
        for buffer in &all {
            let _job = buffer.fill_async(0, buffer.size(), !SECRET)?;
        }
        role::say("working");
    }
    Ok(())
}

fn system_memory(_: &Context) -> Outcome {
    let device = cards::first()?;
    for _ in 0..2 {
        let buffers = (0..8).map(|_| Place::System.create(&device, MIB));
        for buffer in buffers.collect::<hlrs::Result<Vec<_>>>()? {
            cards::holds_pattern("system memory handed out", &buffer, 0)?;
            buffer.fill(0, MIB, SECRET)?;
        }
    }
    Ok(())
}

fn from_owner_to_owner(_: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    drop(hide_secret(&cards::first()?)?);
    vfs.set(2)?;
    for number in 1..=2 {
        let device = vfs.open(number)?;
        no_secret(&device)?;
        drop(hide_secret(&device)?);
    }
    vfs.clear()?;
    // The shares are others now: what was one function's is several's.
    vfs.set(3)?;
    for number in 1..=3 {
        let device = vfs.open(number)?;
        no_secret(&device)?;
        drop(hide_secret(&device)?);
    }
    vfs.clear()?;
    no_secret(&cards::first()?)
}

fn after_unbinding(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let buffers = hide_secret(&node.open()?)?;
    let bound = driver::Unbound(&node.address);
    driver::unbind(&node.address)?;
    drop(buffers);
    drop(bound);
    let device = driver::wait_node(&node.address)?.open()?;
    check!(device.lmem()?.used == 0, "LMEM is in use after a new probe");
    no_secret(&device)
}
