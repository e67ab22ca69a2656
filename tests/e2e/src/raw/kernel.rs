// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ioctls of importers that are part of the kernel: vgem and iommufd, as in
//! `include/uapi/drm/vgem_drm.h` and `include/uapi/linux/iommufd.h`, which
//! document them.

use std::os::fd::AsFd;

use super::at;
use super::Result;

pub const VGEM_FENCE_WRITE: u32 = 1;

/// `struct drm_vgem_fence_attach`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct FenceAttach {
    pub handle: u32,
    pub flags: u32,
    pub out_fence: u32,
    pub pad: u32,
}

/// `struct drm_vgem_fence_signal`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct FenceSignal {
    pub fence: u32,
    pub flags: u32,
}

/// Number of an ioctl of vgem, of which the direction is `direction`.
const fn vgem<T>(direction: u32, nr: u32) -> u32 {
    (direction << 30) | ((size_of::<T>() as u32) << 16) | ((b'd' as u32) << 8) | (0x40 + nr)
}

/// `DRM_IOCTL_VGEM_FENCE_ATTACH`
pub fn fence_attach(file: impl AsFd, arg: &mut FenceAttach) -> Result {
    // SAFETY: the number encodes the size of the structure, which has no
    // pointers.
    unsafe { at(file, vgem::<FenceAttach>(3, 1), &raw mut *arg as usize) }
}

/// `DRM_IOCTL_VGEM_FENCE_SIGNAL`
pub fn fence_signal(file: impl AsFd, arg: &mut FenceSignal) -> Result {
    // SAFETY: as above.
    unsafe { at(file, vgem::<FenceSignal>(1, 2), &raw mut *arg as usize) }
}

/// `struct iommu_ioas_alloc`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct IoasAlloc {
    pub size: u32,
    pub flags: u32,
    pub out_ioas_id: u32,
}

pub const IOAS_MAP_WRITEABLE: u32 = 1 << 1;
pub const IOAS_MAP_READABLE: u32 = 1 << 2;

/// `struct iommu_ioas_map_file`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct IoasMapFile {
    pub size: u32,
    pub flags: u32,
    pub ioas_id: u32,
    pub fd: i32,
    pub start: u64,
    pub length: u64,
    pub iova: u64,
}

/// `_IO(IOMMUFD_TYPE, nr)`
const fn iommufd(nr: u32) -> u32 {
    ((b';' as u32) << 8) | nr
}

/// `IOMMU_IOAS_ALLOC`
pub fn ioas_alloc(file: impl AsFd, arg: &mut IoasAlloc) -> Result {
    arg.size = size_of::<IoasAlloc>() as u32;
    // SAFETY: the structure says how large it is, and has no pointers.
    unsafe { at(file, iommufd(0x81), &raw mut *arg as usize) }
}

/// `IOMMU_IOAS_MAP_FILE`
pub fn ioas_map_file(file: impl AsFd, arg: &mut IoasMapFile) -> Result {
    arg.size = size_of::<IoasMapFile>() as u32;
    // SAFETY: as above.
    unsafe { at(file, iommufd(0x8f), &raw mut *arg as usize) }
}
