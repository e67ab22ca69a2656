// SPDX-License-Identifier: GPL-2.0

//! Mappings, and the memory for them.

use super::{
    DriverVm,
    Vm,
    VmBo,
    VmObject, //
};
use core::{
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Range, //
};
use kernel::{
    alloc::Flags,
    bindings,
    container_of,
    prelude::*,
    types::Opaque, //
};

/// A mapping in a VM. C: `struct drm_gpuva`.
///
/// It does not change: where something else is to be, others take its place.
///
/// # Invariants
///
/// - It is allocated as a `KBox`.
/// - A reference is given out only while `va` is in the tree of a [`Vm<T>`], or in the list of a
///   [`VmBo`], and `data` is initialised.
#[repr(C)]
pub struct Va<T: DriverVm> {
    va: Opaque<bindings::drm_gpuva>,
    data: MaybeUninit<T::VaData>,
}

// SAFETY: A mapping may be removed by any thread, and its data is `Send`.
unsafe impl<T: DriverVm> Send for Va<T> {}

// SAFETY: The methods on a shared `Va` read what does not change while it is in the tree. Its data
// is `Sync`.
unsafe impl<T: DriverVm> Sync for Va<T> {}

impl<T: DriverVm> Va<T> {
    /// Converts a `struct drm_gpuva` back into the [`Va`] that it is part of.
    ///
    /// # Safety
    ///
    /// `ptr` must point to the `struct drm_gpuva` of a `Va<T>` that stays in the tree of its VM, or
    /// in the list of its [`VmBo`], during `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *const bindings::drm_gpuva) -> &'a Self {
        // SAFETY: By the safety requirements.
        unsafe { &*container_of!(Opaque::cast_from(ptr), Self, va) }
    }

    /// Returns the raw `struct drm_gpuva`.
    pub(super) fn as_raw(&self) -> *mut bindings::drm_gpuva {
        self.va.get()
    }

    /// Returns the addresses of the mapping.
    pub fn range(&self) -> Range<u64> {
        // SAFETY: By the type invariants the mapping is initialised, and does not change.
        let (addr, size) = unsafe { ((*self.as_raw()).va.addr, (*self.as_raw()).va.range) };

        // It is within the range of the VM.
        addr..addr + size
    }

    /// Returns the object that is mapped; `None` for a null mapping.
    pub fn obj(&self) -> Option<&VmObject<T>> {
        Some(self.vm_bo()?.obj())
    }

    /// Returns where in the object the mapping begins, in bytes. For a null mapping it has no
    /// meaning.
    pub fn offset(&self) -> u64 {
        // SAFETY: As in `range`.
        unsafe { (*self.as_raw()).gem.offset }
    }

    /// Returns the [`VmBo`] of the object; `None` for a null mapping.
    pub fn vm_bo(&self) -> Option<&VmBo<T>> {
        // SAFETY: As in `range`.
        let vm_bo = unsafe { (*self.as_raw()).vm_bo };

        // SAFETY: The mapping holds it.
        (!vm_bo.is_null()).then(|| unsafe { VmBo::from_raw(vm_bo) })
    }

    /// Returns the VM.
    pub fn vm(&self) -> &Vm<T> {
        // SAFETY: As in `range`; the mapping holds the VM, or the `VmBo` that it is listed in does.
        unsafe { Vm::from_raw((*self.as_raw()).vm) }
    }

    /// Returns the driver's data.
    pub fn data(&self) -> &T::VaData {
        // SAFETY: By the type invariants.
        unsafe { self.data.assume_init_ref() }
    }
}

/// Memory for a mapping.
///
/// # Invariants
///
/// Neither in a tree nor in a list; the data is not initialised.
pub struct VaAlloc<T: DriverVm>(KBox<Va<T>>);

