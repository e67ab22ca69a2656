// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exports: what part of a buffer others get, what they may do with it, and who
//! they can be.

use std::fmt;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

use hlrs_sys as sys;
use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::dmabuf::DmaBuf;
use crate::error::Cause;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;

/// What is done with memory: reading, writing, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Writing only.
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    fn file_flags(self) -> u32 {
        match self {
            Access::Read => sys::O_RDONLY,
            Access::Write => sys::O_WRONLY,
            Access::ReadWrite => sys::O_RDWR,
        }
    }

    /// The flags of the ioctls of a dma-buf.
    pub(crate) fn sync_flags(self) -> u32 {
        match self {
            Access::Read => sys::DMA_BUF_SYNC_READ,
            Access::Write => sys::DMA_BUF_SYNC_WRITE,
            Access::ReadWrite => sys::DMA_BUF_SYNC_READ | sys::DMA_BUF_SYNC_WRITE,
        }
    }
}

/// Which importers an export can have; from [`ExportBuilder::probe`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Importers {
    /// Those that let go of the memory when they are told to.
    pub revocable: bool,
    /// Those that keep the memory as long as they like.
    pub pinned: bool,
    /// Those that need memory with pages, so that LMEM is none for them.
    pub needs_pages: bool,
}

impl Importers {
    fn from_bits(bits: u32) -> Importers {
        Importers {
            revocable: bits & sys::DRM_HLRS_IMPORTER_REVOCABLE != 0,
            pinned: bits & sys::DRM_HLRS_IMPORTER_PINNED != 0,
            needs_pages: bits & sys::DRM_HLRS_IMPORTER_STATIC != 0,
        }
    }

    /// Whether there can be any.
    pub fn any(self) -> bool {
        self != Importers::default()
    }
}

/// A dma-buf that is to be made of a buffer; from [`Buffer::dma_buf`].
///
/// Unless the builder is told otherwise it is the whole buffer, importers may
/// read and write, and the descriptor is closed on exec.
///
/// ```no_run
/// # fn main() -> hlrs::Result<()> {
/// # let device = hlrs::list()?[0].open()?;
/// let buffer = device.buffer(8 << 20).create()?;
/// // The second MiB, which others may read.
/// let part = buffer
///     .dma_buf()
///     .range(1 << 20, 1 << 20)
///     .access(hlrs::Access::Read);
/// if part.probe_peer("0000:04:00.0")?.any() {
///     let dmabuf = part.create()?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "nothing is exported before create()"]
pub struct ExportBuilder<'a> {
    buffer: &'a Buffer,
    offset: u64,
    size: u64,
    access: Access,
    inherited: bool,
}

impl<'a> ExportBuilder<'a> {
    pub(crate) fn new(buffer: &'a Buffer) -> Self {
        ExportBuilder {
            buffer,
            offset: 0,
            size: 0,
            access: Access::ReadWrite,
            inherited: false,
        }
    }

    /// Only these bytes, multiples of 4096; a size of 0 stands for everything
    /// from `offset` on.
    pub fn range(mut self, offset: u64, size: u64) -> Self {
        self.offset = offset;
        self.size = size;
        self
    }

    /// What importers, devices and processes, may do.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Leaves the descriptor open in programs that this process executes.
    pub fn inherited(mut self) -> Self {
        self.inherited = true;
        self
    }

    /// Makes the dma-buf, a new one with each call.
    ///
    /// A buffer that lies outside the aperture is moved into it, after the jobs
    /// that use it.
    pub fn create(self) -> Result<DmaBuf> {
        let mut arg = self.argument(0);
        if !self.inherited {
            arg.fd_flags |= sys::O_CLOEXEC;
        }
        self.call(&mut arg)?;
        // SAFETY: the kernel has just installed this descriptor for us alone.
        Ok(DmaBuf::from(unsafe { OwnedFd::from_raw_fd(arg.fd) }))
    }

    /// Asks whether [`create`](Self::create) would succeed now, and which
    /// importers there could be; changes nothing.
    pub fn probe(self) -> Result<Importers> {
        let mut arg = self.argument(sys::DRM_HLRS_MEM_EXPORT_PROBE);
        self.call(&mut arg)?;
        Ok(Importers::from_bits(arg.importers))
    }

