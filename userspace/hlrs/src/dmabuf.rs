// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buffers in file descriptors.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use hlrs_sys as sys;
use rustix::event;
use rustix::fs;
use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::device::Device;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;

/// A buffer that other devices and processes can be given.
///
/// It keeps the memory alive until it and all that was imported from it are
/// dropped, or the exporter revokes it.
#[derive(Debug)]
pub struct DmaBuf {
    fd: OwnedFd,
}

impl DmaBuf {
    /// Size in bytes.
    pub fn size(&self) -> Result<u64> {
        fs::seek(&self.fd, fs::SeekFrom::End(0))
            .map_err(|errno| Error::system(Operation::DmaBuf, "its size", errno))
    }

    /// Another descriptor of the same dma-buf.
    pub fn try_clone(&self) -> Result<DmaBuf> {
        let fd = self.fd.try_clone();
        fd.map(DmaBuf::from)
            .map_err(|err| Error::io(Operation::DmaBuf, "duplicating it", &err))
    }

    /// Waits, without the help of a device, until no job writes the buffer
    /// (`writers_only`), or until none uses it.
    pub fn wait(&self, writers_only: bool, timeout: Duration) -> Result<()> {
        let events = if writers_only {
            event::PollFlags::IN
        } else {
            event::PollFlags::OUT
        };
        let failed = |errno| Error::system(Operation::DmaBuf, "waiting for its users", errno);
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let left = event::Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [event::PollFd::new(&self.fd, events)];
            match event::poll(&mut fds, Some(&left)) {
                Ok(0) => return Err(failed(Errno::TIME)),
                Ok(_) if fds[0].revents().contains(event::PollFlags::ERR) => {
                    return Err(failed(Errno::IO))
                }
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

impl From<OwnedFd> for DmaBuf {
    fn from(fd: OwnedFd) -> Self {
        DmaBuf { fd }
    }
}

impl From<DmaBuf> for OwnedFd {
    fn from(dmabuf: DmaBuf) -> Self {
        dmabuf.fd
    }
}

impl AsFd for DmaBuf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Device {
    /// Makes a buffer of this device of a dma-buf, whoever exported it.
    ///
    /// Importing what the same open file exported gives the same memory under
    /// the same handle.
    pub fn import(&self, dmabuf: &DmaBuf) -> Result<Buffer> {
        let size = dmabuf.size()?;
        let mut arg = sys::drm_prime_handle {
            handle: 0,
            flags: 0,
            fd: dmabuf.fd.as_raw_fd(),
        };
        let raw = self
            .inner
            .open_handle(|| {
                ioctl::prime(self.as_fd(), ioctl::Prime::FdToHandle, &mut arg)?;
                Ok(arg.handle)
            })
            .map_err(|errno| Error::system(Operation::Import, format!("{size} bytes"), errno))?;
        Ok(Buffer::from_counted(self, raw, size))
    }
}
