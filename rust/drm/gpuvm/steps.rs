// SPDX-License-Identifier: GPL-2.0

//! The steps in which the mappings of a VM change.
//!
//! A step is a value that the driver gets, and that it can only give back by carrying it out: what
//! it must return can be had in no other way. `'op` names one step, so that the results of two of
//! them cannot be mixed up.

use super::{
    list::GpuvaLock,
    tree,
    DriverVm,
    Va,
    VaAlloc,
    VaPool,
    VaRemoved,
    Vm,
    VmBo, //
};
use core::{
    marker::PhantomData,
    ops::Range,
    ptr, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// Makes `'op` a lifetime of its own, which neither grows nor shrinks.
type Brand<'op> = PhantomData<fn(&'op ()) -> &'op ()>;

/// A mapping is to be made, see [`DriverVm::map`].
///
/// # Invariants
///
/// `op` is a map operation for the VM `vm`, in the callback for it. Nothing is mapped in its range,
/// which is within the VM. `vm_bo` is that of its object.
pub struct MapOp<'op, T: DriverVm> {
    vm: &'op Vm<T>,
    vm_bo: Option<&'op VmBo<T>>,
    op: &'op bindings::drm_gpuva_op_map,
    _brand: Brand<'op>,
}

impl<'op, T: DriverVm> MapOp<'op, T> {
    /// # Safety
    ///
    /// `op` must be a valid map operation for `vm` and the object of `vm_bo`, in the callback for it,
    /// with nothing mapped in its range.
    pub(super) unsafe fn from_raw(
        vm: &'op Vm<T>,
        vm_bo: Option<&'op VmBo<T>>,
        op: *const bindings::drm_gpuva_op,
    ) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            vm,
            vm_bo,
            // SAFETY: By the safety requirements.
            op: unsafe { &(*op).__bindgen_anon_1.map },
            _brand: PhantomData,
        }
    }

    /// Returns the VM.
    pub fn vm(&self) -> &'op Vm<T> {
        self.vm
    }

    /// Returns the addresses.
    pub fn range(&self) -> Range<u64> {
        range(self.op)
    }

    /// Returns the object in the VM; `None` for a null mapping.
    pub fn vm_bo(&self) -> Option<&'op VmBo<T>> {
        self.vm_bo
    }

    /// Returns where in the object the mapping begins, in bytes.
    pub fn offset(&self) -> u64 {
        self.op.gem.offset
    }

    /// Makes the mapping. Whoever takes the memory of the object away will find it.
    ///
    /// Takes `gpuva.lock` of the object. C: `drm_gpuva_insert()`, `drm_gpuva_link()`.
    ///
    /// # Errors
    ///
    /// Those of `drm_gpuva_insert()`, which finds the range free and within the VM.
    pub fn insert(self, va: VaAlloc<T>, data: T::VaData) -> Result<Mapped<'op, T>> {
        let flags = match self.vm_bo {
            Some(_) => 0,
            None => bindings::drm_gpuva_flags_DRM_GPUVA_SPARSE,
        };
        let va = va.into_raw(flags, data);

        // SAFETY: `va` is ours, and in no tree. By the type invariants this is a step, whose caller
        // has the right to change the tree.
        let ret = unsafe {
            (*va).va.addr = self.op.va.addr;
            (*va).va.range = self.op.va.range;
            (*va).gem.obj = self.op.gem.obj;
            (*va).gem.offset = self.op.gem.offset;
            bindings::drm_gpuva_insert(self.vm.as_raw(), va)
        };
        if ret != 0 {
            // SAFETY: It comes from `into_raw`, and was not inserted.
            drop(unsafe { VaRemoved::<T>::from_raw(va) });
            to_result(ret)?;
        }

        if let Some(vm_bo) = self.vm_bo {
            let _lock = GpuvaLock::new(vm_bo.obj());
            // SAFETY: `va` is in the tree, and in no list; the lock of the list is held. The
            // mapping takes its own reference to `vm_bo`, to which the caller of `sm_map` has one.
            unsafe { bindings::drm_gpuva_link(va, vm_bo.as_raw()) };
        }

        // SAFETY: It stays in the tree until the next step, at the earliest.
        let va = unsafe { Va::from_raw(va) };
        Ok(Mapped {
            va,
            _brand: PhantomData,
        })
    }
}

/// A [`MapOp`] was carried out.
pub struct Mapped<'op, T: DriverVm> {
    va: &'op Va<T>,
    _brand: Brand<'op>,
}

impl<'op, T: DriverVm> Mapped<'op, T> {
    /// Returns the new mapping.
    pub fn va(&self) -> &'op Va<T> {
        self.va
    }
}

