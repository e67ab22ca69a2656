// SPDX-License-Identifier: GPL-2.0

//! GEM: buffers of a DRM device.
//!
//! C header: [`include/drm/drm_gem.h`](srctree/include/drm/drm_gem.h)
//!
//! An [`Object`] is either private, then the driver alone knows where its memory is, or backed by
//! shmem, then [`ShmemPages`] gives its pages. Both are refcounted, named by handles in files, and
//! mapped to userspace by page faults that end in [`DriverObject::fault`].

mod handle;
mod object;
mod resv;
mod shmem;
mod stats;
mod vm;
mod weak;

pub use self::object::{
    Object,
    Resv, //
};
pub use self::shmem::{
    DmaMap,
    ShmemPages, //
};
pub use self::vm::{
    Caching,
    IoWindow,
    VmFault,
    VmFaultResult, //
};
pub use self::weak::WeakRef;

use super::{
    DmaBuf,
    Driver,
    File, //
};
use kernel::{
    bindings,
    build_error,
    error::VTABLE_DEFAULT_ERROR,
    prelude::*,
    sync::aref::ARef, //
};

/// The type of the open files of the driver of `T`.
pub type ObjectFile<T> = File<<<T as DriverObject>::Driver as Driver>::File>;

/// Private data of a GEM object, and what the driver does with it.
///
/// The data is dropped when the last reference to the [`Object`] is gone, before anything of the
/// GEM object itself is torn down. This may happen in any context in which such a reference is
/// dropped, and may sleep. The data must not hold a reference to its own [`Object`].
#[vtable]
pub trait DriverObject: Sync + Send + Sized + 'static {
    /// The driver of the object's device.
    type Driver: Driver<Object = Self>;

    /// Called when a handle to the object is created in `file`; on error it is not.
    ///
    /// The device may be unplugged. May sleep.
    fn open(_obj: &Object<Self>, _file: &ObjectFile<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when a handle to the object is closed in `file`, for each successful
    /// [`open`](Self::open).
    ///
    /// The device may be unplugged. May sleep.
    fn close(_obj: &Object<Self>, _file: &ObjectFile<Self>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when the object is about to be mapped to userspace; an error is that of `mmap(2)`.
    ///
    /// Called with the caller's `mmap_lock` held for writing: takes only locks that are never held
    /// while accessing user memory. May sleep.
    fn mmap(_obj: &Object<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// How the CPU caches the object; the default is [`Caching::WriteCombined`].
    ///
    /// Called for each mapping after [`mmap`](Self::mmap), under the same conditions.
    fn mmap_caching(_obj: &Object<Self>) -> Caching {
        Caching::WriteCombined
    }

    /// Handles a page fault: makes the page there, or says why that is impossible.
    ///
    /// Without this method the object cannot be mapped; `mmap(2)` fails with `EINVAL`.
    ///
    /// The device is not unplugged while this runs (it runs in a section of
    /// [`Device::enter`](super::Device::enter)); a fault on an unplugged device gets SIGBUS
    /// without asking the driver. Called with the `mmap_lock` or the VMA's lock held for reading:
    /// takes only locks that are never held while accessing user memory. May sleep.
    ///
    /// # Faults against unmapping
    ///
    /// When the memory of an object goes away or moves, the driver removes the CPU's mappings with
    /// [`Object::unmap_cpu`] (or [`Device::unmap_all_cpu`](super::Device::unmap_all_cpu)). A fault
    /// that runs at the same time could put back what was just removed. To exclude this, the
    /// driver needs a lock, such as the object's reservation lock or a mutex, with which
    ///
    /// - `fault` looks up where the memory is, *and* inserts the page, without dropping the lock
    ///   in between;
    /// - whoever takes the memory away records that it is gone, and calls `unmap_cpu` afterwards.
    ///   The record is made with the lock held; `unmap_cpu` may be called with or without it.
    ///
    /// Then a fault either inserts its page before the record, and `unmap_cpu` removes it, or
    /// finds the record.
    fn fault(_obj: &Object<Self>, _fault: &mut VmFault) -> VmFaultResult {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes a dma-buf of the object (`DRM_IOCTL_PRIME_HANDLE_TO_FD`).
    ///
    /// `flags` are `O_CLOEXEC` and an access mode. The dma-buf must hold a reference to the object
    /// as long as it lives. It can be mapped to userspace only if it shares the device's address
    /// space, see [`Object::share_mappings`].
    ///
    /// Without this method exports fail with `EOPNOTSUPP`. Called with the file's PRIME lock and
    /// `drm_device.object_name_lock` held: must not create handles, nor call [`Object::dma_buf`].
    /// May sleep.
    fn export(_obj: &Object<Self>, _flags: u32) -> Result<ARef<DmaBuf>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// What state the object is in, for statistics.
    ///
    /// Called with a spinlock held: must not sleep.
    fn status(_obj: &Object<Self>) -> ObjectStatus {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// How many bytes of the object are resident, for statistics; the default is its size.
    ///
    /// Called with a spinlock held: must not sleep.
    fn rss(_obj: &Object<Self>) -> usize {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// The state of a GEM object, a set of flags.
///
/// C: `enum drm_gem_object_status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectStatus(bindings::drm_gem_object_status);

impl ObjectStatus {
    /// None of the below.
    pub const NONE: Self = Self(0);
    /// The object has its backing storage now.
    pub const RESIDENT: Self = Self(bindings::drm_gem_object_status_DRM_GEM_OBJECT_RESIDENT);
    /// The object's content may be thrown away.
    pub const PURGEABLE: Self = Self(bindings::drm_gem_object_status_DRM_GEM_OBJECT_PURGEABLE);
    /// The device works on the object now.
    pub const ACTIVE: Self = Self(bindings::drm_gem_object_status_DRM_GEM_OBJECT_ACTIVE);

    /// All flags.
    pub const fn all() -> Self {
        Self(Self::RESIDENT.0 | Self::PURGEABLE.0 | Self::ACTIVE.0)
    }

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the flags as C has them.
    pub const fn as_raw(self) -> bindings::drm_gem_object_status {
        self.0
    }
}

impl core::ops::BitOr for ObjectStatus {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
