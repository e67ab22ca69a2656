// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of users when a VM goes, and what stays until they have let go.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use hlrs::Buffer;
use hlrs::Device;
use hlrs::VmFd;

use super::exported;
use super::BASE;
use super::SIZE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::raw::consumer::LATE;
use crate::raw::consumer::LEAVE;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::consumer::Consumer;
use crate::system::consumer::User;
use crate::system::consumer::LONG;
use crate::system::role;
use crate::system::role::Role;
use crate::system::socket;
use crate::system::socket::inheritable;
use crate::system::space::Space;
use crate::system::wait_until;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        closing_the_device_file_revokes,
        memory_stays_until_the_user_was_told,
        memory_stays_until_accesses_are_over,
        memory_stays_when_it_is_unmapped,
        memory_stays_when_the_vm_is_destroyed,
        unregistered_before,
        unregistered_after,
        unregistered_meanwhile,
        the_owner_is_killed,
    ]
}

const PATTERN: u64 = 0x5a17_c3e9_0b6d_f284;
const NOW: Duration = Duration::ZERO;
const WHILE: Duration = Duration::from_millis(400);

/// A VM, full of a pattern, of an open file of its own.
fn lent() -> Outcome<(Space, VmFd)> {
    let (space, fd) = exported(&cards::first()?)?;
    space.fill(BASE, SIZE, PATTERN)?;
    Ok((space, fd))
}

fn stays() -> Outcome<(Device, Consumer, u64)> {
    let node = cards::first_node()?;
    let device = node.open()?;
    let used = cards::used(&device)?;
    Ok((device, Consumer::open(&node)?, used))
}

fn closing_the_device_file_revokes(context: &Context) -> Outcome {
    let (device, consumer, before) = stays()?;
    for _ in context.each(5, 1000) {
        let (space, fd) = lent()?;
        let user = consumer.register(&fd).map_err(Stop::failed)?;
        check_eq!(user.access(LONG), Ok(true));
        check_eq!(user.counts()?, (0, 0, 1));
        let begin = Instant::now();
        drop(space);
        check!(begin.elapsed() < LONG, "{:?}", begin.elapsed());
        check_eq!(user.counts()?, (1, 1, 0), "after closing");
        check_errno!(user.access(LONG), STALE, "closed");
        check_errno!(consumer.register(&fd), NOENT, "closed");
        // Descriptor and registration hold nothing of it.
        cards::settles(&device, before)?;
        check_eq!(user.unregister(), Ok(()));
        check_errno!(consumer.register(&fd), NOENT, "closed");
    }
    Ok(())
}

/// All LMEM that can be had.
fn all_memory(device: &Device) -> Outcome<Vec<Buffer>> {
    let mut buffers = Vec::new();
    let mut size = 16 * SIZE;
    while size >= 4096 {
        match Place::Lmem.create(device, size) {
            Ok(buffer) => buffers.push(buffer),
            Err(_) => size /= 2,
        }
    }
    Ok(buffers)
}

/// While `user` holds on to the VM, nobody else gets its memory; when it has
/// let go, somebody does, with nothing in it.
fn nobody_gets_it(device: &Device, before: u64, ends: impl FnOnce() -> Outcome) -> Outcome {
    let total = device.lmem()?.total;
    check!(
        cards::used(device)? >= before + SIZE,
        "{} bytes in use, {before} before",
        cards::used(device)?
    );
    let others = all_memory(device)?;
    let got: u64 = others.iter().map(Buffer::size).sum();
    check!(
        got <= total - before - SIZE,
        "others have got {got} bytes of {total}"
    );
    ends()?;
    let mut freed = Err(Stop::failed("no memory became free"));
    wait_until("the memory is free", REACTION, || {
        freed = Place::Lmem.create(device, SIZE).map_err(Stop::from);
        freed.is_ok()
    })?;
    cards::holds_pattern("memory that was handed out again", &freed?, 0)?;
    drop(others);
    cards::settles(device, before)
}

