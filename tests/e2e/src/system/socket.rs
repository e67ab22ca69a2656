// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors that are sent to other processes.

use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net;

use crate::check;
use crate::harness::Outcome;
use crate::harness::Stop;

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