/// A mapping is to be removed, see [`DriverVm::unmap`].
///
/// # Invariants
///
/// `op` is an unmap operation, in the callback for it, for a [`Va<T>`].
pub struct UnmapOp<'op, T: DriverVm> {
    op: &'op bindings::drm_gpuva_op_unmap,
    _vm: PhantomData<&'op Vm<T>>,
    _brand: Brand<'op>,
}

impl<'op, T: DriverVm> UnmapOp<'op, T> {
    /// # Safety
    ///
    /// `op` must be a valid unmap operation for a [`Va<T>`], in the callback for it.
    pub(super) unsafe fn from_raw(op: *const bindings::drm_gpuva_op) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            // SAFETY: By the safety requirements.
            op: unsafe { &(*op).__bindgen_anon_1.unmap },
            _vm: PhantomData,
            _brand: PhantomData,
        }
    }

    /// Returns the mapping.
    pub fn va(&self) -> &Va<T> {
        // SAFETY: By the type invariants; it is removed by consuming `self` only.
        unsafe { Va::from_raw(self.op.va) }
    }

    /// Returns the VM.
    pub fn vm(&self) -> &Vm<T> {
        self.va().vm()
    }

    /// Whether the new mapping that this makes way for has the same part of the same object at the
    /// same addresses, so that page table entries could stay, if their attributes are the same.
    ///
    /// It is false for null mappings, and always in [`VmTree::sm_unmap`].
    pub fn keep(&self) -> bool {
        self.op.keep
    }

    /// Removes the mapping. Whoever takes the memory of the object away does not find it any more.
    ///
    /// Takes `gpuva.lock` of the object. If this was the last mapping of the object, and there is no
    /// [`VmBoRef`], the [`VmBo`] waits for [`Vm::deferred_cleanup`].
    ///
    /// C: `drm_gpuva_unlink_defer()`, `drm_gpuva_unmap()`.
    pub fn remove(self) -> (Unmapped<'op, T>, VaRemoved<T>) {
        // SAFETY: By the type invariants it is in the tree, which the caller of the step has the
        // right to change. `self` is gone, so that nobody uses it.
        let removed = unsafe { tree::remove(self.op.va) };

        (
            Unmapped {
                _vm: PhantomData,
                _brand: PhantomData,
            },
            removed,
        )
    }
}

/// An [`UnmapOp`] was carried out.
pub struct Unmapped<'op, T: DriverVm> {
    _vm: PhantomData<&'op Vm<T>>,
    _brand: Brand<'op>,
}

/// What is left of a mapping on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The addresses.
    pub range: Range<u64>,
    /// Where in the object it begins, in bytes. For a null mapping it has no meaning.
    pub offset: u64,
}

/// A mapping loses a part, see [`DriverVm::remap`].
///
/// # Invariants
///
/// `op` is a remap operation, in the callback for it, for a [`Va<T>`]. Its pieces are within that
/// mapping and do not overlap; there is at least one.
pub struct RemapOp<'op, T: DriverVm> {
    op: &'op bindings::drm_gpuva_op_remap,
    _vm: PhantomData<&'op Vm<T>>,
    _brand: Brand<'op>,
}

impl<'op, T: DriverVm> RemapOp<'op, T> {
    /// # Safety
    ///
    /// `op` must be a valid remap operation for a [`Va<T>`], in the callback for it.
    pub(super) unsafe fn from_raw(op: *const bindings::drm_gpuva_op) -> Self {
        // INVARIANT: By the safety requirements. The C side makes one for a mapping that begins before
        // the range or ends after it, with what is on those sides.
        Self {
            // SAFETY: By the safety requirements.
            op: unsafe { &(*op).__bindgen_anon_1.remap },
            _vm: PhantomData,
            _brand: PhantomData,
        }
    }

    fn unmap(&self) -> &bindings::drm_gpuva_op_unmap {
        // SAFETY: By the type invariants; a remap operation has this part.
        unsafe { &*self.op.unmap }
    }

    /// Returns the mapping as it was.
    pub fn va(&self) -> &Va<T> {
        // SAFETY: By the type invariants; it is removed by consuming `self` only.
        unsafe { Va::from_raw(self.unmap().va) }
    }

    /// Returns the VM.
    pub fn vm(&self) -> &Vm<T> {
        self.va().vm()
    }

    /// As [`UnmapOp::keep`], for [the part that goes](Self::hole).
    pub fn keep(&self) -> bool {
        self.unmap().keep
    }

