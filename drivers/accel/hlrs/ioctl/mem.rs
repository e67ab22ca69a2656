// SPDX-License-Identifier: GPL-2.0

//! `DRM_IOCTL_HLRS_MEM_*`: buffers, and operations on them.

use kernel::{
    prelude::*,
    ptr::Alignment,
    sizes::{
        SZ_2M,
        SZ_4K,
        SZ_64K, //
    },
    sync::aref::ARef,
    time::{
        msecs_to_jiffies,
        Jiffies, //
    },
};
use kernel_ext::dma_resv::Usage;

use super::{
    check_flags, must_be_zero,
    query::{
        REGION_LMEM,
        REGION_SYSTEM, //
    },
};
use crate::{
    device::{
        BoundDevice,
        File,
        HlrsDevice, //
    },
    gem::{
        self,
        Backing,
        Buffer,
        Request, //
    },
    lmem::{
        Allocation,
        Placement, //
    },
    ops::{
        self,
        Submitted,
        Target, //
    },
    prime::{
        Path,
        Pieces,
        Reason, //
    },
};

/// `DRM_IOCTL_HLRS_MEM_CREATE`.
pub(crate) fn create(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_mem_create,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;

    let request = match args.region {
        REGION_SYSTEM => {
            check_flags(args.flags, 0)?;
            Request::System
        }
        REGION_LMEM => {
            check_flags(
                args.flags,
                hlrs_abi::DRM_HLRS_MEM_CONTIGUOUS | hlrs_abi::DRM_HLRS_MEM_CPU_VISIBLE,
            )?;
            Request::Lmem {
                block: block_size(args.page_size)?,
                placement: if args.flags & hlrs_abi::DRM_HLRS_MEM_CPU_VISIBLE != 0 {
                    Placement::CpuVisible
                } else {
                    Placement::Any
                },
                contiguous: args.flags & hlrs_abi::DRM_HLRS_MEM_CONTIGUOUS != 0,
            }
        }
        _ => return Err(ENXIO),
    };

    let block = match (&request, args.page_size) {
        (Request::Lmem { block, .. }, _) => block.as_usize() as u64,
        (Request::System, 0 | 4096) => SZ_4K as u64,
        (Request::System, _) => return Err(EINVAL),
    };
    if args.size == 0 || args.size % block != 0 {
        return Err(EINVAL);
    }

    if matches!(request, Request::System) && args.size > kernel_ext::mm::total_ram_bytes() {
        return Err(E2BIG);
    }

    let bound = dev.enter().ok_or(ENODEV)?;
    let buffer = gem::create(&bound, &file.inner().client, args.size, request)?;
    args.handle = buffer.create_handle(file)?;
    Ok(0)
}

fn block_size(page_size: u32) -> Result<Alignment> {
    Ok(match page_size as usize {
        0 | SZ_4K => Alignment::new::<SZ_4K>(),
        SZ_64K => Alignment::new::<SZ_64K>(),
        SZ_2M => Alignment::new::<SZ_2M>(),
        _ => return Err(EINVAL),
    })
}

/// `DRM_IOCTL_HLRS_MEM_MMAP_OFFSET`.
pub(crate) fn mmap_offset(
    _dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_mem_mmap_offset,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;
    check_flags(args.flags, 0)?;

    let buffer = Buffer::lookup(file, args.handle)?;
    match &buffer.backing {
        Backing::Lmem(memory) if !memory.with(Allocation::is_visible) => return Err(ENXIO),
        Backing::Imported(_) => return Err(EOPNOTSUPP),
        _ => {}
    }
    args.offset = buffer.mmap_offset()?;
    Ok(0)
}

/// Waits for an operation unless user space does not want to.
///
/// The section in which the device cannot be unplugged has ended: unplugging ends the operation.
fn finish(submitted: Submitted, flags: u32) -> Result<u32> {
    if flags & hlrs_abi::DRM_HLRS_MEM_OP_ASYNC == 0 {
        submitted.wait()?;
    }
    Ok(0)
}

/// `DRM_IOCTL_HLRS_MEM_COPY`.
pub(crate) fn copy(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_mem_copy,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[
        args.extensions,
        u64::from(args.pad),
        args.reserved[0],
        args.reserved[1],
    ])?;
    check_flags(args.flags, hlrs_abi::DRM_HLRS_MEM_OP_ASYNC)?;

    for offset in [args.src_offset, args.dst_offset] {
        offset.checked_add(args.size).ok_or(EOVERFLOW)?;
    }

    let src = Target::new(
        Buffer::lookup(file, args.src_handle)?,
        args.src_offset,
        args.size,
    )?;
    let dst = Target::new(
        Buffer::lookup(file, args.dst_handle)?,
        args.dst_offset,
        args.size,
    )?;
    let submitted = ops::when_clear(dev, None, |dev| {
        ops::copy(dev, &file.inner().client, &src, &dst)
    })?;
    finish(submitted, args.flags)
}

