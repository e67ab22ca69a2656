// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a device tells about itself.

use std::os::fd::BorrowedFd;

use hlrs_sys as sys;
use rustix::io::Errno;

use crate::ioctl;

/// Role of a function in SR-IOV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SriovMode {
    /// A physical function that has no virtual ones.
    None,
    /// A physical function that can have virtual ones.
    PhysicalFunction,
    /// A virtual function, with its number, from 1.
    VirtualFunction(u32),
    /// Something that this version of the crate does not know.
    Unknown(u32),
}

/// The device as such.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Version of the driver's interface, major and minor.
    pub abi: (u32, u32),
    /// PCI vendor.
    pub vendor_id: u16,
    /// PCI device.
    pub device_id: u16,
    /// PCI revision.
    pub revision: u32,
    /// Unique number of the card, the same for all its functions.
    pub uid: u64,
    /// Role of this function in SR-IOV.
    pub sriov: SriovMode,
    /// PCIe peers can import what this device exports.
    pub p2p: bool,
    /// The card has a link to another card.
    pub link: bool,
    /// Largest size of one copy, fill or checksum, in bytes.
    pub max_copy_size: u64,
}

/// Kind of a memory region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionClass {
    /// Memory of the host that the device reaches over the bus.
    SystemMemory,
    /// The device's own memory.
    Lmem,
    /// Something that this version of the crate does not know.
    Unknown(u16),
}

/// A place that buffers can be created in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// Kind of memory.
    pub class: RegionClass,
    /// Number of the region on this device.
    pub instance: u32,
    /// Smallest unit of allocation, in bytes.
    pub min_page_size: u32,
    /// Size in bytes; 0 if it has no limit of its own.
    pub total: u64,
    /// Bytes allocated now, by all clients.
    pub used: u64,
    /// Bytes that CPU and PCIe peers can reach.
    pub cpu_visible: u64,
    /// Bytes allocated of those.
    pub cpu_visible_used: u64,
}

/// Kind of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineClass {
    /// Copies, fills, checksums.
    Copy,
    /// Copies between contexts, for the network driver.
    Nic,
    /// Something that this version of the crate does not know.
    Unknown(u16),
}

/// The engines of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Engines {
    /// Kind of engine.
    pub class: EngineClass,
    /// Number of such engines.
    pub capacity: u32,
}

/// An answer that can grow between the question for its size and the question
/// itself is asked for again, this many times.
const ATTEMPTS: u32 = 8;

/// Asks `query` and returns the answer, in 8-byte words so that every structure
/// of the interface is aligned in it, and its size in bytes.
fn ask(fd: BorrowedFd<'_>, query: u32) -> Result<(Vec<u64>, usize), Errno> {
    let mut last = Errno::INVAL;
    for _ in 0..ATTEMPTS {
        let mut arg = sys::drm_hlrs_device_query {
            query,
            ..Default::default()
        };
        // SAFETY: with `size` 0 the ioctl does not use `data`.
        unsafe { ioctl::call(fd, &mut arg)? };
        let mut words = vec![0u64; (arg.size as usize).div_ceil(8)];
        arg.data = words.as_mut_ptr() as u64;
        // SAFETY: `data` designates at least `size` bytes, owned by `words`.
        match unsafe { ioctl::call(fd, &mut arg) } {
            Ok(()) => {
                let len = (arg.size as usize).min(words.len() * 8);
                return Ok((words, len));
            }
            Err(errno) => last = errno,
        }
        if last != Errno::INVAL {
            break;
        }
    }
    Err(last)
}

/// Reads a `T` at `offset` bytes of an answer of `len` bytes.
///
/// # Safety
///
/// `T` must be a structure of integers, valid for any content.
unsafe fn at<T: Copy>(words: &[u64], len: usize, offset: usize) -> Result<T, Errno> {
    // A driver that promises more elements than it sent breaks the interface.
    if offset + size_of::<T>() > len.min(words.len() * 8) {
        return Err(Errno::PROTO);
    }
    // SAFETY: the range was checked to lie inside the initialised words, and
    // the caller answers for `T`; the read makes no demand on alignment.
    Ok(unsafe {
        words
            .as_ptr()
            .cast::<u8>()
            .add(offset)
            .cast::<T>()
            .read_unaligned()
    })
}

