// SPDX-License-Identifier: GPL-2.0

//! Buffers shared with other devices, as dma-bufs.
//!
//! - [`export`]: LMEM for PCIe peers, as a whole.
//! - [`import`]: memory of others.
//! - [`revoke`]: taking back what peers have.

mod export;
mod import;
mod revoke;

pub(crate) use self::export::export;
pub(crate) use self::import::{
    import,
    Import, //
};
pub(crate) use self::revoke::{
    invalidate_all,
    revoke_all, //
};
