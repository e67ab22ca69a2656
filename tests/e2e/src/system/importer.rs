// SPDX-License-Identifier: MIT OR Apache-2.0
//! Importers of dma-bufs that behave as a test says: the kernel module
//! `hlrs_test_importer`.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use hlrs::DmaBuf;
use hlrs::Errno;

use super::driver;
use super::wait_until;
use super::REACTION;
use crate::check;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::raw;
use crate::raw::importer as sys;

pub use crate::raw::importer::Segment;

const MODULE: &str = "hlrs_test_importer";
const NODE: &str = "/dev/hlrs-test-importer";

/// What an importer does when its mapping is invalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Unmaps as soon as its fences have signalled.
    Dynamic,
    /// Has operations, but not this one.
    NoInvalidate,
    /// Has no operations.
    Static,
    /// As `Dynamic`, and pins while it is mapped.
    Pin,
    /// Unmaps within the callback.
    UnmapInside,
    /// Unmaps this long after the callback.
    UnmapLate(Duration),
    /// Does nothing.
    NeverUnmap,
}

impl Kind {
    /// Those that are told when a mapping is invalidated. The late one needs
    /// much longer than a reset does, and less than the driver waits.
    pub const REVOCABLE: [Kind; 5] = [
        Kind::Dynamic,
        Kind::Pin,
        Kind::UnmapInside,
        Kind::UnmapLate(Duration::from_millis(1000)),
        Kind::NeverUnmap,
    ];

    fn raw(self) -> u32 {
        match self {
            Kind::Dynamic => sys::DYNAMIC,
            Kind::NoInvalidate => sys::NO_INVALIDATE,
            Kind::Static => sys::STATIC,
            Kind::Pin => sys::PIN,
            Kind::UnmapInside => sys::UNMAP_INSIDE,
            Kind::UnmapLate(_) => sys::UNMAP_LATE,
            Kind::NeverUnmap => sys::NEVER_UNMAP,
        }
    }

    /// The argument of the ioctl, for a device at a PCI address.
    pub fn attach(self, dmabuf: BorrowedFd<'_>, address: &str) -> Outcome<sys::Attach> {
        let (domain, bus, devfn) =
            parse(address).ok_or_else(|| Stop::failed(format!("{address:?} is no PCI address")))?;
        Ok(sys::Attach {
            fd: dmabuf.as_raw_fd(),
            kind: self.raw(),
            domain,
            bus,
            devfn,
            delay_ms: match self {
                Kind::UnmapLate(delay) => delay.as_millis() as u32,
                _ => 0,
            },
            flags: sys::ALLOW_PEER2PEER,
            ..Default::default()
        })
    }
}

/// Domain, bus, device and function of a name such as `0000:03:00.0`.
pub fn parse(address: &str) -> Option<(u32, u8, u8)> {
    let mut parts = address.split([':', '.']);
    let mut part = || u32::from_str_radix(parts.next()?, 16).ok();
    let (domain, bus, device, function) = (part()?, part()?, part()?, part()?);
    let devfn = (device << 3) | function;
    Some((domain, bus.try_into().ok()?, devfn.try_into().ok()?))
}

/// Which of the exporter's jobs wait for a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// None.
    Bookkeep,
    /// All.
    Write,
    /// Those that write.
    Read,
}

/// An open file of the module: what is attached through it.
#[derive(Debug)]
pub struct Importers(File);

impl Importers {
    /// Opens the node; loads the module if it is not.
    pub fn open() -> Outcome<Importers> {
        if !Path::new(NODE).exists() {
            driver::program("modprobe", &[MODULE])?;
        }
        Ok(Importers(
            File::options().read(true).write(true).open(NODE)?,
        ))
    }

    /// An open file that this process has inherited.
    pub fn inherited(file: File) -> Importers {
        Importers(file)
    }

