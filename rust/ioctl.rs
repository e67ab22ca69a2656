// SPDX-License-Identifier: GPL-2.0

//! Arguments of ioctls.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use zerocopy::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

/// A structure that an ioctl takes and gives back.
///
/// All patterns of bits are valid, and there is no padding through which memory of the kernel could
/// leak. Implemented for everything that derives what it needs.
pub trait Argument: FromBytes + IntoBytes + Immutable {}

impl<A: FromBytes + IntoBytes + Immutable> Argument for A {}

/// Calls `f` with a copy of the structure at the user address `arg`, and copies it back if `f`
/// succeeds.
///
/// Sleeps. What `f` has done is not undone when the copying back fails.
///
/// # Errors
///
/// `EFAULT`, and those of `f`.
pub fn with_argument<A: Argument, R>(arg: usize, f: impl FnOnce(&mut A) -> Result<R>) -> Result<R> {
    let slice = UserSlice::new(UserPtr::from_addr(arg), size_of::<A>());
    let (mut reader, mut writer) = slice.reader_writer();
    let mut argument = A::new_zeroed();

    reader.read_slice(argument.as_mut_bytes())?;
    let ret = f(&mut argument)?;
    writer.write_slice(argument.as_bytes())?;
    Ok(ret)
}
