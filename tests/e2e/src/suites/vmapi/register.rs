// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which descriptors can be registered, by what driver, how often, and what
//! that refuses to others.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use hlrs::FaultReason;

use super::exported;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::raw::consumer as sys;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::consumer;
use crate::system::consumer::Consumer;
use crate::system::consumer::LONG;
use crate::system::nic;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        in_the_place_of_the_nic: 120,
        what_is_no_vm,
        of_another_device,
        of_a_virtual_function: 120,
        calls_that_are_wrong,
        the_file_counts_and_not_its_number,
        several_times,
        who_has_a_context_next,
        not_destroyed_while_registered,
        a_banned_vm,
    ]
}

const NOW: Duration = Duration::ZERO;

fn consumer() -> Outcome<(hlrs::Device, Consumer)> {
    let node = cards::first_node()?;
    Ok((node.open()?, Consumer::open(&node)?))
}

/// Both drivers know the device, and one has it at a time.
fn in_the_place_of_the_nic(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    if Path::new("/sys/module/hlrs_test_vm").exists() {
        consumer::unload()?;
    }
    nic::load()?;
    crate::system::driver::program("modprobe", &[consumer::MODULE])?;
    check!(!consumer::path(&node).exists(), "two drivers have it");
    check!(consumer::bind(&node).is_err(), "bound, with another driver");
    nic::unbind(&node)?;
    consumer::bind(&node)?;
    {
        let file = Consumer::open_path(&consumer::path(&node))?;
        let (_space, fd) = exported(&node.open()?)?;
        check!(!nic::path(&node).exists(), "two drivers have it");
        let user = file.register(&fd).map_err(Stop::failed)?;
        check!(user.access(LONG).is_ok_and(|begun| begun), "not begun");
        check!(nic::bind(&node).is_err(), "bound, with another driver");
    }
    consumer::unbind(&node)?;
    check!(!consumer::path(&node).exists(), "without a driver");
    nic::bind(&node)?;
    drop(nic::open(&node)?);
    nic::unload()?;
    // Those that the NIC's driver has had are free now.
    consumer::unload()
}

fn what_is_no_vm(_: &Context) -> Outcome {
    let (device, consumer) = consumer()?;
    let (space, fd) = exported(&device)?;
    for number in [-1, i32::MIN, i32::MAX, 4000] {
        let refused = consumer.register_number(number, 0, NOW);
        check_errno!(refused, BADF, "descriptor {number}");
    }
    let null = File::open("/dev/null")?;
    // SAFETY: a new descriptor, which nothing else has.
    let event = unsafe {
        let event = libc::eventfd(0, libc::EFD_CLOEXEC);
        check!(event >= 0, "eventfd");
        <File as std::os::fd::FromRawFd>::from_raw_fd(event)
    };
    let dmabuf = Place::Lmem.create(&device, MIB)?.export()?;
    let syncobj = device.syncobj()?.export()?;
    let files = [
        ("a device", null.as_fd()),
        ("an eventfd", event.as_fd()),
        ("the accelerator", device.as_fd()),
        ("a dma-buf", dmabuf.as_fd()),
        ("a syncobj", syncobj.as_fd()),
        ("the user itself", consumer.as_fd()),
    ];
    for (what, fd) in files {
        check_errno!(consumer.register(fd), INVAL, "{what}");
    }
    let number = fd.as_fd().as_raw_fd();
    drop(fd);
    let refused = consumer.register_number(number, 0, NOW);
    check_errno!(refused, BADF, "closed");
    check!(!space.vm.state()?.registered, "registered");
    Ok(())
}

fn of_another_device(_: &Context) -> Outcome {
    let (_, consumer) = consumer()?;
    let nodes = cards::nodes()?;
    let (space, fd) = exported(&nodes[1].open()?)?;
    check_errno!(consumer.register(&fd), XDEV, "of another card");
    check!(!space.vm.state()?.registered, "registered");
    let own = Consumer::open(&nodes[1])?;
    let user = own.register(&fd).map_err(Stop::failed)?;
    check!(space.vm.state()?.registered, "not registered");
    check_errno!(consumer.register(&fd), XDEV, "registered elsewhere");
    check_eq!(user.unregister(), Ok(()));
    Ok(())
}