    /// As [`probe`](Self::probe), for importing by the function at a PCI
    /// address, for instance `0000:03:00.0`.
    pub fn probe_peer(self, address: &str) -> Result<Importers> {
        let flags = sys::DRM_HLRS_MEM_EXPORT_PROBE | sys::DRM_HLRS_MEM_EXPORT_PROBE_PEER;
        let mut arg = self.argument(flags);
        arg.peer = pci_address(address).ok_or_else(|| {
            let text = format!("{address:?} is no PCI address");
            Error::new(Operation::Export, self.to_string(), Cause::Malformed(text))
        })?;
        self.call(&mut arg)?;
        Ok(Importers::from_bits(arg.importers))
    }

    fn argument(&self, flags: u32) -> sys::drm_hlrs_mem_export {
        sys::drm_hlrs_mem_export {
            handle: self.buffer.handle(),
            flags,
            offset: self.offset,
            size: self.size,
            fd_flags: self.access.file_flags(),
            ..Default::default()
        }
    }

    fn call(&self, arg: &mut sys::drm_hlrs_mem_export) -> Result<()> {
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.buffer.fd(), arg) }
            .map_err(|errno| Error::system(Operation::Export, self.to_string(), errno))
    }
}

impl fmt::Display for ExportBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            0 => write!(f, "all from {} on", self.offset)?,
            size => write!(f, "{size} bytes at {}", self.offset)?,
        }
        write!(f, " of a buffer of {} bytes", self.buffer.size())?;
        match self.access {
            Access::Read => f.write_str(", for reading"),
            Access::Write => f.write_str(", for writing"),
            Access::ReadWrite => Ok(()),
        }
    }
}

impl Buffer {
    /// Starts the export of the buffer, or of a part of it, as a dma-buf.
    pub fn dma_buf(&self) -> ExportBuilder<'_> {
        ExportBuilder::new(self)
    }

    /// Takes back what this open file has exported of the buffer: importers
    /// have to let go of it, and accesses through a mapping of the dma-buf raise
    /// `SIGBUS`. Mappings of the buffer itself are not affected.
    ///
    /// Fails with `ETIMEDOUT` if an importer does not let go. Nobody can map
    /// the memory anew then either.
    pub fn revoke(&self) -> Result<()> {
        self.do_revoke(0)
    }

    /// Lets importers map again what [`revoke`](Self::revoke) took back.
    pub fn undo_revoke(&self) -> Result<()> {
        self.do_revoke(sys::DRM_HLRS_MEM_REVOKE_UNDO)
    }

    fn do_revoke(&self, flags: u32) -> Result<()> {
        let mut arg = sys::drm_hlrs_mem_revoke {
            handle: self.handle(),
            flags,
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.fd(), &mut arg) }.map_err(|errno: Errno| {
            let what = format!("exports of a buffer of {} bytes", self.size());
            Error::system(Operation::Revoke, what, errno)
        })
    }
}

/// The number that the interface has for a PCI address.
fn pci_address(text: &str) -> Option<u32> {
    let mut parts = text.split([':', '.']);
    let mut part = |most: u32| {
        let number = u32::from_str_radix(parts.next()?, 16).ok()?;
        (number <= most).then_some(number)
    };
    let (domain, bus, device, function) = (part(0xffff)?, part(0xff)?, part(0x1f)?, part(7)?);
    if parts.next().is_some() {
        return None;
    }
    Some((domain << 16) | (bus << 8) | (device << 3) | function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(pci_address("0000:03:00.0"), Some(0x300));
        assert_eq!(pci_address("abcd:ef:1f.7"), Some(0xabcd_efff));
        for wrong in [
            "",
            "03:00.0",
            "0000:03:20.0",
            "0000:03:00.8",
            "0000:03:00.0.1",
        ] {
            assert_eq!(pci_address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn importers_by_their_bits() {
        assert!(!Importers::from_bits(0).any());
        let both =
            Importers::from_bits(sys::DRM_HLRS_IMPORTER_REVOCABLE | sys::DRM_HLRS_IMPORTER_STATIC);
        assert!(both.revocable && both.needs_pages && !both.pinned && both.any());
    }
}
