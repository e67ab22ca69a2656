// SPDX-License-Identifier: GPL-2.0

//! Buffers shared with other devices, as dma-bufs.
//!
//! - [`request`]: making exports, whole and in part.
//! - [`export`]: what importers of an export get; [`access`]: what they may do with it;
//!   [`admission`]: who becomes one.
//! - [`interconnect`]: what the PF gets of memory of its VFs.
//! - [`import`]: memory of others; [`peer`]: its mapping; [`native`]: that of a VF's memory on its
//!   PF; [`path`]: which way it is used.
//! - [`stale`]: a mapping that the exporter wants back.
//! - [`imports`]: what a device has imported.
//! - [`own_imports`]: exports that came back to their device.
//! - [`state`]: what a device has exported, and whether importers get mappings of it.
//! - [`revoke`]: taking back what importers have; [`lingering`]: what they work on when they have
//!   let go of it.
//! - [`owner`]: having a device to oneself, for importers that cannot be revoked.
//! - [`report`]: what is exported, in debugfs.

mod access;
mod admission;
mod export;
mod import;
mod imports;
mod interconnect;
mod lingering;
mod link;
mod native;
mod own_imports;
mod owner;
mod path;
mod peer;
mod report;
mod request;
mod revoke;
mod stale;
mod state;

pub(crate) use self::access::Access;
pub(crate) use self::import::{
    import,
    Import, //
};
pub(crate) use self::imports::Imports;
pub(crate) use self::interconnect::Registrations;
pub(crate) use self::native::Pieces;
pub(crate) use self::owner::{
    OpenFile,
    Ownership, //
};
pub(crate) use self::path::{
    Path,
    Reason, //
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
pub(crate) use self::stale::{
    while_stale,
    Patience,
    STALE, //
};
pub(crate) use self::state::{
    Exports,
    Sharing, //
};
