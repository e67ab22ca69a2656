// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buffers, and the work that a device does on them.

use std::fmt;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use hlrs_sys as sys;
use rustix::io::Errno;

use crate::device::Device;
use crate::dmabuf::DmaBuf;
use crate::error::Cause;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;
use crate::job::Job;
use crate::mapping::Mapping;
use crate::query::RegionClass;

/// Memory that a device works on.
///
/// Clones share the memory, which is released when the last clone, mapping and
/// dma-buf of it is gone.
#[derive(Clone)]
pub struct Buffer {
    handle: Arc<Handle>,
    size: u64,
}

struct Handle {
    device: Device,
    raw: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.device.inner.close_handle(self.raw);
    }
}

/// What a new buffer is to be like; from [`Device::buffer`].
#[derive(Debug, Clone)]
#[must_use = "nothing is created before create()"]
pub struct BufferBuilder<'a> {
    device: &'a Device,
    size: u64,
    region: Where,
    flags: u32,
    page_size: u32,
}

#[derive(Debug, Clone, Copy)]
enum Where {
    Class(RegionClass),
    Instance(u32),
}

impl<'a> BufferBuilder<'a> {
    pub(crate) fn new(device: &'a Device, size: u64) -> Self {
        let region = Where::Class(RegionClass::Lmem);
        BufferBuilder {
            device,
            size,
            region,
            flags: 0,
            page_size: 0,
        }
    }

    /// Places the buffer in system memory.
    pub fn system_memory(mut self) -> Self {
        self.region = Where::Class(RegionClass::SystemMemory);
        self
    }

    /// Places the buffer in a region by its number.
    pub fn region(mut self, instance: u32) -> Self {
        self.region = Where::Instance(instance);
        self
    }

    /// Asks for one contiguous range of LMEM.
    pub fn contiguous(mut self) -> Self {
        self.flags |= sys::DRM_HLRS_MEM_CONTIGUOUS;
        self
    }

    /// Asks for LMEM that the CPU and PCIe peers can reach; a buffer that is to
    /// be mapped or exported needs it.
    pub fn cpu_visible(mut self) -> Self {
        self.flags |= sys::DRM_HLRS_MEM_CPU_VISIBLE;
        self
    }

    /// Least size and alignment of each block: 4096, 65536 or 2097152 bytes.
    pub fn page_size(mut self, bytes: u32) -> Self {
        self.page_size = bytes;
        self
    }

    /// Creates the buffer; it reads as zero.
    pub fn create(self) -> Result<Buffer> {
        let failed = |cause| Error::new(Operation::Create, self.to_string(), cause);
        let region = match self.region {
            Where::Instance(n) => n,
            Where::Class(class) => self
                .device
                .instance(class)
                .ok_or_else(|| failed(Cause::NoSuchRegion))?,
        };
        let mut arg = sys::drm_hlrs_mem_create {
            size: self.size,
            region,
            flags: self.flags,
            page_size: self.page_size,
            ..Default::default()
        };
        let inner = &self.device.inner;
        let raw = inner
            .open_handle(|| {
                // SAFETY: the argument has no pointers.
                unsafe { ioctl::call(inner.fd(), &mut arg)? };
                Ok(arg.handle)
            })
            .map_err(|errno| failed(Cause::System(errno)))?;
        Ok(Buffer::from_counted(self.device, raw, self.size))
    }
}

impl fmt::Display for BufferBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in ", self.size)?;
        match self.region {
            Where::Class(RegionClass::Lmem) => f.write_str("LMEM")?,
            Where::Class(RegionClass::SystemMemory) => f.write_str("system memory")?,
            Where::Class(other) => write!(f, "{other:?}")?,
            Where::Instance(n) => write!(f, "region {n}")?,
        }
        if self.flags & sys::DRM_HLRS_MEM_CONTIGUOUS != 0 {
            f.write_str(", contiguous")?;
        }
        if self.flags & sys::DRM_HLRS_MEM_CPU_VISIBLE != 0 {
            f.write_str(", CPU-visible")?;
        }
        if self.page_size != 0 {
            write!(f, ", pages of {} bytes", self.page_size)?;
        }
        Ok(())
    }
}

