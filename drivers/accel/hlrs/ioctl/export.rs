// SPDX-License-Identifier: GPL-2.0

//! `DRM_IOCTL_HLRS_MEM_EXPORT` and `DRM_IOCTL_HLRS_MEM_REVOKE`.

use core::ops::Range;

use kernel::{
    fs::file::{
        flags::{
            O_ACCMODE,
            O_CLOEXEC, //
        },
        FileDescriptorReservation, //
    },
    prelude::*,
};
use kernel_ext::{
    dma_buf::DmaBuf,
    pci::find_device, //
};

use super::{
    check_flags,
    must_be_zero, //
};
use crate::{
    device::{
        BoundDevice,
        File,
        HlrsDevice, //
    },
    gem::Buffer,
    lmem::PAGE_SIZE,
    prime::{
        self,
        Access, //
    },
};

const PROBE: u32 = hlrs_abi::DRM_HLRS_MEM_EXPORT_PROBE;
const PROBE_PEER: u32 = hlrs_abi::DRM_HLRS_MEM_EXPORT_PROBE_PEER;

/// `DRM_IOCTL_HLRS_MEM_EXPORT`.
pub(crate) fn export(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_mem_export,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;
    check_flags(args.flags, PROBE | PROBE_PEER)?;
    check_flags(args.fd_flags, O_CLOEXEC | O_ACCMODE)?;

    let access = Access::from_file_flags(args.fd_flags)?;
    let with_peer = args.flags & PROBE_PEER != 0;
    if with_peer && args.flags & PROBE == 0 || !with_peer && args.peer != 0 {
        return Err(EINVAL);
    }

    let buffer = Buffer::lookup(file, args.handle)?;
    let range = range_of(args, &buffer)?;
    let client = &file.inner().client;

    if args.flags & PROBE != 0 {
        let bound = dev.enter().ok_or(ENODEV)?;

        prime::check_range(&bound, &buffer, range, client)?;
        args.importers = probe_importers(&bound, &buffer, file, with_peer.then_some(args.peer))?;
        args.fd = -1;
        return Ok(0);
    }

    let fd = FileDescriptorReservation::get_unused_fd_flags(args.fd_flags & O_CLOEXEC)?;
    let dma_buf = prime::export_range(dev, buffer, range, access, client)?;

    // CAST: Descriptors are small and positive.
    args.fd = fd.reserved_fd() as i32;
    args.importers = 0;
    fd.fd_install(DmaBuf::into_file(dma_buf));
    Ok(0)
}

/// The range that user space means. Fails with `EOVERFLOW`, `EINVAL`.
fn range_of(args: &hlrs_abi::drm_hlrs_mem_export, buffer: &Buffer) -> Result<Range<u64>> {
    let size = buffer.size() as u64;
    let end = match args.size {
        0 => size,
        bytes => args.offset.checked_add(bytes).ok_or(EOVERFLOW)?,
    };

    if args.offset >= end || end > size || (args.offset | end) % PAGE_SIZE != 0 {
        return Err(EINVAL);
    }
    Ok(args.offset..end)
}

fn probe_importers(
    dev: &BoundDevice<'_>,
    buffer: &Buffer,
    file: &File,
    peer: Option<u32>,
) -> Result<u32> {
    let client = &file.inner().client;

    match peer {
        None => prime::importers(dev, buffer, client, None),
        Some(address) => {
            // CAST: Cut to the fields of the address.
            let (domain, bus, devfn) =
                ((address >> 16) as u16, (address >> 8) as u8, address as u8);
            let peer = find_device(domain, bus, devfn).ok_or(EADDRNOTAVAIL)?;

            prime::importers(dev, buffer, client, Some(&peer))
        }
    }
}

/// `DRM_IOCTL_HLRS_MEM_REVOKE`.
pub(crate) fn revoke(
    _dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_mem_revoke,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;
    check_flags(args.flags, hlrs_abi::DRM_HLRS_MEM_REVOKE_UNDO)?;

    let buffer = Buffer::lookup(file, args.handle)?;
    let client = &file.inner().client;

    if args.flags & hlrs_abi::DRM_HLRS_MEM_REVOKE_UNDO != 0 {
        prime::allow(&buffer, client);
    } else {
        prime::revoke(&buffer, client)?;
    }
    Ok(0)
}
