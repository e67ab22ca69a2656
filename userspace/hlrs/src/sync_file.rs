// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fences in file descriptors.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use hlrs_sys as sys;
use rustix::event;
use rustix::io::Errno;

use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;

/// What became of the work that a fence stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceStatus {
    /// It has not ended.
    Pending,
    /// It is done.
    Done,
    /// It has ended, but is not done, for this reason.
    Failed(Errno),
}

impl FenceStatus {
    fn from_raw(status: i32) -> FenceStatus {
        match status {
            0 => FenceStatus::Pending,
            1.. => FenceStatus::Done,
            error => FenceStatus::Failed(Errno::from_raw_os_error(error.saturating_neg())),
        }
    }
}

/// How often a fence is asked for its parts, whose number may change.
const ATTEMPTS: u32 = 8;

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
        let failed = |errno| Error::system(Operation::Fence, "waiting for it", errno);
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

    /// Asks what became of the work, without waiting. Of several fences in one
    /// file it is the first that has failed, or else has not ended.
    pub fn status(&self) -> Result<FenceStatus> {
        let failed = |errno| Error::system(Operation::Fence, "asking for its status", errno);
        let mut last = Errno::INVAL;
        for _ in 0..ATTEMPTS {
            let mut arg = sys::sync_file_info::default();
            // SAFETY: without room for fences the argument has no pointers.
            unsafe { ioctl::call(self.as_fd(), &mut arg) }.map_err(failed)?;
            // A fence made of several does not show their errors itself.
            if arg.status != 1 || arg.num_fences == 0 {
                return Ok(FenceStatus::from_raw(arg.status));
            }
            let mut parts = vec![sys::sync_fence_info::default(); arg.num_fences as usize];
            arg = sys::sync_file_info {
                num_fences: arg.num_fences,
                sync_fence_info: parts.as_mut_ptr() as u64,
                ..Default::default()
            };
            // SAFETY: there is room for `num_fences` fences.
            match unsafe { ioctl::call(self.as_fd(), &mut arg) } {
                Ok(()) => return Ok(FenceStatus::from_raw(arg.status)),
                Err(Errno::INVAL) => last = Errno::INVAL,
                Err(errno) => return Err(failed(errno)),
            }
        }
        Err(failed(last))
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