    /// Attaches the device at a PCI address, as an importer that can use memory
    /// of peers.
    pub fn attach(
        &self,
        dmabuf: &DmaBuf,
        address: &str,
        kind: Kind,
    ) -> Outcome<raw::Result<Attachment<'_>>> {
        self.attach_as(&mut kind.attach(dmabuf.as_fd(), address)?)
    }

    /// As [`attach`](Self::attach), with the argument of the ioctl.
    pub fn attach_as(&self, arg: &mut sys::Attach) -> Outcome<raw::Result<Attachment<'_>>> {
        Ok(sys::attach(&self.0, arg).map(|()| self.attachment(arg.id)))
    }

    /// Attaches and maps, which must succeed.
    pub fn map(&self, dmabuf: &DmaBuf, address: &str, kind: Kind) -> Outcome<Attachment<'_>> {
        let refused = |what, errno| Stop::failed(format!("{kind:?} cannot {what}: {errno}"));
        let attachment = self
            .attach(dmabuf, address, kind)?
            .map_err(|errno| refused("attach", errno))?;
        attachment.map().map_err(|errno| refused("map", errno))?;
        Ok(attachment)
    }

    /// An attachment by its number.
    pub fn attachment(&self, id: u32) -> Attachment<'_> {
        Attachment { file: self, id }
    }
}

impl AsFd for Importers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A device attached to a dma-buf. It is detached when this is dropped.
#[derive(Debug)]
pub struct Attachment<'a> {
    file: &'a Importers,
    id: u32,
}

/// What is known about an importer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub mapped: bool,
    pub pinned: bool,
    /// Mapped, and invalidated since.
    pub stale: bool,
    /// How often it was told that its mapping is invalid.
    pub invalidations: u32,
    pub segments: u32,
    /// How many of its fences have not signalled.
    pub fences: u32,
    /// How long it took from being told to having unmapped, the last time.
    pub unmapped_after: Option<Duration>,
}

