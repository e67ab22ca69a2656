// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exporter of vfio-pci, `VFIO_DEVICE_FEATURE_DMA_BUF`, on a machine
//! without an IOMMU. See `include/uapi/linux/vfio.h` of the kernel.

use std::ffi::c_void;
use std::fs::{read_dir, write, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use hlrs_sys as sys;
use rustix::ioctl;

use crate::binding::Binding;
use crate::call::Segment;

const DEVICE_FEATURE: u32 = number(17);
const DEVICE_BIND_IOMMUFD: u32 = number(18);

/// `VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF`.
const GET_DMA_BUF: u32 = (1 << 16) | 11;

/// `_IO(VFIO_TYPE, VFIO_BASE + nr)`.
const fn number(nr: u32) -> u32 {
    ((b';' as u32) << 8) | (100 + nr)
}

/// `struct vfio_device_bind_iommufd`.
#[repr(C)]
struct BindIommufd {
    argsz: u32,
    flags: u32,
    iommufd: i32,
    out_devid: u32,
    token_uuid_ptr: u64,
}

/// `struct vfio_device_feature` with a `struct vfio_device_feature_dma_buf`.
#[repr(C)]
struct DmaBufHeader {
    argsz: u32,
    flags: u32,
    region_index: u32,
    open_flags: u32,
    dma_buf_flags: u32,
    nr_ranges: u32,
}

/// An ioctl whose argument is at an address.
struct Raw(u32, *mut c_void);

// SAFETY: What is at the address is up to whoever makes one.
unsafe impl ioctl::Ioctl for Raw {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> ioctl::Opcode {
        self.0 as ioctl::Opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.1
    }

    unsafe fn output_from_ptr(
        output: ioctl::IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<i32> {
        Ok(output)
    }
}

/// Ranges of a BAR, as vfio takes them; made once, so that asking for a dma-buf
/// of them is one system call.
pub struct Request {
    /// A [`DmaBufHeader`], then pairs of offset and length.
    words: Vec<u64>,
}

impl Request {
    /// `ranges` are addresses on the bus, `start` is where the BAR begins.
    pub fn new(region_index: u32, start: u64, ranges: &[Segment]) -> Self {
        let header = size_of::<DmaBufHeader>() / size_of::<u64>();
        let mut words = vec![0; header];

        for range in ranges {
            words.extend([range.address - start, range.length]);
        }

        let pair = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
        let argsz = (words.len() * size_of::<u64>()) as u32;

        words[0] = pair(argsz, GET_DMA_BUF);
        words[1] = pair(region_index, sys::O_RDWR | sys::O_CLOEXEC);
        words[2] = pair(0, ranges.len() as u32);
        Self { words }
    }
}

/// A device that vfio-pci drives, open.
///
/// Dropping it gives the device back to its own driver.
pub struct Vfio {
    // The order matters: the driver goes when nobody uses it any more.
    device: File,
    _iommufd: File,
    _binding: Binding,
}

impl Vfio {
    /// Takes a PCI function from its driver. Nobody else may have it open.
    pub fn take(function: &str) -> io::Result<Self> {
        write(
            "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
            "1",
        )?;

        let binding = Binding::new(function, "vfio-pci")?;
        let folder = format!("/sys/bus/pci/devices/{function}/vfio-dev");
        let name = read_dir(folder)?
            .next()
            .ok_or_else(|| io::Error::other("vfio-pci did not take the device"))??
            .file_name();
        let open = |path: &Path| File::options().read(true).write(true).open(path);
        let device = open(&Path::new("/dev/vfio/devices").join(name))?;
        let iommufd = open(Path::new("/dev/iommu"))?;

        let mut bind = BindIommufd {
            argsz: size_of::<BindIommufd>() as u32,
            flags: 0,
            iommufd: iommufd.as_raw_fd(),
            out_devid: 0,
            token_uuid_ptr: 0,
        };
        // SAFETY: The ioctl accesses the structure, which has no pointer to
        // anything without the flag that says so.
        unsafe { ioctl::ioctl(&device, Raw(DEVICE_BIND_IOMMUFD, (&raw mut bind).cast())) }?;

        Ok(Self {
            device,
            _iommufd: iommufd,
            _binding: binding,
        })
    }

    /// A dma-buf of ranges of a BAR.
    pub fn export(&self, request: &mut Request) -> io::Result<OwnedFd> {
        // SAFETY: The ioctl reads as many bytes as the argument says that it has.
        let fd: RawFd = unsafe {
            ioctl::ioctl(
                &self.device,
                Raw(DEVICE_FEATURE, request.words.as_mut_ptr().cast()),
            )
        }?;

        // SAFETY: The ioctl has made the descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
