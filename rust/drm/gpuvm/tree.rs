// SPDX-License-Identifier: GPL-2.0

//! The right to look at and change the mappings of a VM.

use super::{
    DriverVm,
    Va,
    VaRemoved,
    Vm, //
};
use core::{
    marker::PhantomData,
    ops::{
        Deref,
        Range, //
    },
    ptr, //
};
use kernel::{
    bindings,
    container_of,
    sync::aref::ARef, //
};

/// The tree of mappings of a VM, and a reference to the VM.
///
/// There is one for each VM. The driver keeps it in a mutex, outside of the VM's data (or it would
/// never be freed). It dereferences to the VM.
///
/// Dropping it removes all mappings that are left, without a step for them, and calls
/// [`Vm::deferred_cleanup`]. It sleeps and takes the VM's reservation lock, see the
/// [module](super#lifetime-model).
///
/// # Invariants
///
/// There is no other for the same VM.
pub struct VmTree<T: DriverVm>(ARef<Vm<T>>);

impl<T: DriverVm> VmTree<T> {
    /// # Safety
    ///
    /// There must be no other `VmTree` for the VM.
    pub(super) unsafe fn new(vm: ARef<Vm<T>>) -> Self {
        // INVARIANT: By the safety requirements.
        Self(vm)
    }

    /// Returns a reference to the VM.
    pub fn vm(&self) -> ARef<Vm<T>> {
        self.0.clone()
    }

    /// Returns the mapping at `addr`.
    ///
    /// C: `drm_gpuva_find_first()`.
    pub fn find(&self, addr: u64) -> Option<&Va<T>> {
        self.find_first(addr..addr.checked_add(1)?)
    }

    /// Returns the first mapping that has an address in `range`.
    ///
    /// C: `drm_gpuva_find_first()`.
    pub fn find_first(&self, range: Range<u64>) -> Option<&Va<T>> {
        if range.is_empty() {
            return None;
        }

        // SAFETY: The VM is initialised, and only who has the `VmTree` accesses its tree. The range
        // is not empty.
        let va = unsafe {
            bindings::drm_gpuva_find_first(self.as_raw(), range.start, range.end - range.start)
        };

        // SAFETY: In the tree there are `Va<T>`s only, and none leaves it while `self` is borrowed.
        (!va.is_null()).then(|| unsafe { Va::from_raw(va) })
    }

    /// Returns the mappings in the order of their addresses.
    pub fn iter(&self) -> Vas<'_, T> {
        // SAFETY: The VM is initialised, and only who has the `VmTree` accesses its list.
        self.iter_from(unsafe { (*self.head()).next }, u64::MAX)
    }

    /// Returns the mappings that have addresses in `range`, in their order.
    pub fn iter_range(&self, range: Range<u64>) -> Vas<'_, T> {
        let first = match self.find_first(range.clone()) {
            // SAFETY: The mapping is in the list.
            Some(va) => unsafe { &raw mut (*va.as_raw()).rb.entry },
            None => self.head(),
        };

        self.iter_from(first, range.end)
    }

    fn iter_from(&self, next: *mut bindings::list_head, end: u64) -> Vas<'_, T> {
        // INVARIANT: Nothing changes while `self` is borrowed.
        Vas {
            head: self.head(),
            next,
            end,
            _tree: PhantomData,
        }
    }

    /// The list of all mappings.
    fn head(&self) -> *mut bindings::list_head {
        // SAFETY: The VM is initialised.
        unsafe { &raw mut (*self.as_raw()).rb.list }
    }
}

impl<T: DriverVm> Deref for VmTree<T> {
    type Target = Vm<T>;

    fn deref(&self) -> &Vm<T> {
        &self.0
    }
}

impl<T: DriverVm> Drop for VmTree<T> {
    fn drop(&mut self) {
        loop {
            let Some(va) = self.iter().next().map(Va::as_raw) else {
                break;
            };

            // SAFETY: It is a `Va<T>` in the tree, which only this accesses.
            drop(unsafe { remove::<T>(va) });
        }
        self.deferred_cleanup();
    }
}

/// Takes a mapping out of its list and its tree.
///
/// # Safety
///
/// `va` must be part of a `Va<T>` in the tree of a `Vm<T>` to which the caller has exclusive access,
/// and must not be used afterwards.
pub(super) unsafe fn remove<T: DriverVm>(va: *mut bindings::drm_gpuva) -> VaRemoved<T> {
    // SAFETY: It is in the tree, and in a list if it has an object, by the safety requirements.
    // First comes the list, so that nobody finds it when it is given back.
    unsafe {
        bindings::drm_gpuva_unlink_defer(va);
        bindings::drm_gpuva_remove(va);
    }

    // SAFETY: Everything in a tree came from `VaAlloc::into_raw`.
    unsafe { VaRemoved::from_raw(va) }
}

/// The mappings of a VM, in the order of their addresses.
///
/// # Invariants
///
/// `head` is the list of mappings of a [`Vm<T>`], which does not change during `'t`, and `next` is
/// an entry of it, or `head`.
pub struct Vas<'t, T: DriverVm> {
    head: *mut bindings::list_head,
    next: *mut bindings::list_head,
    end: u64,
    _tree: PhantomData<&'t VmTree<T>>,
}

impl<'t, T: DriverVm> Iterator for Vas<'t, T> {
    type Item = &'t Va<T>;

    fn next(&mut self) -> Option<&'t Va<T>> {
        if ptr::eq(self.next, self.head) {
            return None;
        }

        // SAFETY: By the type invariants it is part of a `struct drm_gpuva`.
        let va = unsafe { container_of!(self.next, bindings::drm_gpuva, rb.entry) };
        // SAFETY: There are `Va<T>`s only, and none leaves the tree during `'t`.
        let va = unsafe { Va::<T>::from_raw(va) };
        if va.range().start >= self.end {
            return None;
        }

        // SAFETY: By the type invariants.
        self.next = unsafe { (*self.next).next };
        Some(va)
    }
}