    /// Returns what is left at the lower end.
    pub fn prev(&self) -> Option<Piece> {
        // SAFETY: By the type invariants it is null or valid.
        unsafe { self.op.prev.as_ref() }.map(piece)
    }

    /// Returns what is left at the upper end.
    pub fn next(&self) -> Option<Piece> {
        // SAFETY: By the type invariants it is null or valid.
        unsafe { self.op.next.as_ref() }.map(piece)
    }

    /// Returns the addresses that are not mapped any more afterwards.
    /// C: `drm_gpuva_op_remap_to_unmap_range()`.
    pub fn hole(&self) -> Range<u64> {
        let whole = self.va().range();
        let start = self.prev().map_or(whole.start, |piece| piece.range.end);
        let end = self.next().map_or(whole.end, |piece| piece.range.start);

        start..end
    }

    /// Puts the pieces in the place of the mapping.
    ///
    /// For each of them memory is taken from `pool`, and `data` gives its data, from that of the old
    /// mapping. Whoever takes the memory of the object away finds either the old mapping or the
    /// pieces.
    ///
    /// Takes `gpuva.lock` of the object. C: `drm_gpuva_remap()`, `drm_gpuva_link()`,
    /// `drm_gpuva_unlink()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: `pool` has not enough. Nothing has changed.
    pub fn remap(
        self,
        pool: &mut VaPool<T>,
        mut data: impl FnMut(&T::VaData, &Piece) -> T::VaData,
    ) -> Result<(Remapped<'op, T>, VaRemoved<T>)> {
        let (prev, next) = (self.prev(), self.next());
        if pool.len() < usize::from(prev.is_some()) + usize::from(next.is_some()) {
            return Err(ENOMEM);
        }

        let old = self.unmap().va;
        // SAFETY: By the type invariants it is in the tree.
        let flags = unsafe { (*old).flags };
        let mut make = |piece: Option<Piece>| -> Result<_> {
            piece.map_or(Ok(ptr::null_mut()), |piece| {
                let va = pool.take()?;
                Ok(va.into_raw(flags, data(self.va().data(), &piece)))
            })
        };
        let (new_prev, new_next) = (make(prev)?, make(next)?);

        // SAFETY: By the type invariants `old` is in the tree, which the caller of the step has the
        // right to change, and what is needed of the others is there, in no tree. The pieces have
        // their place, where the old mapping was.
        unsafe { bindings::drm_gpuva_remap(new_prev, new_next, self.op) };

        // SAFETY: As above. The old mapping is still in the list, and holds the `VmBo`.
        if let Some(vm_bo) = unsafe { Va::<T>::from_raw(old) }.vm_bo() {
            let _lock = GpuvaLock::new(vm_bo.obj());

            for va in [new_prev, new_next] {
                if !va.is_null() {
                    // SAFETY: It is in the tree, and in no list; the lock of the list is held. It
                    // takes its own reference to `vm_bo`.
                    unsafe { bindings::drm_gpuva_link(va, vm_bo.as_raw()) };
                }
            }

            // SAFETY: It is in the list, whose lock is held. The reference that it gives up is not
            // the last, as there is a piece that has one; so nothing is freed here.
            unsafe { bindings::drm_gpuva_unlink(old) };
        }

        // SAFETY: Everything in a tree came from `VaAlloc::into_raw`. It is in neither tree nor list
        // any more, and `self` is gone.
        let removed = unsafe { VaRemoved::from_raw(old) };
        // SAFETY: They stay in the tree until the next step, at the earliest.
        let va = |va: *mut bindings::drm_gpuva| unsafe { Va::from_raw(va) };
        let [prev, next] = [new_prev, new_next].map(|new| (!new.is_null()).then(|| va(new)));

        Ok((
            Remapped {
                prev,
                next,
                _brand: PhantomData,
            },
            removed,
        ))
    }
}

/// A [`RemapOp`] was carried out.
pub struct Remapped<'op, T: DriverVm> {
    prev: Option<&'op Va<T>>,
    next: Option<&'op Va<T>>,
    _brand: Brand<'op>,
}

impl<'op, T: DriverVm> Remapped<'op, T> {
    /// Returns the new mapping at the lower end.
    pub fn prev(&self) -> Option<&'op Va<T>> {
        self.prev
    }

    /// Returns the new mapping at the upper end.
    pub fn next(&self) -> Option<&'op Va<T>> {
        self.next
    }
}

fn range(op: &bindings::drm_gpuva_op_map) -> Range<u64> {
    op.va.addr..op.va.addr + op.va.range
}

fn piece(op: &bindings::drm_gpuva_op_map) -> Piece {
    Piece {
        range: range(op),
        offset: op.gem.offset,
    }
}