/// `DRM_IOCTL_HLRS_MEM_FILL`.
pub(crate) fn fill(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_mem_fill,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;
    check_flags(args.flags, hlrs_abi::DRM_HLRS_MEM_OP_ASYNC)?;

    let dst = Target::new(Buffer::lookup(file, args.handle)?, args.offset, args.size)?;
    let submitted = ops::when_clear(dev, None, |dev| {
        ops::fill(dev, &file.inner().client, &dst, args.pattern)
    })?;
    finish(submitted, args.flags)
}

/// `DRM_IOCTL_HLRS_MEM_CRC32C`.
pub(crate) fn crc32c(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_mem_crc32c,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[
        args.extensions,
        u64::from(args.pad),
        args.reserved[0],
        args.reserved[1],
    ])?;
    check_flags(args.flags, 0)?;

    let src = Target::new(Buffer::lookup(file, args.handle)?, args.offset, args.size)?;
    args.crc = ops::when_clear(dev, None, |dev| {
        ops::crc32c(dev, &file.inner().client, &src, args.crc)
    })?;
    Ok(0)
}

/// `DRM_IOCTL_HLRS_MEM_WAIT`.
pub(crate) fn wait(
    _dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_mem_wait,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;
    check_flags(args.flags, 0)?;

    let buffer: ARef<Buffer> = Buffer::lookup(file, args.handle)?;
    buffer
        .resv()
        .wait_timeout(Usage::Bookkeep, true, jiffies_of(args.timeout_ns))
        .map_err(|e| if e == ETIMEDOUT { ETIME } else { e })?;
    buffer.take_error().map_err(|_| EIO)?;
    Ok(0)
}

/// `DRM_IOCTL_HLRS_MEM_QUERY`.
pub(crate) fn query(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_mem_query,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[
        args.extensions,
        u64::from(args.pad),
        args.reserved[0],
        args.reserved[1],
    ])?;
    check_flags(args.flags, 0)?;

    let buffer: ARef<Buffer> = Buffer::lookup(file, args.handle)?;
    let (path, reason, vf, pieces) = match with_device(dev, |_| Ok(buffer.backing.path()))? {
        Path::Own => (
            hlrs_abi::DRM_HLRS_MEM_PATH_OWN,
            None,
            None,
            Pieces::default(),
        ),
        Path::Sgt(reason) => (
            hlrs_abi::DRM_HLRS_MEM_PATH_SGT,
            Some(reason),
            None,
            Pieces::default(),
        ),
        Path::Iov(vf, pieces) => (hlrs_abi::DRM_HLRS_MEM_PATH_IOV, None, Some(vf), pieces),
        Path::Link(pieces) => (hlrs_abi::DRM_HLRS_MEM_PATH_LINK, None, None, pieces),
    };

    args.size = buffer.size() as u64;
    args.path = path;
    args.reason = match reason {
        None => hlrs_abi::DRM_HLRS_MEM_REASON_NONE,
        Some(Reason::Exporter) => hlrs_abi::DRM_HLRS_MEM_REASON_EXPORTER,
        Some(Reason::Importer) => hlrs_abi::DRM_HLRS_MEM_REASON_IMPORTER,
        Some(Reason::Unrelated) => hlrs_abi::DRM_HLRS_MEM_REASON_UNRELATED,
    };
    args.vf_id = vf.map_or(0, |vf| u32::from(vf.number()));
    // CAST: No more than LMEM has pages.
    (args.ranges, args.extents) = (pieces.ranges as u32, pieces.extents as u32);
    Ok(0)
}

/// Rounds up, so that a wait is never shorter than asked for; the longest is 49 days.
fn jiffies_of(ns: u64) -> Jiffies {
    msecs_to_jiffies(u32::try_from(ns.div_ceil(1_000_000)).unwrap_or(u32::MAX))
}

fn with_device<R>(dev: &HlrsDevice, f: impl FnOnce(&BoundDevice<'_>) -> Result<R>) -> Result<R> {
    f(&dev.enter().ok_or(ENODEV)?)
}
