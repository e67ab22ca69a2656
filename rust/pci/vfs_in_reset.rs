// SPDX-License-Identifier: GPL-2.0

//! VFs that go through a reset of their PF.

use super::DeviceExt;
use kernel::{
    bindings,
    device,
    new_mutex,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use core::ptr::{
    null_mut,
    NonNull, //
};

/// How often, and after what time, to look whether a VF can be locked.
const ATTEMPTS: usize = 50;
const PAUSE: Delta = Delta::from_millis(10);

/// Full power. C: `PCI_D0`.
const PCI_D0: bindings::pci_power_t = 0;

/// VFs that a reset of their PF takes along.
///
/// The device clears VF Enable when the PF is reset, and the PCI core sets it again, but it neither tells
/// the drivers of the VFs nor restores their configuration spaces: bus mastering and interrupts stay off,
/// and those who use the memory of a VF find nothing there for a while, of which nobody has told them.
/// [`Adapter`](super::Adapter) makes up for that, with what
/// [`Driver::vfs_in_reset`](super::Driver::vfs_in_reset) returns: each VF goes through what the PCI core does
/// for a function that is reset by itself. It is prepared before the PF, and restored after it.
///
/// A VF stays locked in between, so that nothing is bound to it or unbound. One that cannot be locked is left
/// alone: a reset of the bus has locked all functions before, and tells all of them itself.
#[pin_data]
pub struct VfsInReset {
    /// Locked, and prepared. There is room for all that the PF can have.
    #[pin]
    prepared: Mutex<KVec<ARef<pci::Device>>>,
}

impl VfsInReset {
    /// For the VFs of `pf`. Sleeps (allocates).
    pub fn new(pf: &pci::Device<device::Core<'_>>) -> Result<Pin<KBox<Self>>> {
        let room = KVec::with_capacity(usize::from(pf.total_vfs()), GFP_KERNEL)?;

        KBox::pin_init(
            pin_init!(Self {
                prepared <- new_mutex!(room, "kernel_ext::VfsInReset"),
            }),
            GFP_KERNEL,
        )
    }

    /// `pf` is about to be reset: locks and prepares its VFs. Sleeps.
    ///
    /// # Safety
    ///
    /// The device lock of `pf` must be held until [`VfsInReset::restore`] was called, by the same task.
    pub(super) unsafe fn prepare(&self, pf: &pci::Device<device::Core<'_>>) {
        // The drivers of the VFs are called without the mutex.
        let mut prepared = core::mem::take(&mut *self.prepared.lock());

        for vf in Vfs::of(pf) {
            // There are no more than the PF can have.
            if prepared.len() == prepared.capacity() || !try_lock(&vf) {
                continue;
            }
            // SAFETY: The VF is locked.
            unsafe { prepare_locked(&vf) };
            // There is room.
            let _ = prepared.push_within_capacity(vf);
        }
        *self.prepared.lock() = prepared;
    }

    /// The PF has been restored: restores the VFs, and unlocks them. Sleeps.
    ///
    /// # Safety
    ///
    /// The caller must have called [`VfsInReset::prepare`], and hold the device lock of the PF since.
    pub(super) unsafe fn restore(&self) {
        let mut prepared = core::mem::take(&mut *self.prepared.lock());

        for vf in prepared.drain_all() {
            // SAFETY: This task has locked and prepared it.
            unsafe { restore_locked(&vf) };
        }
        // Its room is needed again.
        *self.prepared.lock() = prepared;
    }
}

/// The VFs of a PF that are enabled.
struct Vfs<'a> {
    pf: &'a pci::Device,
    last: *mut bindings::pci_dev,
}

impl<'a> Vfs<'a> {
    fn of(pf: &'a pci::Device) -> Self {
        Self {
            pf,
            last: null_mut(),
        }
    }
}

impl Iterator for Vfs<'_> {
    type Item = ARef<pci::Device>;

    fn next(&mut self) -> Option<Self::Item> {
        let vendor = u32::from(self.pf.vendor_id().as_raw());

        loop {
            let any = bindings::PCI_ANY_ID as u32;

            // SAFETY: `last` is null, or a device with a reference, which is dropped.
            self.last = unsafe { bindings::pci_get_device(vendor, any, self.last) };
            // SAFETY: The C function returns a device with a reference, of which `pci::Device` is a
            // transparent wrapper.
            let found: &pci::Device = unsafe { NonNull::new(self.last)?.cast().as_ref() };

            if !found.is_virtfn() {
                continue;
            }
            // SAFETY: The field is that of a VF, which has a reference on its PF.
            let pf = unsafe { (*self.last).__bindgen_anon_1.physfn };

            if pf == self.pf.as_raw_ptr() {
                return Some(found.into());
            }
        }
    }
}

impl Drop for Vfs<'_> {
    fn drop(&mut self) {
        // SAFETY: As in `next()`; null is allowed.
        unsafe { bindings::pci_dev_put(self.last) };
    }
}

/// Locks a VF for a reset, if that is possible in bounded time. Sleeps.
fn try_lock(vf: &pci::Device) -> bool {
    for _ in 0..ATTEMPTS {
        // SAFETY: The device is valid.
        if unsafe { bindings::pci_dev_trylock(vf.as_raw_ptr()) } != 0 {
            return true;
        }
        // Who resets it himself keeps others from its configuration space, and tells its driver. That
        // may be this very task, so that there is nothing to wait for.
        // SAFETY: The device is valid. The answer may be that of a moment ago.
        if unsafe { (*vf.as_raw_ptr()).block_cfg_access() } != 0 {
            return false;
        }
        fsleep(PAUSE);
    }
    dev_warn!(vf, "busy: its driver is not told of a reset of the PF\n");
    false
}

/// Does what `pci_dev_save_and_disable()` does.
///
/// # Safety
///
/// `vf` must have been locked by `pci_dev_lock()`.
unsafe fn prepare_locked(vf: &pci::Device) {
    let raw = vf.as_raw_ptr();

    // SAFETY: The device is locked, so that its driver stays.
    unsafe {
        if let Some(prepare) = handlers(raw).and_then(|handlers| handlers.reset_prepare) {
            prepare(raw);
        }
    }

    // SAFETY: The device is valid, and nobody else accesses its configuration space. The values are
    // those of the C function.
    unsafe {
        bindings::pci_set_power_state(raw, PCI_D0);
        bindings::pci_save_state(raw);
        bindings::pci_write_config_word(
            raw,
            bindings::PCI_COMMAND as c_int,
            bindings::PCI_COMMAND_INTX_DISABLE as u16,
        );
    }
}

/// Does what `pci_dev_restore()` does, and unlocks the device.
///
/// # Safety
///
/// `vf` must have been prepared by [`prepare_locked`], under the lock that the caller holds.
unsafe fn restore_locked(vf: &pci::Device) {
    let raw = vf.as_raw_ptr();

    // SAFETY: The device is valid and its state was saved. It is locked, so that its driver is the one
    // that was prepared. This task has locked it.
    unsafe {
        bindings::pci_restore_state(raw);
        if let Some(done) = handlers(raw).and_then(|handlers| handlers.reset_done) {
            done(raw);
        }
        bindings::pci_dev_unlock(raw);
    }
}

/// What the driver of a device does about errors and resets.
///
/// # Safety
///
/// `raw` must be valid, and its device lock be held during `'a`.
unsafe fn handlers<'a>(raw: *mut bindings::pci_dev) -> Option<&'a bindings::pci_error_handlers> {
    // SAFETY: By the safety requirements the driver, if there is one, stays bound.
    unsafe { (*raw).driver.as_ref()?.err_handler.as_ref() }
}