impl Buffer {
    /// Takes over a share of `raw` that `open_handle` has counted.
    pub(crate) fn from_counted(device: &Device, raw: u32, size: u64) -> Buffer {
        Buffer {
            handle: Arc::new(Handle {
                device: device.clone(),
                raw,
            }),
            size,
        }
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The device that the buffer can be used with.
    pub fn device(&self) -> &Device {
        &self.handle.device
    }

    /// The GEM handle, for calls that this crate does not know.
    pub fn handle(&self) -> u32 {
        self.handle.raw
    }

    /// Maps the whole buffer for reading and writing by the CPU.
    pub fn map(&self) -> Result<Mapping> {
        self.map_range(0, self.size)
    }

    /// Maps a range; `offset` must be a multiple of the CPU's page size.
    pub fn map_range(&self, offset: u64, len: u64) -> Result<Mapping> {
        let what = || format!("{len} bytes at {offset} of a buffer of {} bytes", self.size);
        let failed = |errno| Error::system(Operation::Map, what(), errno);
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(Error::new(Operation::Map, what(), Cause::OutOfRange));
        }
        let mut arg = sys::drm_hlrs_mem_mmap_offset {
            handle: self.handle.raw,
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.fd(), &mut arg) }.map_err(failed)?;
        Mapping::new(self.fd(), arg.offset, offset, len, true).map_err(failed)
    }

    /// Has the device copy `size` bytes from `src` at `src_offset` to this
    /// buffer at `offset`, and waits until it is done.
    pub fn copy_from(&self, offset: u64, src: &Buffer, src_offset: u64, size: u64) -> Result<()> {
        self.copy(offset, src, src_offset, size, 0)
    }

    /// As [`copy_from`](Self::copy_from), but returns when the job is queued.
    pub fn copy_from_async(
        &self,
        offset: u64,
        src: &Buffer,
        src_offset: u64,
        size: u64,
    ) -> Result<Job> {
        self.copy(offset, src, src_offset, size, sys::DRM_HLRS_MEM_OP_ASYNC)?;
        Ok(Job::new(self.clone()))
    }

    fn copy(
        &self,
        offset: u64,
        src: &Buffer,
        src_offset: u64,
        size: u64,
        flags: u32,
    ) -> Result<()> {
        let failed = |cause| {
            let what = format!(
                "{size} bytes from {src_offset} of {} to {offset} of {}",
                src.size, self.size
            );
            Error::new(Operation::Copy, what, cause)
        };
        if !self.device().is_same_file(src.device()) {
            return Err(failed(Cause::DifferentDevices));
        }
        let mut arg = sys::drm_hlrs_mem_copy {
            src_handle: src.handle.raw,
            dst_handle: self.handle.raw,
            src_offset,
            dst_offset: offset,
            size,
            flags,
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.fd(), &mut arg) }.map_err(|e| failed(Cause::System(e)))
    }

    /// Has the device repeat the eight bytes of `pattern`, little-endian, over
    /// `size` bytes from `offset` on, and waits until it is done.
    pub fn fill(&self, offset: u64, size: u64, pattern: u64) -> Result<()> {
        self.do_fill(offset, size, pattern, 0)
    }

    /// As [`fill`](Self::fill), but returns when the job is queued.
    pub fn fill_async(&self, offset: u64, size: u64, pattern: u64) -> Result<Job> {
        self.do_fill(offset, size, pattern, sys::DRM_HLRS_MEM_OP_ASYNC)?;
        Ok(Job::new(self.clone()))
    }

    fn do_fill(&self, offset: u64, size: u64, pattern: u64, flags: u32) -> Result<()> {
        let mut arg = sys::drm_hlrs_mem_fill {
            handle: self.handle.raw,
            flags,
            offset,
            size,
            pattern,
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.fd(), &mut arg) }
            .map_err(|errno| Error::system(Operation::Fill, self.range(offset, size), errno))
    }

    /// Has the device compute the CRC-32C of a range.
    pub fn crc32c(&self, offset: u64, size: u64) -> Result<u32> {
        self.crc32c_after(0, offset, size)
    }

    /// As [`crc32c`](Self::crc32c), continuing the checksum `crc` of what comes
    /// before the range.
    pub fn crc32c_after(&self, crc: u32, offset: u64, size: u64) -> Result<u32> {
        let mut arg = sys::drm_hlrs_mem_crc32c {
            handle: self.handle.raw,
            offset,
            size,
            crc,
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.fd(), &mut arg) }
            .map_err(|errno| Error::system(Operation::Crc32c, self.range(offset, size), errno))?;
        Ok(arg.crc)
    }

    /// Waits until no job, of whatever process or device, uses the buffer.
    ///
    /// Fails with `ETIME` if that takes longer than `timeout`, and with `EIO`
    /// if a job that wrote the buffer failed since that was last reported.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        // The kernel's limit is relative, so what a signal interrupted must be
        // asked for again with the rest of the time only.
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let mut arg = sys::drm_hlrs_mem_wait {
                handle: self.handle.raw,
                timeout_ns: u64::try_from(left.as_nanos()).unwrap_or(u64::MAX),
                ..Default::default()
            };
            // SAFETY: the argument has no pointers.
            match unsafe { ioctl::once(self.fd(), &mut arg) } {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let what = format!("up to {timeout:?} for a buffer of {} bytes", self.size);
                    return Err(Error::system(Operation::Wait, what, errno));
                }
            }
        }
    }

    /// Makes a dma-buf of the whole buffer, which others may read and write, by
    /// PRIME: the kernel gives the same dma-buf as long as one exists.
    /// [`dma_buf`](Self::dma_buf) can do more.
    pub fn export(&self) -> Result<DmaBuf> {
        self.export_with(sys::DRM_CLOEXEC | sys::DRM_RDWR)
    }

    /// Makes a dma-buf that processes may not map for writing.
    pub fn export_read_only(&self) -> Result<DmaBuf> {
        self.export_with(sys::DRM_CLOEXEC)
    }

    fn export_with(&self, flags: u32) -> Result<DmaBuf> {
        let mut arg = sys::drm_prime_handle {
            handle: self.handle.raw,
            flags,
            fd: -1,
        };
        ioctl::prime(self.fd(), ioctl::Prime::HandleToFd, &mut arg).map_err(|errno| {
            let what = format!("a buffer of {} bytes", self.size);
            Error::system(Operation::Export, what, errno)
        })?;
        // SAFETY: the kernel has just installed this descriptor for us alone.
        Ok(DmaBuf::from(unsafe { OwnedFd::from_raw_fd(arg.fd) }))
    }

    fn range(&self, offset: u64, size: u64) -> String {
        format!(
            "{size} bytes at {offset} of a buffer of {} bytes",
            self.size
        )
    }

    pub(crate) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.handle.device.inner.fd()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("device", &self.handle.device)
            .field("handle", &self.handle.raw)
            .field("size", &self.size)
            .finish()
    }
}
