// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a descriptor holds, and what becomes of it when other things go.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use hlrs::VmFd;

use crate::check;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Loaded;
use crate::system::driver::Unbound;
use crate::system::machine::Slot;
use crate::system::role;
use crate::system::role::Role;
use crate::system::socket;
use crate::system::space::Space;
use crate::system::wait_until;
use crate::system::MIB;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        closing_the_device_file,
        sent_to_another_process,
        the_process_is_killed,
        it_keeps_the_module: 120,
        a_banned_vm,
        the_driver_is_taken_off: 120,
        the_device_is_pulled_out: 180,
    ]
}

const BASE: u64 = 0x40_0000_0000;

/// A VM with memory, a queue and its descriptor.
fn exported(device: &hlrs::Device) -> Outcome<(Space, VmFd)> {
    let space = Space::new(device)?;
    let buffer = Place::Lmem.create(device, MIB)?;
    space.vm.map(BASE, &buffer)?;
    let fd = space.vm.export()?;
    Ok((space, fd))
}

/// The descriptor holds no memory of the device.
fn closing_the_device_file(context: &Context) -> Outcome {
    let stays = cards::first()?;
    let before = cards::used(&stays)?;
    let mut kept = Vec::new();
    for _ in context.each(20, 1000) {
        let (space, fd) = exported(&cards::first()?)?;
        let job = space.queue.job().fill(BASE, MIB, 1);
        job.submit()?;
        drop(space);
        cards::settles(&stays, before)?;
        kept.push(fd);
        // No more than a process may have open.
        kept.truncate(100);
    }
    // More VMs than the device has contexts have gone by.
    let (space, fd) = exported(&stays)?;
    drop((kept, fd));
    check!(!space.vm.state()?.exported, "closed, and still exported");
    Ok(())
}

/// Also one that is on its way counts, and one that never arrives does not.
fn sent_to_another_process(context: &Context) -> Outcome {
    let vm = cards::first()?.vm().create()?;
    for _ in context.each(10, 1000) {
        let (here, there) = UnixStream::pair()?;
        let fd = vm.export()?;
        socket::send(&here, fd.as_fd())?;
        drop(fd);
        check_errno!(vm.export(), EXIST, "on its way");
        let received = VmFd::from(socket::receive(&there)?);
        check_errno!(vm.export(), EXIST, "received");
        drop(received);
        socket::send(&here, vm.export()?.as_fd())?;
        check_errno!(vm.export(), EXIST, "on its way, never to arrive");
        drop((here, there));
        wait_until("the socket is gone", REACTION, || {
            vm.state().is_ok_and(|state| !state.exported)
        })?;
    }
    Ok(())
}

fn the_process_is_killed(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let path = node.path.display().to_string();
    let device = node.open()?;
    let before = cards::used(&device)?;
    for _ in context.each(3, 200) {
        let mut role = Role::start("keep", &[&path])?;
        role.expect("kept")?;
        role.kill()?;
        cards::settles(&device, before)?;
    }
    Ok(())
}

/// Role: has descriptors, until it is killed.
pub fn keep(node: &str) -> Outcome {
    let device = hlrs::Device::open(Path::new(node))?;
    let kept = (0..4)
        .map(|_| exported(&device))
        .collect::<Outcome<Vec<_>>>()?;
    role::say("kept");
    while role::listen().is_ok() {}
    drop(kept);
    Ok(())
}

/// A descriptor alone, of a file that is closed, keeps the driver from being
/// unloaded.
fn it_keeps_the_module(_: &Context) -> Outcome {
    let _loaded = Loaded(cards::nodes()?.len());
    let (space, fd) = exported(&cards::first()?)?;
    drop(space);
    check!(
        driver::unload_now().is_err(),
        "the driver was unloaded under an open descriptor"
    );
    drop(fd);
    driver::unload()
}

fn a_banned_vm(_: &Context) -> Outcome {
    let (space, fd) = exported(&cards::first()?)?;
    space.faults_at(2 * BASE, true, hlrs::FaultReason::NotPresent)?;
    let state = space.vm.state()?;
    check!(state.banned && state.exported, "{state:?}");
    check_errno!(space.vm.export(), NOENT, "of a banned VM");
    drop(fd);
    check_errno!(space.vm.export(), NOENT, "of a banned VM");
    check!(!space.vm.state()?.exported, "closed, and still exported");
    Ok(())
}

fn the_driver_is_taken_off(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (space, fd) = exported(&cards::first()?)?;
    let bound = Unbound(&node.address);
    driver::unbind(&node.address)?;
    let same = fd.try_clone()?;
    check_errno!(space.vm.export(), NODEV);
    drop(bound);
    driver::wait_node(&node.address)?;
    // The new device has nothing to do with it.
    let new = cards::first()?;
    let vm = new.vm().create()?;
    check!(!vm.state()?.exported, "a new VM is exported");
    drop(vm.export()?);
    drop((fd, same, space));
    cards::settles(&new, vm.state()?.page_tables)
}

fn the_device_is_pulled_out(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (space, fd) = exported(&cards::first()?)?;
    let slot = Slot::of(&node)?;
    slot.yank()?;
    check_errno!(space.vm.export(), NODEV);
    drop(space);
    slot.plug()?;
    drop(fd);
    let (space, _fd) = exported(&cards::first()?)?;
    check!(space.vm.state()?.exported, "of a new device");
    Ok(())
}
