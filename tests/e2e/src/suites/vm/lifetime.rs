// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces come and go, with all that they hold.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use hlrs::Errno;

use super::same_as_before;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::space::Space;
use crate::system::space::PAGE;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        created_and_destroyed,
        as_many_as_a_file_may_have,
        as_many_as_the_device_has_contexts,
        queues_keep_it,
        it_keeps_its_buffers,
        closing_the_file_ends_all,
        a_context_goes_to_a_new_owner,
    ]
}

/// VMs that a file may have.
const MOST: usize = 8;
/// Contexts of the device.
const CONTEXTS: usize = 32;

fn created_and_destroyed(context: &Context) -> Outcome {
    let device = cards::first()?;
    let before = cards::used(&device)?;
    for _ in context.each(10, 2000) {
        let mut vm = device.vm().create()?;
        check!(vm.id() != 0, "a VM has the number 0");
        let state = vm.state()?;
        check!(
            !state.banned && !state.exported && !state.registered && state.fault.is_none(),
            "a new VM: {state:?}"
        );
        check_eq!(state.mapped, 0, "bytes mapped in a new VM");
        check!(
            state.page_tables > 0 && state.page_tables % PAGE == 0,
            "{} bytes of page tables",
            state.page_tables
        );
        check!(
            cards::used(&device)? >= before + state.page_tables,
            "page tables are not in LMEM"
        );
        vm.destroy()?;
        check_errno!(vm.state(), NOENT, "after it was destroyed");
        check_errno!(vm.destroy(), NOENT, "destroyed twice");
    }
    same_as_before(&device, before)
}

fn as_many_as_a_file_may_have(_: &Context) -> Outcome {
    let (device, other) = (cards::first()?, cards::first()?);
    let mut vms = Vec::new();
    for _ in 0..MOST {
        vms.push(device.vm().create()?);
    }
    let ids: BTreeSet<_> = vms.iter().map(hlrs::Vm::id).collect();
    check_eq!(ids.len(), MOST, "different numbers");
    check_errno!(device.vm().create(), MFILE);
    drop(other.vm().create()?);
    vms.swap_remove(3);
    vms.push(device.vm().create()?);
    check_errno!(device.vm().create(), MFILE);
    Ok(())
}

fn as_many_as_the_device_has_contexts(_: &Context) -> Outcome {
    let before = cards::used(&cards::first()?)?;
    let mut files = Vec::new();
    let mut vms = Vec::new();
    let refused = loop {
        let device = cards::first()?;
        files.push(device.clone());
        let refused = loop {
            match device.vm().create() {
                Ok(vm) => vms.push(vm),
                Err(err) => break err.errno(),
            }
            check!(vms.len() <= CONTEXTS, "{} VMs at a time", vms.len());
        };
        if refused != Some(Errno::MFILE) {
            break refused;
        }
    };
    check_eq!(refused, Some(Errno::NOSPC), "the error of the last");
    check!(
        vms.len() >= CONTEXTS - MOST,
        "no more than {} VMs of {CONTEXTS} contexts",
        vms.len()
    );
    // All of them can be used at the same time.
    let last = vms.len() - 1;
    for (n, vm) in vms.iter().enumerate() {
        let buffer = Place::Lmem.create(vm.device(), PAGE)?;
        vm.map(BASE, &buffer)?;
        let queue = vm.queue()?;
        let job = queue.job().fill(BASE, PAGE, n as u64);
        job.run(crate::system::JOB)?;
        cards::holds_pattern(&format!("VM {n} of {last}"), &buffer, n as u64)?;
    }
    vms.pop();
    let device = files.pop().ok_or_else(|| Stop::failed("no file"))?;
    vms.push(device.vm().create()?);
    drop((vms, files));
    same_as_before(&device, before)
}

fn queues_keep_it(_: &Context) -> Outcome {
    let device = cards::first()?;
    let mut vm = device.vm().create()?;
    let (mut one, mut two) = (vm.queue()?, vm.queue()?);
    check_errno!(vm.destroy(), BUSY, "with two queues");
    one.destroy()?;
    check_errno!(vm.destroy(), BUSY, "with one queue");
    check_errno!(one.state(), NOENT, "a queue that was destroyed");
    check_eq!(two.state()?.vm, vm.id(), "the VM of the other queue");
    two.destroy()?;
    vm.destroy()?;
    Ok(())
}

/// What is mapped stays, also when nobody else has it.
fn it_keeps_its_buffers(_: &Context) -> Outcome {
    let space = Space::first()?;
    let device = space.device.clone();
    let before = cards::used(&device)?;
    for place in Place::ALL {
        let buffer = place.create(&device, MIB)?;
        buffer.fill(0, MIB, 0x7777)?;
        space.vm.map(BASE, &buffer)?;
        drop(buffer);
        // Somebody else's memory is not the same.
        let other = place.create(&device, MIB)?;
        other.fill(0, MIB, 0x8888)?;
        space.holds("without a handle", BASE, MIB, 0x7777)?;
        drop(other);
        space.vm.unmap(BASE, MIB)?;
        check_eq!(
            space.vm.state()?.mapped,
            crate::system::space::RESULTS_SIZE,
            "bytes mapped"
        );
        cards::settles(&device, before)?;
    }
    Ok(())
}

fn closing_the_file_ends_all(context: &Context) -> Outcome {
    let stays = cards::first()?;
    let before = cards::used(&stays)?;
    for _ in context.each(2, 200) {
        let device = cards::first()?;
        let buffer = Place::Lmem.create(&device, MIB / 2)?;
        let mut kept = Vec::new();
        for n in 0..MOST as u64 {
            let vm = device.vm().create()?;
            let ops = (0..16).map(|m| hlrs::BindOp::map(BASE + m * (n + 1) * (4 << 30), &buffer));
            vm.bind().ops(ops).submit()?;
            let queue = vm.queue()?;
            for m in 0..4 {
                queue.job().fill(BASE, MIB / 2, m).submit()?;
            }
            kept.push((queue, vm));
        }
        // As a process ends: only the file is closed.
        let fd = device.as_fd().as_raw_fd();
        std::mem::forget((kept, buffer, device));
        // SAFETY: nothing uses the descriptor from here on, because what would
        // close it again is never dropped.
        unsafe { libc::close(fd) };
        same_as_before(&stays, before)?;
    }
    Ok(())
}

/// Nothing of what its predecessor had mapped is left, also not in the cache of
/// translations.
fn a_context_goes_to_a_new_owner(context: &Context) -> Outcome {
    let (first, second) = (cards::first()?, cards::first()?);
    let secret = Place::Lmem.create(&first, PAGE)?;
    secret.fill(0, PAGE, 0x5ec2_e75e_c2e7)?;
    for _ in context.each(2, 300) {
        for _ in 0..MOST {
            let space = Space::new(&first)?;
            space.vm.map(BASE, &secret)?;
            space.holds("its own", BASE, PAGE, 0x5ec2_e75e_c2e7)?;
        }
        let space = Space::new(&second)?;
        space.faults_at(BASE, false, hlrs::FaultReason::NotPresent)?;
    }
    Ok(())
}
