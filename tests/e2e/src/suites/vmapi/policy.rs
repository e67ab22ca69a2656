// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which processes may register a VM.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use hlrs::VmFd;

use super::exported;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::consumer;
use crate::system::consumer::Consumer;
use crate::system::consumer::LONG;
use crate::system::role;
use crate::system::role::Role;
use crate::system::socket;
use crate::system::socket::inheritable;
use crate::system::wait_until;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        sent_to_another_process,
        inherited_by_another_program,
        the_user_is_killed,
    ]
}

const NOBODY: u32 = 65534;

/// Role: as user `uid`, opens the node and registers what comes over a socket,
/// or what an inherited descriptor stands for; says how that went, and uses the
/// VM until it is told to end.
pub fn consume(node: &str, how: &str, fd: &str, uid: &str) -> Outcome {
    let fd: i32 = fd.parse().map_err(Stop::failed)?;
    let uid: u32 = uid.parse().map_err(Stop::failed)?;
    if uid != 0 {
        // SAFETY: a call without pointers.
        let changed = unsafe { libc::setresuid(uid, uid, uid) };
        check_eq!(changed, 0, "setresuid");
    }
    let consumer = Consumer::open_path(Path::new(node))?;
    let number;
    let _received: OwnedFd;
    if how == "socket" {
        // SAFETY: the test lets this process inherit the descriptor, which
        // nothing else here uses.
        let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
        _received = socket::receive(&socket)?;
        number = _received.as_raw_fd();
    } else {
        number = fd;
    }
    match consumer.register_number(number, 0, std::time::Duration::ZERO) {
        Ok(user) => {
            check_eq!(user.access(LONG), Ok(true));
            role::say("registered");
        }
        Err(errno) => role::say(&format!("refused {}", errno.raw_os_error())),
    }
    role::listen().map(drop)
}

fn start(how: &str, fd: impl AsFd, uid: u32) -> Outcome<Role> {
    let path = consumer::path(&cards::first_node()?);
    let (path, fd) = (path.display().to_string(), fd.as_fd().as_raw_fd());
    Role::start("consume", &[&path, how, &fd.to_string(), &uid.to_string()])
}

fn sent_to_another_process(_: &Context) -> Outcome {
    consumer::load()?;
    let device = cards::first()?;
    let refused = format!("refused {}", libc::EACCES);
    for (shared, uid, expected) in [
        (false, 0, "registered"),
        (false, NOBODY, refused.as_str()),
        (true, 0, "registered"),
        (true, NOBODY, "registered"),
    ] {
        let vm = device.vm();
        let vm = if shared { vm.shared() } else { vm }.create()?;
        let fd = vm.export()?;
        let (here, there) = UnixStream::pair()?;
        inheritable(there.as_fd())?;
        let mut role = start("socket", &there, uid)?;
        drop(there);
        socket::send(&here, fd.as_fd())?;
        role.expect(expected)
            .map_err(|stop| stop.during(format!("shared: {shared}, user {uid}")))?;
        let registered = expected == "registered";
        check_eq!(vm.state()?.registered, registered);
        // The user does not need the exporter's descriptor.
        drop(fd);
        check_eq!(vm.state()?.registered, registered, "descriptor closed");
        role.tell("end")?;
        role.succeeds()?;
        wait_until("the user is gone", REACTION, || {
            vm.state().is_ok_and(|s| !s.registered && !s.exported)
        })?;
    }
    Ok(())
}

/// Through fork and exec, unless the descriptor is closed by that.
fn inherited_by_another_program(_: &Context) -> Outcome {
    consumer::load()?;
    let device = cards::first()?;
    let (space, fd) = exported(&device)?;
    let mut role = start("number", &fd, 0)?;
    role.expect(&format!("refused {}", libc::EBADF))?;
    role.tell("end")?;
    role.succeeds()?;
    inheritable(fd.as_fd())?;
    for (uid, expected) in [
        (0, "registered".to_owned()),
        (NOBODY, format!("refused {}", libc::EACCES)),
    ] {
        let mut role = start("number", &fd, uid)?;
        role.expect(&expected)?;
        role.tell("end")?;
        role.succeeds()?;
    }
    wait_until("the user is gone", REACTION, || {
        space.vm.state().is_ok_and(|state| !state.registered)
    })
}

fn the_user_is_killed(context: &Context) -> Outcome {
    consumer::load()?;
    let device = cards::first()?;
    let before = cards::used(&device)?;
    for _ in context.each(3, 200) {
        let (mut space, fd): (_, VmFd) = exported(&device)?;
        inheritable(fd.as_fd())?;
        let mut role = start("number", &fd, 0)?;
        role.expect("registered")?;
        drop(fd);
        role.kill()?;
        drop(space.queue);
        wait_until("the VM can be destroyed", REACTION, || {
            space.vm.destroy().is_ok()
        })?;
        drop(space.vm);
        cards::settles(&device, before)?;
    }
    Ok(())
}
