// SPDX-License-Identifier: GPL-2.0

//! GPUVM: which part of which GEM object is mapped where in a device's virtual address space.
//!
//! C header: [`include/drm/drm_gpuvm.h`](srctree/include/drm/drm_gpuvm.h)
//!
//! This is GPUVM in immediate mode, protected by the reservation lock of the VM
//! (`DRM_GPUVM_IMMEDIATE_MODE`, `DRM_GPUVM_RESV_PROTECTED`): the tree of mappings changes when the
//! page tables do, also where a fence waits to be signalled and no memory may be allocated.
//! Addresses, sizes and offsets are in bytes.
//!
//! # Parts
//!
//! - [`Vm`] is the VM: a range of addresses, a reservation object, the driver's data ([`DriverVm`]).
//! - [`Va`] is a mapping: a range of addresses, and what is there: a part of a GEM object, or
//!   nothing ("null mapping"). Memory for it is allocated beforehand, as [`VaAlloc`] or in a
//!   [`VaPool`].
//! - [`VmBo`] is the fact that an object is used in a VM, with the mappings of the object. It is
//!   allocated beforehand as [`VmBoAlloc`], and referenced by [`VmBoRef`].
//! - [`VmTree`] is the right to look at and change the mappings. There is one for each VM. The
//!   driver keeps it in a mutex. [`VmTree::sm_map`] and [`VmTree::sm_unmap`] call the driver with
//!   steps: [`MapOp`], [`UnmapOp`], [`RemapOp`].
//! - [`Locking`](super::exec::Locking) and [`Locked`](super::exec::Locked) have methods for VMs.
//!
//! # Lifetime model
//!
//! Who keeps what alive:
//!
//! - A [`Vm`] holds the [`Device`](super::Device), the object of its reservation lock, and the
//!   driver's data.
//! - A [`VmBo`] holds its object and its VM; a [`Va`] holds its VM and, through its [`VmBo`], its
//!   object. What is mapped stays.
//! - [`VmTree`], [`VmBoRef`], [`VmBoAlloc`] and `ARef<Vm>` are *users* of the VM.
//!
//! A [`Va`] holds the VM and the VM leads to the [`Va`], a circle that somebody has to open: the
//! [`VmTree`], when it is dropped, removes all mappings that are left, without steps. A driver that
//! has page tables to empty unmaps everything before, with [`VmTree::sm_unmap`].
//!
//! The last reference to a [`VmBo`] may go where sleeping on reservation locks is forbidden, but
//! taking it off the lists of the VM needs that lock. It is therefore put aside, with its data and
//! its reference to the object, until [`Vm::deferred_cleanup`], which the driver calls after it has
//! unmapped something and has released its locks. Dropping the [`VmTree`] calls it as well, and so
//! does the last user of the VM, when there is nobody left who could. The VM itself is freed there.
//! Hence nothing leaks, and hence dropping a *last* user of a VM may sleep and takes the VM's
//! reservation lock: it must happen neither with a reservation lock held nor in the signalling path
//! of a fence. [`Locked`](super::exec::Locked) borrows the VMs that it has locked, for that reason.
//!
//! As with all of [`drm`](super), who keeps a [`Vm`] keeps the driver's module loaded.
//!
//! # Locks
//!
//! From the outside to the inside: reservation locks (one, or any number with
//! [`Exec`](super::exec::Exec)); the driver's lock of the [`VmTree`]; `gpuva.lock` of an object.
//!
//! - The reservation lock of an object protects whether it is evicted; that of the VM, which is
//!   also that of objects that were made for this VM only, protects the VM's lists of evicted
//!   objects and of external ones, those with a reservation object of their own.
//! - `gpuva.lock` protects the list of an object's [`VmBo`]s and of their mappings. It is taken in
//!   the signalling path: no allocation with it held, in [`Object::for_each_vm_bo`] and
//!   [`VmBo::with_vas`], and no dropping of a [`VmBoRef`] of the object, which may take it.
//!
//! # Page tables against eviction
//!
//! Whoever takes the memory of an object away finds the page table entries to clear through the
//! object's mappings. A mapping must therefore be there as long as there are entries for it:
//!
//! - a map step calls [`MapOp::insert`] first, and writes entries afterwards;
//! - an unmap step clears the entries first, and calls [`UnmapOp::remove`] afterwards;
//! - a remap step clears those of [`RemapOp::hole`] first, and calls [`RemapOp::remap`] afterwards,
//!   which puts the remains in the place of the old mapping in one go.
//!
//! Entries are written by the holder of the [`VmTree`] only: by steps, and by
//! [`DriverVm::validate`], which takes the driver's lock of the tree for that. Otherwise it could
//! write those of a mapping whose unmap step is about to remove it.
//!
//! Where the memory is belongs into [`DriverVm::VmBoData`], under the lock of the page tables, which
//! the step takes to look it up *and* write entries, and the one who takes it away to erase it *and*
//! clear them.
//!
//! # Known limits
//!
//! - There are no lists of operations (`drm_gpuvm_sm_map_ops_create()`), no prefetch and no madvise
//!   operations, no range that is reserved for the kernel, and no locking of the objects of a range
//!   (`drm_gpuvm_prepare_range()`), which would need the tree before the reservation locks.
//! - Mappings are never merged.
//! - Leaking a [`VmTree`], [`VmBoRef`] or [`VmBoAlloc`] with [`core::mem::forget`] leaks the VM.
//!
//! [`Object::for_each_vm_bo`]: super::gem::Object::for_each_vm_bo

