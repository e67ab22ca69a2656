// SPDX-License-Identifier: GPL-2.0

//! Negotiated interconnects between the exporter and the importers of a dma-buf.
//!
//! C header: [`include/linux/dma-buf-interconnect.h`](srctree/include/linux/dma-buf-interconnect.h)
//!
//! The core of this is one implementation for drivers in C and in Rust: the functions of the header
//! are functions of this module.
//!
//! # Parts
//!
//! - [`Type`] is what exporter and importer agree on: [`Sgt`], [`Iov`], or a [`PrivateType`] that
//!   Rust drivers define among themselves. C drivers define theirs as the header says.
//! - [`Exporter`] names what a buffer has to offer, and [`Maps`] maps it.
//! - [`Attachment::negotiate`](super::Attachment::negotiate) attaches, and
//!   [`Attachment::map_as`](super::Attachment::map_as) maps what was negotiated.
//! - [`BufferState`] is the flag and the count by which [`revoke`] takes a buffer back.
//!
//! # Lifetime model
//!
//! Operations and descriptors are static data of modules. Operations are in a registry while their
//! [`Registration`] exists. A negotiated attachment has references on the modules of exporter,
//! importer and type, on the buffer and on the device, until the last reference to it is dropped:
//! that is when the importer's [`Attachment`](super::Attachment) goes, and not when unbinding its
//! device has detached it. So what [`negotiated()`](super::Attachment::negotiated) returns is good
//! as long as the attachment, and no callback is called after its code has gone.
//!
//! # Locking
//!
//! Negotiating needs no lock, and calls out without any. Mapping needs the reservation lock, which
//! protects the counts; it neither takes another lock nor allocates. The tables of operations and the list of
//! attachments have spinlocks, which are held for a look-up and not longer.
//!
//! # Known limits
//!
//! - A [`PrivateType`] is for Rust drivers. For one that C drivers speak, too, [`Type`] has to be
//!   implemented for the C structures.
//! - An exporter that is being unloaded is [`ENODEV`](kernel::error::code::ENODEV) for importers,
//!   although its buffers could still give a scatterlist.

mod buffer;
mod debugfs;
mod descriptor;
mod exporter;
mod exporter_side;
mod importer;
mod iov;
mod list;
mod mapping;
pub(super) mod negotiation;
mod private;
pub(super) mod record;
mod registry;
mod sgt;
mod table;
mod types;

pub use buffer::{
    BufferState,
    Left, //
};
pub use debugfs::Directory;
pub use descriptor::StaticType;
pub(super) use exporter::collect;
pub use exporter::{
    restore,
    revoke,
    Exporter,
    ExporterOps,
    Maps,
    Negotiation,
    Registration,
    MAX_SIDES, //
};
pub use exporter_side::{
    ExporterSide,
    IovExporter,
    PrivateExporter,
    SgtExporter, //
};
pub use importer::{
    ImporterOps,
    ImporterSide,
    IovImporter,
    PrivateImporter,
    SgtImporter, //
};
pub use negotiation::no_match;
pub use private::{
    Descriptor,
    Pair,
    Private,
    PrivateType, //
};
pub use types::{
    Iov,
    IovMapping,
    IovMatch,
    IovRange,
    IovRanges,
    NativeType,
    Sgt,
    Type, //
};

/// Prepares the registry.
///
/// # Safety
///
/// Must be called once, by the initialisation of the module that is home of this crate, before any
/// other module can use it.
pub unsafe fn init() {
    // SAFETY: By the safety requirements.
    unsafe {
        registry::init();
        record::init();
    }
}
