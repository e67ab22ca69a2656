// SPDX-License-Identifier: GPL-2.0

//! Buffers shared with other devices, as dma-bufs.
//!
//! - [`request`]: making exports, whole and in part.
//! - [`export`]: what importers of an export get.
//! - [`import`]: memory of others.
//! - [`own_imports`]: exports that came back to their device.
//! - [`state`]: what a device has exported, and whether importers get mappings of it.
//! - [`revoke`]: taking back what importers have.
//! - [`owner`]: having a device to oneself, for importers that cannot be revoked.
//! - [`report`]: what is exported, in debugfs.

mod export;
mod import;
mod own_imports;
mod owner;
mod report;
mod request;
mod revoke;
mod state;

pub(crate) use self::export::Access;
pub(crate) use self::import::{
    import,
    Import, //
};
pub(crate) use self::owner::{
    OpenFile,
    Ownership, //
};
pub(crate) use self::report::exports as report_exports;
pub(crate) use self::request::{
    check_range,
    export,
    export_range,
    importers, //
};
pub(crate) use self::revoke::{
    allow,
    allow_all,
    is_revoked,
    revoke,
    revoke_all,
    suspend_all, //
};
pub(crate) use self::state::{
    Exports,
    Sharing, //
};
