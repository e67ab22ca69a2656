// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors that are sent to other processes.

use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net;

use crate::check;
use crate::harness::Outcome;
use crate::harness::Stop;

/// Lets children have a descriptor, too.
pub fn inheritable(fd: BorrowedFd<'_>) -> Outcome {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())
        .map_err(|errno| Stop::failed(format!("fcntl: {errno}")))
}

/// The socket that this process was started with, by its number.
pub fn inherited(fd: &str) -> Outcome<UnixStream> {
    let fd = fd.parse().map_err(Stop::failed)?;
    // SAFETY: the parent has left it open for this process, which owns it now.
    Ok(unsafe { UnixStream::from_raw_fd(fd) })
}

/// Sends a descriptor over a socket.
pub fn send(socket: &UnixStream, fd: BorrowedFd<'_>) -> Outcome {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = net::SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    check!(
        buffer.push(net::SendAncillaryMessage::ScmRights(&fds)),
        "no room for a descriptor"
    );
    let flags = net::SendFlags::empty();
    net::sendmsg(socket, &[IoSlice::new(b"x")], &mut buffer, flags).map_err(Stop::failed)?;
    Ok(())
}

/// Takes a descriptor from a socket.
pub fn receive(socket: &UnixStream) -> Outcome<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = net::RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let flags = net::RecvFlags::CMSG_CLOEXEC;
    net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut buffer,
        flags,
    )
    .map_err(Stop::failed)?;
    let received = buffer.drain().find_map(|message| match message {
        net::RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    received.ok_or_else(|| Stop::failed("no descriptor came"))
}
