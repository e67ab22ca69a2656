// SPDX-License-Identifier: GPL-2.0

//! Mapping and unmapping ranges: what calls the steps.

use super::{
    DriverVm,
    MapOp,
    RemapOp,
    UnmapOp,
    Vm,
    VmBo,
    VmBoRef,
    VmTree, //
};
use core::{
    ops::Range,
    ptr, //
};
use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    prelude::*, //
};

/// What [`VmTree::sm_map`] is to map.
pub struct MapRequest<'a, T: DriverVm> {
    /// At which addresses.
    pub range: Range<u64>,
    /// Which object, and where in it the mapping begins, in bytes; `None` for a null mapping.
    pub target: Option<(&'a VmBoRef<T>, u64)>,
}

/// What a call of the C functions takes to the steps.
struct Call<'a, 'c, T: DriverVm> {
    vm: &'a Vm<T>,
    vm_bo: Option<&'a VmBo<T>>,
    context: &'a mut T::Context<'c>,
}

impl<T: DriverVm> VmTree<T> {
    /// Maps a range of addresses, in place of all that is mapped there.
    ///
    /// Calls [`DriverVm::unmap`] for each mapping within the range, [`DriverVm::remap`] for each
    /// that begins before it or ends after it (two at most, one if it does both), in the order of
    /// their addresses, and then [`DriverVm::map`]. They may sleep only if the caller may.
    ///
    /// Takes at most [`VAS_PER_MAP`](super::VAS_PER_MAP) new [`Va`]s.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the range is empty, or not within the VM; the [`VmBo`] is one of another VM; the
    ///   range reaches beyond the end of the object. Nothing has changed.
    /// - What a step returned. The steps before it have happened, and it may have happened itself.
    ///   Nothing is mapped any more where the steps before have unmapped, and the rest is as before;
    ///   the range can be mapped or unmapped again.
    ///
    /// C: `drm_gpuvm_sm_map()`.
    pub fn sm_map(&mut self, request: MapRequest<'_, T>, context: &mut T::Context<'_>) -> Result {
        let range = self.check(&request.range)?;
        let mut op = bindings::drm_gpuvm_map_req::default();

        if let Some((vm_bo, offset)) = request.target {
            let end = offset.checked_add(range.size).ok_or(EINVAL)?;
            if !ptr::eq(vm_bo.vm(), &raw const **self) || end > vm_bo.obj().size() as u64 {
                return Err(EINVAL);
            }
            op.map.gem.obj = vm_bo.obj().as_raw();
            op.map.gem.offset = offset;
        }
        op.map.va.addr = range.start;
        op.map.va.range = range.size;

        let mut call = Call {
            vm: self,
            vm_bo: request.target.map(|(vm_bo, _)| &**vm_bo),
            context,
        };
        // SAFETY: The VM is initialised, and `&mut self` is the right to change its tree. The
        // callbacks are those of `T`, and get `call`, which lives until this returns. The range is
        // not empty.
        to_result(unsafe {
            bindings::drm_gpuvm_sm_map(call.vm.as_raw(), (&raw mut call).cast(), &op)
        })
    }

    /// Unmaps a range of addresses, whether or not something is mapped there.
    ///
    /// Calls [`DriverVm::unmap`] and [`DriverVm::remap`] as [`sm_map`](Self::sm_map) does. Takes at
    /// most [`VAS_PER_UNMAP`](super::VAS_PER_UNMAP) new [`Va`]s.
    ///
    /// # Errors
    ///
    /// As [`sm_map`](Self::sm_map).
    ///
    /// C: `drm_gpuvm_sm_unmap()`.
    pub fn sm_unmap(&mut self, range: Range<u64>, context: &mut T::Context<'_>) -> Result {
        let range = self.check(&range)?;
        let mut call = Call {
            vm: self,
            vm_bo: None,
            context,
        };

        // SAFETY: As in `sm_map`.
        to_result(unsafe {
            bindings::drm_gpuvm_sm_unmap(
                call.vm.as_raw(),
                (&raw mut call).cast(),
                range.start,
                range.size,
            )
        })
    }

    /// A range as C has it. The C side checks that it is within the VM, but not that it is one.
    fn check(&self, range: &Range<u64>) -> Result<Extent> {
        if range.is_empty() {
            return Err(EINVAL);
        }
        Ok(Extent {
            start: range.start,
            size: range.end - range.start,
        })
    }
}

struct Extent {
    start: u64,
    size: u64,
}

/// Calls [`DriverVm::map`].
///
/// # Safety
///
/// Only for `struct drm_gpuvm_ops` of `T`.
pub(super) unsafe extern "C" fn map_callback<T: DriverVm>(
    op: *mut bindings::drm_gpuva_op,
    call: *mut c_void,
) -> c_int {
    // SAFETY: `call` is what `sm_map` and `sm_unmap` have given. It is used by one step at a time.
    let call = unsafe { &mut *call.cast::<Call<'_, '_, T>>() };

    // SAFETY: It is the operation that `sm_map` was asked for. The C side has called the steps that
    // clear its range before, and each has carried out what it was given, or this were not called.
    let op = unsafe { MapOp::from_raw(call.vm, call.vm_bo, op) };
    from_result(|| T::map(op, call.context).map(|_| 0))
}

/// Calls [`DriverVm::unmap`].
///
/// # Safety
///
/// Only for `struct drm_gpuvm_ops` of `T`.
pub(super) unsafe extern "C" fn unmap_callback<T: DriverVm>(
    op: *mut bindings::drm_gpuva_op,
    call: *mut c_void,
) -> c_int {
    // SAFETY: As in `map_callback`.
    let call = unsafe { &mut *call.cast::<Call<'_, '_, T>>() };

    // SAFETY: In the tree of a `Vm<T>` there are `Va<T>`s only.
    let op = unsafe { UnmapOp::from_raw(op) };
    from_result(|| T::unmap(op, call.context).map(|_| 0))
}

/// Calls [`DriverVm::remap`].
///
/// # Safety
///
/// Only for `struct drm_gpuvm_ops` of `T`.
pub(super) unsafe extern "C" fn remap_callback<T: DriverVm>(
    op: *mut bindings::drm_gpuva_op,
    call: *mut c_void,
) -> c_int {
    // SAFETY: As in `map_callback`.
    let call = unsafe { &mut *call.cast::<Call<'_, '_, T>>() };

    // SAFETY: As in `unmap_callback`.
    let op = unsafe { RemapOp::from_raw(op) };
    from_result(|| T::remap(op, call.context).map(|_| 0))
}