fn of_a_virtual_function(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let (first, second) = (vfs.vf_node(1)?, vfs.vf_node(2)?);
    let consumer = Consumer::open(&vfs.node)?;
    let of_vf = Consumer::open(&first)?;
    let of_other = Consumer::open(&second)?;
    {
        let (_space, fd) = exported(&first.open()?)?;
        check_errno!(consumer.register(&fd), XDEV, "of a VF, by the PF");
        check_errno!(of_other.register(&fd), XDEV, "of a VF, by another VF");
        let user = of_vf.register(&fd).map_err(Stop::failed)?;
        check!(user.access(LONG).is_ok_and(|begun| begun), "not begun");
    }
    let (_space, fd) = exported(&vfs.node.open()?)?;
    check_errno!(of_vf.register(&fd), XDEV, "of the PF, by a VF");
    Ok(())
}

fn calls_that_are_wrong(_: &Context) -> Outcome {
    let (device, consumer) = consumer()?;
    let (space, fd) = exported(&device)?;
    let (other, other_fd) = exported(&device)?;
    let with = |flags| consumer.register_with(&fd, flags, NOW);
    let before = consumer::references()?;
    check_errno!(with(sys::FOREIGN), NXIO, "with somebody else's device");
    check_errno!(with(sys::NO_OPS), OPNOTSUPP, "without operations");
    check_errno!(with(sys::NO_CALLBACK), OPNOTSUPP, "without the function");
    check!(!space.vm.state()?.registered, "registered");
    check_eq!(consumer::references()?, before, "references on the module");

    let a = consumer.register(&fd).map_err(Stop::failed)?;
    let b = consumer.register(&other_fd).map_err(Stop::failed)?;
    let access = |ids: &[u32]| consumer.access(ids, LONG);
    check_errno!(access(&[]), INVAL, "to no VM");
    check_errno!(access(&[0]), INVAL, "to NULL");
    check_errno!(access(&[a.id, 0]), INVAL, "to NULL, too");
    check_errno!(access(&[a.id; 17]), INVAL, "to more than there can be");
    check_eq!(a.counts()?, (0, 0, 0), "after calls that were refused");
    check_eq!(access(&[a.id; 16]), Ok(true), "to one VM many times");
    check_eq!(access(&[b.id, a.id]), Ok(true), "to two");
    check_eq!((a.counts()?.2, b.counts()?.2), (2, 1), "pending accesses");

    // To all or to none: that one VM is gone is nothing to the other.
    check_eq!(a.signal(), Ok(()));
    drop((other_fd, other));
    let gone = consumer::User::clone(&b);
    let (short_lived, fd_of_it) = exported(&cards::first()?)?;
    let c = consumer.register(&fd_of_it).map_err(Stop::failed)?;
    drop((short_lived, fd_of_it));
    check_errno!(access(&[a.id, c.id]), STALE, "to a VM that is gone");
    check_errno!(access(&[c.id, a.id]), STALE, "to a VM that is gone");
    check_eq!(a.counts()?.2, 0, "pending accesses");
    check_eq!((a.unregister(), c.unregister()), (Ok(()), Ok(())));
    check_eq!(gone.unregister(), Ok(()));
    check_errno!(c.unregister(), NOENT, "twice");
    Ok(())
}

fn the_file_counts_and_not_its_number(_: &Context) -> Outcome {
    let (device, consumer) = consumer()?;
    let (_space, fd) = exported(&device)?;
    let (_other, other_fd) = exported(&device)?;
    let user = consumer.register(&fd).map_err(Stop::failed)?;
    let same = fd.try_clone()?;
    let duplicate = consumer.register(&same).map_err(Stop::failed)?;
    check_eq!(user.is_same(&duplicate), Ok(true), "of a duplicate");

    // The number stands for another VM, and then for no VM.
    let number = fd.as_fd().as_raw_fd();
    let becomes = |file: std::os::fd::BorrowedFd<'_>| -> Outcome {
        // SAFETY: `fd` still owns the number, which stays open.
        let done = unsafe { libc::dup3(file.as_raw_fd(), number, libc::O_CLOEXEC) };
        check_eq!(done, number, "dup3");
        Ok(())
    };
    becomes(other_fd.as_fd())?;
    let other = consumer.register(&fd).map_err(Stop::failed)?;
    check_eq!(user.is_same(&other), Ok(false), "the number of another VM");
    check!(user.context != other.context, "two VMs in one context");
    becomes(File::open("/dev/null")?.as_fd())?;
    check_errno!(consumer.register(&fd), INVAL, "the number of another file");

    // Closing all descriptors does not end a registration.
    drop((fd, same));
    check_eq!(user.access(LONG), Ok(true), "without a descriptor");
    Ok(())
}