impl Attachment<'_> {
    /// Its number in the open file.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Maps for both directions; returns the segments.
    pub fn map(&self) -> raw::Result<Vec<Segment>> {
        self.map_for(0)
    }

    /// Maps for a direction, numbered as the kernel does.
    pub fn map_for(&self, direction: u32) -> raw::Result<Vec<Segment>> {
        let mut segments = vec![Segment::default(); 1024];
        let mut arg = sys::Map {
            id: self.id,
            direction,
            ..Default::default()
        };
        sys::map(self.file, &mut arg, &mut segments)?;
        segments.truncate(arg.num_segments as usize);
        Ok(segments)
    }

    fn arg(&self) -> sys::Id {
        sys::Id {
            id: self.id,
            pad: 0,
        }
    }

    pub fn unmap(&self) -> raw::Result {
        sys::unmap(self.file, &mut self.arg())
    }

    /// Unmaps, detaches.
    pub fn detach(self) -> raw::Result {
        let result = sys::detach(self.file, &mut self.arg());
        self.keep();
        result
    }

    /// Leaves it to the open file.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    pub fn state(&self) -> Outcome<State> {
        let mut arg = sys::State {
            id: self.id,
            ..Default::default()
        };
        sys::state(self.file, &mut arg)
            .map_err(|errno| Stop::failed(format!("the state of an importer: {errno}")))?;
        check!(arg.flags & sys::STATE_ATTACHED != 0, "not attached");
        Ok(State {
            mapped: arg.flags & sys::STATE_MAPPED != 0,
            pinned: arg.flags & sys::STATE_PINNED != 0,
            stale: arg.flags & sys::STATE_STALE != 0,
            invalidations: arg.invalidations,
            segments: arg.segments,
            fences: arg.fences,
            unmapped_after: match arg.unmap_ns {
                0 => None,
                ns => Some(Duration::from_nanos(ns)),
            },
        })
    }

    /// Reads as the device would.
    pub fn read(&self, offset: u64, size: u64) -> raw::Result<Vec<u8>> {
        let mut bytes = vec![0; size as usize];
        let mut arg = self.access(offset);
        sys::read(self.file, &mut arg, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes as the device would.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> raw::Result {
        sys::write(self.file, &mut self.access(offset), bytes)
    }

    fn access(&self, offset: u64) -> sys::Access {
        sys::Access {
            id: self.id,
            offset,
            ..Default::default()
        }
    }

    /// Maps the memory into the address space of the kernel.
    pub fn vmap(&self) -> raw::Result {
        sys::vmap(self.file, &mut self.arg())
    }

    pub fn vunmap(&self) -> raw::Result {
        sys::vunmap(self.file, &mut self.arg())
    }

    /// Reads through the mapping of the kernel.
    pub fn read_by_kernel(&self, offset: u64, size: u64) -> raw::Result<Vec<u8>> {
        let mut bytes = vec![0; size as usize];
        let mut arg = self.access(offset);
        arg.flags = sys::ACCESS_VMAP;
        sys::read(self.file, &mut arg, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes through the mapping of the kernel.
    pub fn write_by_kernel(&self, offset: u64, bytes: &[u8]) -> raw::Result {
        let mut arg = self.access(offset);
        arg.flags = sys::ACCESS_VMAP;
        sys::write(self.file, &mut arg, bytes)
    }

    /// Maps a range for the process, through the importer's file, which is open
    /// for reading and writing.
    pub fn mmap(&self, offset: u64, len: u64, prot: i32) -> raw::Result<Map> {
        let at = u64::from(self.id) * sys::MMAP_STRIDE + offset;
        // SAFETY: the kernel chooses an address range that nothing else uses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len as usize,
                prot,
                libc::MAP_SHARED,
                self.file.0.as_raw_fd(),
                at as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(last_errno());
        }
        Ok(Map {
            start: start.cast(),
            len: len as usize,
        })
    }

    /// Whether it can read at all: behind an IOMMU that translates, the CPU
    /// cannot use the device's addresses. It must be mapped.
    pub fn reads(&self) -> Outcome<bool> {
        match self.read(0, 8) {
            Ok(_) => Ok(true),
            Err(Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => Err(Stop::failed(format!("an importer cannot read: {errno}"))),
        }
    }

    /// Adds a fence that signals after `time`; returns a moment just before
    /// that begins.
    pub fn fence(&self, time: Duration, usage: Usage) -> Outcome<Instant> {
        let mut arg = sys::Fence {
            id: self.id,
            timeout_ms: time.as_millis() as u32,
            usage: match usage {
                Usage::Bookkeep => sys::BOOKKEEP,
                Usage::Write => sys::WRITE,
                Usage::Read => sys::READ,
            },
            pad: 0,
        };
        let before = Instant::now();
        sys::fence(self.file, &mut arg)
            .map_err(|errno| Stop::failed(format!("adding a fence: {errno}")))?;
        Ok(before)
    }

    /// Signals its fences.
    pub fn signal(&self) -> raw::Result {
        sys::signal(self.file, &mut self.arg())
    }

    /// Waits until it has unmapped.
    pub fn wait_unmapped(&self) -> Outcome<State> {
        wait_until("an importer has unmapped", REACTION, || {
            self.state().is_ok_and(|state| !state.mapped)
        })?;
        self.state()
    }
}

fn last_errno() -> Errno {
    let err = std::io::Error::last_os_error();
    Errno::from_io_error(&err).unwrap_or(Errno::IO)
}

/// Memory that was mapped through the importer's file.
#[derive(Debug)]
pub struct Map {
    start: *mut u8,
    len: usize,
}

impl Map {
    /// Bytes from `offset` on. The mapping must be one for reading.
    pub fn to_vec(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len, "beyond the mapping");
        (offset..offset + len)
            // SAFETY: within the mapping; any value is a byte.
            .map(|at| unsafe { self.start.add(at).read_volatile() })
            .collect()
    }

    /// Writes bytes. The mapping must be one for writing.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len, "beyond the mapping");
        for (n, byte) in bytes.iter().enumerate() {
            // SAFETY: within the mapping, to which there are no references.
            unsafe { self.start.add(offset + n).write_volatile(*byte) };
        }
    }

    /// Changes what it is for.
    pub fn protect(&self, prot: i32) -> raw::Result {
        // SAFETY: the whole mapping, and nothing but its own methods uses it.
        match unsafe { libc::mprotect(self.start.cast(), self.len, prot) } {
            0 => Ok(()),
            _ => Err(last_errno()),
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: what was mapped, and there are no references to it.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        if let Err(errno) = sys::detach(self.file, &mut self.arg()) {
            println!("importer {} could not be detached: {errno}", self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn addresses() {
        assert_eq!(parse("0000:03:00.0"), Some((0, 3, 0)));
        assert_eq!(parse("10000:e1:1f.7"), Some((0x10000, 0xe1, 0xff)));
        assert_eq!(parse("0000:03:00"), None);
        assert_eq!(parse("what"), None);
    }
}
