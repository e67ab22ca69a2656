// SPDX-License-Identifier: GPL-2.0

//! Buffers: GEM objects in LMEM, in system memory, or imported from somebody else.
//!
//! - [`buffer`]: what they have in common: creation, mapping to user space, their error.
//! - [`backing`]: where the memory is, and how the device addresses it.
//! - [`local`]: LMEM of a buffer, and its way into the aperture.

mod backing;
mod buffer;
mod local;

pub(crate) use self::backing::{
    Backing,
    Cut,
    Segment, //
};
pub(crate) use self::buffer::{
    create,
    is_active,
    Buffer,
    BufferData,
    Request, //
};
pub(crate) use self::local::LocalMemory;
