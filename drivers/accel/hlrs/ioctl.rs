// SPDX-License-Identifier: GPL-2.0

//! Ioctls; `include/uapi/drm/hlrs_accel.h` says what they do and how they fail.
//!
//! - [`query`]: what the device is like.
//! - [`mem`]: buffers, and operations on them.
//! - [`export`]: buffers as dma-bufs, and taking them back.
//! - [`own`]: having the device to oneself.
//! - [`vm`], [`queue`]: address spaces, and jobs in them.

pub(crate) mod export;
pub(crate) mod mem;
pub(crate) mod own;
pub(crate) mod query;
pub(crate) mod queue;
pub(crate) mod vm;

use kernel::{
    prelude::*,
    uaccess::UserSliceReader, //
};
use zerocopy::{
    FromBytes,
    IntoBytes, //
};

/// Checks that fields that user space must leave zero are.
///
/// Fails with `EINVAL`.
pub(crate) fn must_be_zero(fields: &[u64]) -> Result {
    if fields.iter().any(|field| *field != 0) {
        return Err(EINVAL);
    }
    Ok(())
}

/// Checks that there are no other flags than `known`. Fails with `EINVAL`.
pub(crate) fn check_flags(flags: u32, known: u32) -> Result {
    must_be_zero(&[u64::from(flags & !known)])
}

/// Reads an element of an array of user space. Sleeps. Fails with `EFAULT`.
pub(crate) fn read_element<T: FromBytes + IntoBytes>(reader: &mut UserSliceReader) -> Result<T> {
    let mut element = T::new_zeroed();

    reader.read_slice(element.as_mut_bytes())?;
    Ok(element)
}