fn told(user: &User<'_>, counts: (u32, u32)) -> Outcome {
    let what = format!("calls and ends of the callback are {counts:?}");
    wait_until(&what, REACTION, || {
        user.state()
            .is_ok_and(|state| (state.calls, state.returned) == counts)
    })
}

fn closed_by(closer: thread::ScopedJoinHandle<'_, ()>) -> Outcome {
    closer
        .join()
        .map_err(|_| Stop::failed("who closes it panicked"))
}

fn memory_stays_until_the_user_was_told(_: &Context) -> Outcome {
    let (device, consumer, before) = stays()?;
    let (space, fd) = lent()?;
    let slow = Duration::from_millis(2000);
    let user = consumer.register_with(&fd, 0, slow).map_err(Stop::failed)?;
    thread::scope(|scope| {
        let closer = scope.spawn(|| drop(space));
        told(&user, (1, 0))?;
        check_errno!(user.access(LONG), STALE, "while it is told");
        check_errno!(consumer.register(&fd), NOENT, "while it is told");
        nobody_gets_it(&device, before, || {
            check_eq!(user.counts()?, (1, 0, 0), "looking took too long");
            closed_by(closer)?;
            check_eq!(user.counts()?, (1, 1, 0), "closed too early");
            Ok(())
        })
    })
}

fn memory_stays_until_accesses_are_over(_: &Context) -> Outcome {
    let (device, consumer, before) = stays()?;
    let (space, fd) = lent()?;
    let user = consumer
        .register_with(&fd, LATE, NOW)
        .map_err(Stop::failed)?;
    // What has ended counts no more; of two the longer one counts.
    check_eq!(user.access(LONG), Ok(true));
    check_eq!(user.signal(), Ok(()));
    check_eq!(user.access(Duration::from_millis(1)), Ok(true));
    check_eq!(user.access(LONG), Ok(true));
    thread::scope(|scope| {
        let closer = scope.spawn(|| drop(space));
        told(&user, (1, 1))?;
        nobody_gets_it(&device, before, || {
            check_eq!(user.counts()?.2, 1, "looking took too long");
            check!(!closer.is_finished(), "closed, with an access pending");
            check_eq!(user.signal(), Ok(()));
            closed_by(closer)
        })
    })
}

/// Without anything being revoked.
fn memory_stays_when_it_is_unmapped(_: &Context) -> Outcome {
    let (device, consumer, _) = stays()?;
    let space = Space::new(&device)?;
    let fd = space.vm.export()?;
    let user = consumer.register(&fd).map_err(Stop::failed)?;
    let before = cards::used(&device)?;
    let buffer = Place::Lmem.create(&device, SIZE)?;
    space.vm.map(BASE, &buffer)?;
    space.fill(BASE, SIZE, PATTERN)?;
    check_eq!(user.access(LONG), Ok(true));
    space.vm.unmap(BASE, SIZE)?;
    drop(buffer);
    check!(cards::used(&device)? >= before + SIZE, "given back at once");
    check_eq!(user.signal(), Ok(()));
    // Other accesses do not matter: they have begun later.
    check_eq!(user.access(LONG), Ok(true));
    wait_until("the memory is free", REACTION, || {
        cards::used(&device).is_ok_and(|used| used < before + SIZE)
    })
}

/// When nobody has the VM any more.
fn memory_stays_when_the_vm_is_destroyed(_: &Context) -> Outcome {
    let (device, consumer, before) = stays()?;
    let (space, fd) = lent()?;
    let held = cards::used(&device)? - before;
    let user = consumer
        .register_with(&fd, LEAVE, NOW)
        .map_err(Stop::failed)?;
    check_eq!(user.access(LONG), Ok(true));
    check_eq!(user.access(3 * WHILE), Ok(true));
    check_eq!(user.unregister(), Ok(()));
    drop(fd);
    let Space {
        device: own,
        mut queue,
        mut vm,
        ..
    } = space;
    queue.destroy()?;
    vm.destroy()?;
    check_errno!(vm.state(), NOENT, "destroyed");
    check!(cards::used(&device)? >= before + held, "given back at once");
    let others = Consumer::open(&cards::first_node()?)?;
    for _ in 0..2 {
        let other = device.vm().create()?;
        let next = others.register(other.export()?).map_err(Stop::failed)?;
        check!(next.context != user.context, "the context was given away");
        check_eq!(next.unregister(), Ok(()));
    }
    drop(own);
    let context = user.context;
    nobody_gets_it(&device, before, || {
        // The end of the file ends what the test has left.
        drop(consumer);
        Ok(())
    })?;
    let other = device.vm().create()?;
    let next = others.register(other.export()?).map_err(Stop::failed)?;
    check_eq!(next.context, context, "the context that became free");
    check_eq!(next.unregister(), Ok(()));
    Ok(())
}

