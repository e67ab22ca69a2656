// SPDX-License-Identifier: GPL-2.0

//! VMs with [`drm_exec`](super::super::exec): locking what they map, and making it usable.

use super::{
    super::exec::{
        Locked,
        Locking, //
    },
    DriverVm,
    Vm, //
};
use crate::{
    dma_fence::Fence,
    dma_resv::Usage, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::atomic::Relaxed, //
};

impl<'v> Locking<'_, 'v> {
    /// Takes the reservation lock of a VM, which is also that of objects that are local to it.
    ///
    /// Sleeps. C: `drm_gpuvm_prepare_vm()`.
    ///
    /// # Errors
    ///
    /// As [`lock_object`](Self::lock_object).
    pub fn lock_vm<T: DriverVm>(&mut self, vm: &'v Vm<T>) -> Result {
        // SAFETY: By the type invariants `exec` is initialised and in its loop; the VM is valid.
        to_result(unsafe { bindings::drm_gpuvm_prepare_vm(vm.as_raw(), self.exec.as_raw(), 0) })
    }

    /// Takes the reservation locks of a VM and of the
    /// [external objects](super::VmBo::add_external) in it.
    ///
    /// Sleeps. C: `drm_gpuvm_prepare_objects()`.
    ///
    /// # Errors
    ///
    /// As [`lock_object`](Self::lock_object).
    pub fn lock_vm_objects<T: DriverVm>(&mut self, vm: &'v Vm<T>) -> Result {
        self.lock_vm(vm)?;

        // SAFETY: As above. The list of objects is protected by the lock that was just taken.
        to_result(unsafe {
            bindings::drm_gpuvm_prepare_objects(vm.as_raw(), self.exec.as_raw(), 0)
        })
    }
}

impl Locked<'_, '_> {
    /// Calls [`DriverVm::validate`] for each object in the VM that is
    /// [evicted](super::VmBo::set_evicted), until one fails.
    ///
    /// This ends the reservation of [`reserve_fences`](Self::reserve_fences). May sleep.
    /// C: `drm_gpuvm_validate()`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the VM is not locked, or an evicted object in it is not: see
    ///   [`Locking::lock_vm_objects`].
    /// - What [`DriverVm::validate`] returned. Objects after that one are still evicted.
    pub fn validate<T: DriverVm>(&mut self, vm: &Vm<T>) -> Result {
        if !self.holds(vm.resv()) {
            return Err(EINVAL);
        }

        self.end_reservation();
        vm.validating.store(true, Relaxed);
        // SAFETY: `exec` is initialised and holds the lock of the VM. That it holds those of the
        // objects is checked for each.
        let ret = unsafe { bindings::drm_gpuvm_validate(vm.as_raw(), self.exec.as_raw()) };
        vm.validating.store(false, Relaxed);

        to_result(ret)
    }

    /// Adds a fence to all that is locked: with the usage `local` to the reservation object of the
    /// VM, and with `external` to all others.
    ///
    /// Does not sleep. C: `drm_gpuvm_resv_add_fence()`.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: no room is left of what was [reserved](Self::reserve_fences). Nothing was added.
    pub fn resv_add_fence<T: DriverVm>(
        &mut self,
        vm: &Vm<T>,
        fence: &Fence,
        local: Usage,
        external: Usage,
    ) -> Result {
        self.take_slot()?;

        // SAFETY: `exec` is initialised, all its objects are locked, each reservation object is
        // there once, and has a free slot as `take_slot` has seen.
        unsafe {
            bindings::drm_gpuvm_resv_add_fence(
                vm.as_raw(),
                self.exec.as_raw(),
                fence.as_raw(),
                local as u32,
                external as u32,
            )
        };
        Ok(())
    }
}
