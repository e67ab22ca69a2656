// SPDX-License-Identifier: GPL-2.0

//! Ioctls; `include/uapi/drm/hlrs_accel.h` says what they do and how they fail.
//!
//! - [`query`]: what the device is like.
//! - [`mem`]: buffers, and operations on them.
//! - [`export`]: buffers as dma-bufs, and taking them back.
//! - [`own`]: having the device to oneself.

pub(crate) mod export;
pub(crate) mod mem;
pub(crate) mod own;
pub(crate) mod query;

use kernel::prelude::*;

/// Checks that fields that user space must leave zero are.
///
/// Fails with `EINVAL`.
fn must_be_zero(fields: &[u64]) -> Result {
    if fields.iter().any(|field| *field != 0) {
        return Err(EINVAL);
    }
    Ok(())
}

/// Checks that there are no other flags than `known`. Fails with `EINVAL`.
fn check_flags(flags: u32, known: u32) -> Result {
    must_be_zero(&[u64::from(flags & !known)])
}