mod list;
mod prepare;
mod sm;
mod steps;
mod tree;
mod va;
mod vm;
mod vm_bo;

pub use self::list::{
    Linked,
    LinkedVas, //
};
pub use self::sm::MapRequest;
pub use self::steps::{
    MapOp,
    Mapped,
    Piece,
    RemapOp,
    Remapped,
    UnmapOp,
    Unmapped, //
};
pub use self::tree::{
    Vas,
    VmTree, //
};
pub use self::va::{
    Va,
    VaAlloc,
    VaPool,
    VaRemoved, //
};
pub use self::vm::Vm;
pub use self::vm_bo::{
    VmBo,
    VmBoAlloc,
    VmBoRef, //
};

use super::{
    gem::Object,
    Driver, //
};
use crate::dma_resv::Guard;
use kernel::prelude::*;

/// The GEM objects of the driver of `T`.
pub type VmObject<T> = Object<<<T as DriverVm>::Driver as Driver>::Object>;

/// How many [`Va`]s a call of [`VmTree::sm_map`] needs at most: the new one, and what is left of
/// old ones on both sides.
pub const VAS_PER_MAP: usize = 3;

/// How many [`Va`]s a call of [`VmTree::sm_unmap`] needs at most: what is left on both sides.
pub const VAS_PER_UNMAP: usize = 2;

/// Private data of a VM, and what the driver does with it.
///
/// The data is shared by all who have the [`Vm`], and dropped with it. It must not hold a reference
/// to its own [`Vm`], nor a [`VmBoRef`] or the [`VmTree`] of it.
pub trait DriverVm: Sized + Send + Sync + 'static {
    /// The driver of the VM's device.
    type Driver: Driver;

    /// Data of a mapping.
    ///
    /// It can be seen by the holder of the [`VmTree`] and of the object's `gpuva.lock` at a time.
    /// Dropped wherever [`VaRemoved`] is.
    type VaData: Send + Sync;

    /// Data of an object in a VM.
    ///
    /// Dropped when the [`VmBo`] is cleaned up, see [`Vm::deferred_cleanup`]; may sleep. Or in
    /// [`VmBoAlloc::obtain`] if it was not needed. It must not hold a reference to its own
    /// [`VmBo`].
    type VmBoData: Send + Sync;

    /// What the caller of [`VmTree::sm_map`] and [`VmTree::sm_unmap`] hands to the steps.
    type Context<'c>;

    /// A mapping is to be made, in a range where there is none.
    ///
    /// See the [module](self#page-tables-against-eviction) for the order of things. On error the
    /// call of [`VmTree::sm_map`] ends with it. May sleep, if the caller may.
    fn map<'op>(op: MapOp<'op, Self>, context: &mut Self::Context<'_>)
        -> Result<Mapped<'op, Self>>;

    /// A mapping is to be removed as a whole.
    ///
    /// As for [`map`](Self::map).
    fn unmap<'op>(
        op: UnmapOp<'op, Self>,
        context: &mut Self::Context<'_>,
    ) -> Result<Unmapped<'op, Self>>;

    /// A mapping loses a part: one or two smaller ones take its place.
    ///
    /// As for [`map`](Self::map).
    fn remap<'op>(
        op: RemapOp<'op, Self>,
        context: &mut Self::Context<'_>,
    ) -> Result<Remapped<'op, Self>>;

    /// An object that was evicted is to be made usable again, see
    /// [`Locked::validate`](super::exec::Locked::validate).
    ///
    /// Called with the reservation locks of the VM and of the object held, the latter being
    /// `guard`. On success the object does not count as evicted any more. May sleep.
    fn validate(_vm_bo: &VmBo<Self>, _guard: &mut Guard<'_>) -> Result {
        Err(EOPNOTSUPP)
    }
}
