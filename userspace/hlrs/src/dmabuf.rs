// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buffers in file descriptors.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use hlrs_sys as sys;
use rustix::event;
use rustix::fs;
use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::device::Device;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::export::Access;
use crate::ioctl;
use crate::mapping::Mapping;
use crate::sync_file;
use crate::sync_file::SyncFile;

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
        match sync_file::poll(self.as_fd(), events, timeout).map_err(failed)? {
            None => Err(failed(Errno::TIME)),
            Some(found) if found.contains(event::PollFlags::ERR) => Err(failed(Errno::IO)),
            Some(_) => Ok(()),
        }
    }

    /// Maps all of it for reading and writing by the CPU.
    ///
    /// Memory that a device works on at the same time is in order only between
    /// [`begin_cpu_access`](Self::begin_cpu_access) and
    /// [`end_cpu_access`](Self::end_cpu_access). When the exporter revokes the
    /// dma-buf the next access raises `SIGBUS`.
    pub fn map(&self) -> Result<Mapping> {
        self.do_map(true)
    }

    /// As [`map`](Self::map), for reading only.
    pub fn map_read_only(&self) -> Result<Mapping> {
        self.do_map(false)
    }

    fn do_map(&self, writable: bool) -> Result<Mapping> {
        let failed = |errno| Error::system(Operation::DmaBuf, "mapping it", errno);
        Mapping::new(self.as_fd(), 0, 0, self.size()?, writable).map_err(failed)
    }

    /// Waits until the CPU may access the memory: for jobs that write it, before
    /// it writes for all jobs.
    pub fn begin_cpu_access(&self, access: Access) -> Result<()> {
        self.sync(access.sync_flags(), "beginning to access it")
    }

    /// Ends an access that [`begin_cpu_access`](Self::begin_cpu_access) began.
    pub fn end_cpu_access(&self, access: Access) -> Result<()> {
        let flags = access.sync_flags() | sys::DMA_BUF_SYNC_END;
        self.sync(flags, "ending to access it")
    }

    fn sync(&self, flags: u32, what: &str) -> Result<()> {
        let mut arg = sys::dma_buf_sync {
            flags: flags.into(),
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.as_fd(), &mut arg) }
            .map_err(|errno| Error::system(Operation::DmaBuf, what, errno))
    }

    /// A fence for all jobs now queued that an access has to wait for: who reads
    /// waits for those that write, who writes for all.
    pub fn export_sync_file(&self, access: Access) -> Result<SyncFile> {
        let mut arg = sys::dma_buf_export_sync_file {
            flags: access.sync_flags(),
            fd: -1,
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.as_fd(), &mut arg) }
            .map_err(|errno| Error::system(Operation::DmaBuf, "getting its fences", errno))?;
        // SAFETY: the kernel has just installed this descriptor for us alone.
        Ok(SyncFile::from(unsafe { OwnedFd::from_raw_fd(arg.fd) }))
    }

    /// Has later jobs on the memory wait for a fence, as they would for a job
    /// that accesses it in this way.
    pub fn import_sync_file(&self, fence: &SyncFile, access: Access) -> Result<()> {
        let mut arg = sys::dma_buf_import_sync_file {
            flags: access.sync_flags(),
            fd: fence.as_fd().as_raw_fd(),
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.as_fd(), &mut arg) }
            .map_err(|errno| Error::system(Operation::DmaBuf, "adding a fence", errno))
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
    /// Importing what [`Buffer::export`] made in the same open file gives the
    /// same memory under the same handle.
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
