// SPDX-License-Identifier: GPL-2.0

//! SR-IOV, on the PF.
//!
//! - [`lmtt`]: the table through which a VF reaches LMEM.
//! - [`provision`]: which VF has which part of LMEM, and how it gets and loses it.
//! - [`record`]: what others may know of that, and rely on.
//! - [`resets`]: resets of VFs.
//! - [`admin`]: `sriov_admin/` in sysfs.

mod admin;
mod lmtt;
mod provision;
mod record;
mod resets;

pub(crate) use self::admin::Admin;
pub(crate) use self::provision::Provisioning;
pub(crate) use self::record::{
    Hold,
    Record, //
};
pub(crate) use self::resets::VfResets;