fn unregistered_before(_: &Context) -> Outcome {
    let (device, consumer, before) = stays()?;
    let (space, fd) = lent()?;
    let slow = Duration::from_secs(10);
    let user = consumer.register_with(&fd, 0, slow).map_err(Stop::failed)?;
    check_eq!(user.access(LONG), Ok(true));
    check_eq!(user.unregister(), Ok(()));
    check_errno!(user.access(LONG), NOENT, "unregistered");
    check!(!space.vm.state()?.registered, "registered");
    let begin = Instant::now();
    drop(space);
    check!(begin.elapsed() < slow, "somebody was told");
    cards::settles(&device, before)
}

fn unregistered_after(_: &Context) -> Outcome {
    let (device, consumer, before) = stays()?;
    let (space, fd) = lent()?;
    let user = consumer.register(&fd).map_err(Stop::failed)?;
    drop((space, fd));
    cards::settles(&device, before)?;
    check_eq!(user.unregister(), Ok(()));
    check_errno!(user.state(), NOENT, "unregistered");
    Ok(())
}

/// Waits for the callback, after which nothing of the user is called any more.
fn unregistered_meanwhile(_: &Context) -> Outcome {
    let (device, consumer, before) = stays()?;
    let (space, fd) = lent()?;
    let user = consumer
        .register_with(&fd, 0, WHILE)
        .map_err(Stop::failed)?;
    check_eq!(user.access(LONG), Ok(true));
    thread::scope(|scope| {
        let begin = Instant::now();
        let closer = scope.spawn(|| drop(space));
        told(&user, (1, 0))?;
        check_eq!(user.unregister(), Ok(()));
        check!(
            begin.elapsed() >= WHILE,
            "unregistered after {:?}, while the callback was running",
            begin.elapsed()
        );
        closed_by(closer)
    })?;
    check_errno!(user.state(), NOENT, "unregistered");
    cards::settles(&device, before)
}

/// Role: makes a VM with memory and sends its descriptor over an inherited
/// socket.
pub fn lend(node: &str, socket: &str) -> Outcome {
    let fd: i32 = socket.parse().map_err(Stop::failed)?;
    // SAFETY: the test lets this process inherit the descriptor, which nothing
    // else here uses.
    let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let (space, fd) = exported(&Device::open(Path::new(node))?)?;
    socket::send(&socket, fd.as_fd())?;
    while role::listen().is_ok() {}
    drop(space);
    Ok(())
}

fn the_owner_is_killed(context: &Context) -> Outcome {
    let (device, consumer, before) = stays()?;
    let node = cards::first_node()?.path.display().to_string();
    for _ in context.each(3, 200) {
        let (here, there) = UnixStream::pair()?;
        inheritable(there.as_fd())?;
        let number = there.as_raw_fd().to_string();
        let mut role = Role::start("lend", &[&node, &number])?;
        drop(there);
        let fd = socket::receive(&here)?;
        let user = consumer.register(&fd).map_err(Stop::failed)?;
        check_eq!(user.access(LONG), Ok(true));
        role.kill()?;
        told(&user, (1, 1))?;
        check_errno!(user.access(LONG), STALE, "of a process that is gone");
        cards::settles(&device, before)?;
        check_eq!(user.unregister(), Ok(()));
    }
    Ok(())
}
