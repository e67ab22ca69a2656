// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of VFIO, as in `include/uapi/linux/vfio.h` of the kernel, which
//! documents them.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use hlrs::Errno;

use super::Result;

/// `_IO(VFIO_TYPE, VFIO_BASE + nr)`.
const fn number(nr: u32) -> u32 {
    ((b';' as u32) << 8) | (100 + nr)
}

const GET_REGION_INFO: u32 = number(8);
const RESET: u32 = number(11);
const PCI_HOT_RESET: u32 = number(13);
const FEATURE: u32 = number(17);
const BIND_IOMMUFD: u32 = number(18);

pub const FEATURE_GET: u32 = 1 << 16;
pub const FEATURE_SET: u32 = 1 << 17;
pub const FEATURE_PROBE: u32 = 1 << 18;

pub const LOW_POWER_ENTRY: u32 = 3;
pub const LOW_POWER_EXIT: u32 = 5;
pub const DMA_BUF: u32 = 11;

/// Regions: BARs are numbered as they are, 0 to 5.
pub const CONFIG_REGION: u32 = 7;

/// `struct vfio_region_info`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct RegionInfo {
    pub argsz: u32,
    pub flags: u32,
    pub index: u32,
    pub cap_offset: u32,
    pub size: u64,
    pub offset: u64,
}

/// `struct vfio_device_bind_iommufd`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct BindIommufd {
    argsz: u32,
    flags: u32,
    iommufd: i32,
    out_devid: u32,
    token_uuid_ptr: u64,
}

/// `struct vfio_device_feature` with a `struct vfio_device_feature_dma_buf`,
/// without its ranges.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct DmaBufHeader {
    pub argsz: u32,
    pub flags: u32,
    pub region_index: u32,
    pub open_flags: u32,
    pub dma_buf_flags: u32,
    pub nr_ranges: u32,
}

/// # Safety
///
/// What the ioctl reads and writes must be memory that it may read and write,
/// or not mapped at all.
unsafe fn call(file: impl AsFd, number: u32, address: usize) -> Result<i32> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the caller answers for the memory; the descriptor is borrowed.
    match unsafe { libc::ioctl(fd, number.into(), address) } {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        value => Ok(value),
    }
}

/// Makes a file of `/dev/vfio/devices` usable.
pub fn bind(device: impl AsFd, iommufd: impl AsFd) -> Result {
    let mut arg = BindIommufd {
        argsz: size_of::<BindIommufd>() as u32,
        iommufd: iommufd.as_fd().as_raw_fd(),
        ..Default::default()
    };
    // SAFETY: the structure has its size in it, and no pointer in use.
    unsafe { call(device, BIND_IOMMUFD, &raw mut arg as usize) }.map(drop)
}

pub fn region_info(device: impl AsFd, index: u32) -> Result<RegionInfo> {
    let mut arg = RegionInfo {
        argsz: size_of::<RegionInfo>() as u32,
        index,
        ..Default::default()
    };
    // SAFETY: the structure has its size in it.
    unsafe { call(device, GET_REGION_INFO, &raw mut arg as usize) }?;
    Ok(arg)
}

pub fn reset(device: impl AsFd) -> Result {
    // SAFETY: it has no argument.
    unsafe { call(device, RESET, 0) }.map(drop)
}

/// A hot reset by a file that needs no proof of owning the others.
pub fn hot_reset(device: impl AsFd) -> Result {
    let mut arg = [12_u32, 0, 0];
    // SAFETY: the structure is three words, of which the first is its size.
    unsafe { call(device, PCI_HOT_RESET, arg.as_mut_ptr() as usize) }.map(drop)
}

/// A feature without data.
pub fn feature(device: impl AsFd, flags: u32) -> Result {
    let mut arg = [8_u32, flags];
    // SAFETY: the structure is two words, of which the first is its size.
    unsafe { call(device, FEATURE, arg.as_mut_ptr() as usize) }.map(drop)
}

/// A feature, of which the words are the whole argument; returns what the ioctl
/// does. The first word is corrected to be no more than they have.
pub fn feature_words(device: impl AsFd, words: &mut [u64]) -> Result<i32> {
    let size = size_of_val(words) as u64;
    let argsz = (words[0] & 0xffff_ffff).min(size);
    words[0] = (words[0] & !0xffff_ffff) | argsz;
    // SAFETY: the first word says how much there is. Only a dma-buf's ranges may
    // be read beyond that, of which `nr_ranges` says how many there are; the
    // kernel reads from anywhere at its own risk.
    unsafe { call(device, FEATURE, words.as_mut_ptr() as usize) }
}

/// A feature, by an argument at the end of accessible memory.
pub fn feature_at(device: impl AsFd, pages: &super::Pages, len: usize) -> Result<i32> {
    // SAFETY: what comes after `len` bytes cannot be accessed, and is not mapped
    // for anything else.
    unsafe { call(device, FEATURE, pages.before_end(len)) }
}