pub(crate) fn info(fd: BorrowedFd<'_>) -> Result<Info, Errno> {
    let (words, len) = ask(fd, sys::DRM_HLRS_DEVICE_QUERY_INFO)?;
    // SAFETY: the structure has integers only.
    let raw: sys::drm_hlrs_query_info = unsafe { at(&words, len, 0)? };
    Ok(Info {
        abi: (raw.abi_major, raw.abi_minor),
        vendor_id: raw.device_id as u16,
        device_id: (raw.device_id >> 16) as u16,
        revision: raw.revision,
        uid: raw.uid,
        sriov: match raw.sriov_mode {
            sys::DRM_HLRS_SRIOV_NONE => SriovMode::None,
            sys::DRM_HLRS_SRIOV_PF => SriovMode::PhysicalFunction,
            sys::DRM_HLRS_SRIOV_VF => SriovMode::VirtualFunction(raw.vf_id),
            other => SriovMode::Unknown(other),
        },
        p2p: raw.capabilities & u64::from(sys::DRM_HLRS_CAP_P2P) != 0,
        link: raw.capabilities & u64::from(sys::DRM_HLRS_CAP_LINK) != 0,
        max_copy_size: raw.max_copy_size,
    })
}

pub(crate) fn regions(fd: BorrowedFd<'_>) -> Result<Vec<Region>, Errno> {
    let (words, len) = ask(fd, sys::DRM_HLRS_DEVICE_QUERY_MEM_REGIONS)?;
    // SAFETY: the count is an integer.
    let count: u32 = unsafe { at(&words, len, 0)? };
    let first = size_of::<sys::drm_hlrs_query_mem_regions>();
    (0..count as usize)
        .map(|n| {
            let offset = first + n * size_of::<sys::drm_hlrs_mem_region>();
            // SAFETY: the structure has integers only.
            let raw: sys::drm_hlrs_mem_region = unsafe { at(&words, len, offset)? };
            Ok(Region {
                class: match u32::from(raw.mem_class) {
                    sys::DRM_HLRS_MEM_CLASS_SYSMEM => RegionClass::SystemMemory,
                    sys::DRM_HLRS_MEM_CLASS_LMEM => RegionClass::Lmem,
                    _ => RegionClass::Unknown(raw.mem_class),
                },
                instance: u32::from(raw.instance),
                min_page_size: raw.min_page_size,
                total: raw.total_size,
                used: raw.used,
                cpu_visible: raw.cpu_visible_size,
                cpu_visible_used: raw.cpu_visible_used,
            })
        })
        .collect()
}

pub(crate) fn engines(fd: BorrowedFd<'_>) -> Result<Vec<Engines>, Errno> {
    let (words, len) = ask(fd, sys::DRM_HLRS_DEVICE_QUERY_ENGINES)?;
    // SAFETY: the count is an integer.
    let count: u32 = unsafe { at(&words, len, 0)? };
    let first = size_of::<sys::drm_hlrs_query_engines>();
    (0..count as usize)
        .map(|n| {
            let offset = first + n * size_of::<sys::drm_hlrs_engine>();
            // SAFETY: the structure has integers only.
            let raw: sys::drm_hlrs_engine = unsafe { at(&words, len, offset)? };
            Ok(Engines {
                class: match u32::from(raw.engine_class) {
                    sys::DRM_HLRS_ENGINE_CLASS_COPY => EngineClass::Copy,
                    sys::DRM_HLRS_ENGINE_CLASS_NIC => EngineClass::Nic,
                    _ => EngineClass::Unknown(raw.engine_class),
                },
                capacity: u32::from(raw.capacity),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_inside_the_answer_only() {
        let words = [0x0000_0002_0000_0001u64, 3];
        // SAFETY: integers.
        let (low, high): (u32, u32) =
            unsafe { (at(&words, 16, 0).unwrap(), at(&words, 16, 4).unwrap()) };
        assert_eq!((low, high), (1, 2));
        // SAFETY: an integer.
        assert_eq!(unsafe { at::<u64>(&words, 15, 8) }, Err(Errno::PROTO));
        // SAFETY: an integer.
        assert_eq!(unsafe { at::<u64>(&words, 64, 16) }, Err(Errno::PROTO));
    }
}
