// SPDX-License-Identifier: GPL-2.0

//! Virtual address spaces of the engines.
//!
//! - [`object`]: a VM as files know it: its life, binds that wait, bans.
//! - [`bind`]: mapping and unmapping.
//! - [`space`]: page tables and mappings, and the steps by which they change.
//! - [`memory`]: the memory of buffers there, known and taken away.
//! - [`page_table`]: what the MMU walks.
//! - [`tables`]: where that is, and how it is written.
//! - [`context`]: the device's contexts.
//! - [`export`]: a VM as a file descriptor; [`user`]: other drivers that take it; [`handles`]: who
//!   has it.
//! - [`activity`], [`accesses`], [`limbo`]: what engines may still be using after it was unmapped.
//! - [`ended`]: what they may still be using after the VM was destroyed.
//! - [`ban`]: what becomes of a VM in which a job failed.

mod accesses;
mod activity;
mod ban;
mod bind;
mod context;
mod ended;
mod export;
mod handles;
mod limbo;
mod memory;
mod object;
pub(crate) mod page_table;
mod report;
mod space;
mod tables;
mod user;

pub(crate) use self::ban::{
    Ban,
    Cause, //
};
pub(crate) use self::bind::{
    Bind,
    BindError,
    Operation, //
};
pub(crate) use self::context::Contexts;
pub(crate) use self::memory::{
    evict,
    evict_weak,
    expire_weak, //
};
pub(crate) use self::object::Vm;
pub(crate) use self::report::{
    report_page_tables,
    report_vms, //
};
pub(crate) use self::space::GpuVm;
pub(crate) use self::user::DeviceVms;
