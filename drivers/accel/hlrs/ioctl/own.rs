// SPDX-License-Identifier: GPL-2.0

//! `DRM_IOCTL_HLRS_DEVICE_OWN`.

use kernel::prelude::*;

use super::must_be_zero;
use crate::device::{
    File,
    HlrsDevice, //
};

/// `DRM_IOCTL_HLRS_DEVICE_OWN`.
pub(crate) fn own(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_device_own,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[
        args.extensions,
        u64::from(args.pad),
        args.reserved[0],
        args.reserved[1],
    ])?;

    let client = &file.inner().client;

    match args.op {
        hlrs_abi::DRM_HLRS_DEVICE_OWN_ACQUIRE => dev.ownership.acquire(client)?,
        hlrs_abi::DRM_HLRS_DEVICE_OWN_RELEASE => dev.ownership.release(client)?,
        _ => return Err(EINVAL),
    }
    Ok(0)
}
