// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fences in file descriptors.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::event;
use rustix::io::Errno;

use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;

/// A fence that other drivers and processes can be given: it signals when the
/// work that it stands for has ended.
#[derive(Debug)]
pub struct SyncFile {
    fd: OwnedFd,
}

impl SyncFile {
    /// Waits until the work has ended; fails with `ETIME` if that takes longer
    /// than `timeout`.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        let failed = |errno| Error::system(Operation::DmaBuf, "waiting for a fence", errno);
        match poll(self.as_fd(), event::PollFlags::IN, timeout).map_err(failed)? {
            None => Err(failed(Errno::TIME)),
            Some(_) => Ok(()),
        }
    }

    /// Asks whether the work has ended, without waiting.
    pub fn is_done(&self) -> Result<bool> {
        match self.wait(Duration::ZERO) {
            Ok(()) => Ok(true),
            Err(err) if err.errno() == Some(Errno::TIME) => Ok(false),
            Err(err) => Err(err),
        }
    }
}

impl From<OwnedFd> for SyncFile {
    fn from(fd: OwnedFd) -> Self {
        SyncFile { fd }
    }
}

impl From<SyncFile> for OwnedFd {
    fn from(file: SyncFile) -> Self {
        file.fd
    }
}

impl AsFd for SyncFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits for events of a file; `None` if there are none in the time given.
pub(crate) fn poll(
    fd: BorrowedFd<'_>,
    events: event::PollFlags,
    timeout: Duration,
) -> std::result::Result<Option<event::PollFlags>, Errno> {
    let start = Instant::now();
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        let left = event::Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [event::PollFd::new(&fd, events)];
        match event::poll(&mut fds, Some(&left)) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(fds[0].revents())),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
