// SPDX-License-Identifier: GPL-2.0

//! Buffers: GEM objects in LMEM, in system memory, or imported from somebody else.
//!
//! - [`buffer`]: what they have in common: creation, mapping to user space, their error.
//! - [`backing`]: where the memory is, and how the device addresses it.

mod backing;
mod buffer;

pub(crate) use self::backing::{
    Backing,
    Segment, //
};
pub(crate) use self::buffer::{
    create,
    is_active,
    Buffer,
    BufferData,
    Request, //
};