fn several_times(_: &Context) -> Outcome {
    let (device, consumer) = consumer()?;
    let (space, fd) = exported(&device)?;
    let second = Consumer::open(&cards::first_node()?)?;
    let mut users = Vec::new();
    for n in 0..16 {
        let file = if n % 2 == 0 { &consumer } else { &second };
        users.push(file.register(&fd).map_err(Stop::failed)?);
    }
    check!(
        users.iter().all(|user| user.context == users[0].context),
        "one VM, several contexts: {users:?}"
    );
    check_errno!(consumer.register(&fd), BUSY, "once more");
    check_eq!(users[15].unregister(), Ok(()));
    users[15] = second.register(&fd).map_err(Stop::failed)?;
    check_errno!(consumer.register(&fd), BUSY, "once more");
    drop((space, fd, device));
    for user in users {
        check_eq!(user.counts()?, (1, 1, 0), "each is told, once");
        check_eq!(user.unregister(), Ok(()));
    }
    Ok(())
}

/// A user of a VM that is gone is no user of the VM that has its context now.
fn who_has_a_context_next(_: &Context) -> Outcome {
    let consumer = Consumer::open(&cards::first_node()?)?;
    let register = || -> Outcome<_> {
        let device = cards::first()?;
        let (space, fd) = exported(&device)?;
        let user = consumer.register(&fd).map_err(Stop::failed)?;
        Ok((user, space, fd))
    };
    let (user, space, fd) = register()?;
    drop((space, fd));
    let (next, _space, _fd) = register()?;
    check_eq!(user.context, next.context, "the context was not free");
    check_eq!(user.is_same(&next), Ok(false), "of another VM");
    check_errno!(user.access(LONG), STALE, "of a VM that is gone");
    check_errno!(user.recover(), STALE, "nothing to do");
    check_eq!(next.access(LONG), Ok(true));
    Ok(())
}

fn not_destroyed_while_registered(_: &Context) -> Outcome {
    let (device, consumer) = consumer()?;
    let mut vm = device.vm().create()?;
    let fd = vm.export()?;
    let user = consumer.register(&fd).map_err(Stop::failed)?;
    check_errno!(vm.destroy(), BUSY, "exported and registered");
    drop(fd);
    check!(!vm.state()?.exported && vm.state()?.registered);
    check_errno!(vm.destroy(), BUSY, "registered");
    // Refused, but otherwise as before: also exported anew.
    check_eq!(user.access(LONG), Ok(true));
    drop(vm.export()?);
    check_eq!(user.unregister(), Ok(()));
    vm.destroy()?;
    Ok(())
}

fn a_banned_vm(_: &Context) -> Outcome {
    let (device, consumer) = consumer()?;
    let (space, fd) = exported(&device)?;
    let user = consumer.register(&fd).map_err(Stop::failed)?;
    check_eq!(user.access(LONG), Ok(true), "before it was banned");
    check_eq!(user.signal(), Ok(()));
    check_eq!(user.recover(), Ok(()), "of a context that works");
    space.fill(BASE, 4096, 1)?;
    space.faults_at(2 * BASE, true, FaultReason::NotPresent)?;
    check_errno!(user.access(LONG), STALE, "banned");
    check_errno!(consumer.register(&fd), NOENT, "banned");
    check_errno!(user.recover(), STALE, "nothing to do");
    check_errno!(user.access(LONG), STALE, "still banned");
    check_eq!(user.counts()?, (0, 0, 0), "nobody is called");
    drop((space, fd, device));
    check_eq!(user.counts()?, (1, 1, 0), "closed");
    Ok(())
}