impl<T: DriverVm> VaAlloc<T> {
    /// Allocates memory for a mapping. May sleep if `flags` allow it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(flags: Flags) -> Result<Self> {
        // INVARIANT: New.
        Ok(Self(KBox::new(
            Va {
                va: Opaque::uninit(),
                data: MaybeUninit::uninit(),
            },
            flags,
        )?))
    }

    /// Makes a mapping of it, which is to be put into a tree, or taken back with
    /// [`VaRemoved::from_raw`].
    ///
    /// All of the C structure is zero except for `flags`.
    pub(super) fn into_raw(
        self,
        flags: bindings::drm_gpuva_flags,
        data: T::VaData,
    ) -> *mut bindings::drm_gpuva {
        let mut this = self.0;

        this.data.write(data);
        this.va = Opaque::new(bindings::drm_gpuva {
            flags,
            ..Default::default()
        });
        let this = KBox::into_raw(this);

        // SAFETY: `this` is valid.
        unsafe { Opaque::cast_into(&raw const (*this).va) }
    }
}

/// A mapping that was removed, and that nobody else can see: its memory and its data.
///
/// Dropping it drops the data and frees the memory.
///
/// # Invariants
///
/// Neither in a tree nor in a list; the data is initialised.
pub struct VaRemoved<T: DriverVm>(KBox<Va<T>>);

impl<T: DriverVm> VaRemoved<T> {
    /// Takes back what [`VaAlloc::into_raw`] gave.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`VaAlloc::into_raw`] of the same type, and must not be used
    /// otherwise from now on. It must neither be in a tree nor in a list.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::drm_gpuva) -> Self {
        // SAFETY: By the safety requirements it is part of a `Va<T>`, that was a `KBox`, with
        // initialised data.
        Self(unsafe { KBox::from_raw(container_of!(Opaque::cast_from(ptr), Va<T>, va).cast_mut()) })
    }

    /// Returns the driver's data.
    pub fn data(&self) -> &T::VaData {
        // SAFETY: By the type invariants.
        unsafe { self.0.data.assume_init_ref() }
    }

    /// Takes it apart into memory for another mapping, and the data.
    pub fn into_parts(self) -> (VaAlloc<T>, T::VaData) {
        let this = ManuallyDrop::new(self);

        // SAFETY: `this` is not used again, and not dropped.
        let va = unsafe { core::ptr::read(&this.0) };
        // SAFETY: By the type invariants the data is initialised. It is read once.
        let data = unsafe { va.data.assume_init_read() };

        // INVARIANT: Neither in a tree nor in a list; the data was taken out.
        (VaAlloc(va), data)
    }
}

impl<T: DriverVm> Drop for VaRemoved<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the data is initialised. It is not used again.
        unsafe { self.0.data.assume_init_drop() };
    }
}

/// A stock of memory for mappings, so that operations need not allocate.
///
/// See [`VAS_PER_MAP`](super::VAS_PER_MAP) and [`VAS_PER_UNMAP`](super::VAS_PER_UNMAP) for how many
/// an operation takes.
pub struct VaPool<T: DriverVm>(KVec<VaAlloc<T>>);

impl<T: DriverVm> VaPool<T> {
    /// Makes an empty stock. Does not allocate.
    pub const fn new() -> Self {
        Self(KVec::new())
    }

    /// Makes it hold at least `count`. May sleep if `flags` allow it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; what was allocated stays in the stock.
    pub fn fill(&mut self, count: usize, flags: Flags) -> Result {
        let missing = count.saturating_sub(self.len());

        self.0.reserve(missing, flags)?;
        for _ in 0..missing {
            self.0.push(VaAlloc::new(flags)?, flags)?;
        }
        Ok(())
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one. Does not sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is none.
    pub fn take(&mut self) -> Result<VaAlloc<T>> {
        self.0.pop().ok_or(ENOMEM)
    }

    /// Puts one back, or frees it if the stock is as large as it ever was. Does not sleep.
    pub fn put(&mut self, va: VaAlloc<T>) {
        // What does not fit is dropped, with the error.
        let _ = self.0.push_within_capacity(va);
    }
}

impl<T: DriverVm> Default for VaPool<T> {
    fn default() -> Self {
        Self::new()
    }
}
