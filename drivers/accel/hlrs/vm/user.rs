// SPDX-License-Identifier: GPL-2.0

//! VMs for the other drivers of the device, see [`crate::vm_api`].

use core::{
    any::Any,
    pin::pin, //
};

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    time::msecs_to_jiffies,
};
use kernel_ext::{
    dma_fence::Fence,
    dma_resv::Usage,
    drm::exec::{
        Exec,
        Interruptible, //
    },
};

use super::{
    export::vm_of_fd,
    space::{
        GpuVm,
        Tree, //
    },
    Vm, //
};
use crate::{
    device::{
        BoundDevice,
        HlrsDevice, //
    },
    prime,
    vm_api::{
        Revoked,
        VmUser,
        Vms, //
    },
};

/// How often a driver is asked whether it still wants to wait, milliseconds.
const GIVE_UP_MS: u32 = 50;

/// A driver that uses a VM.
#[pin_data]
pub(super) struct User {
    /// Number of the VM's context.
    context: u16,
    /// What no other VM has, as long as this exists; a context is another VM's one day.
    identity: Arc<Tree>,
    #[pin]
    vm: Mutex<Option<Arc<Vm>>>,
    /// Who is told that the VM goes. Held while he is told.
    #[pin]
    revoked: Mutex<Option<Arc<dyn Revoked>>>,
}

impl User {
    /// The VM. Sleeps. Fails with `ESTALE` if it was taken away or is banned.
    fn vm(&self) -> Result<Arc<Vm>> {
        let vm = self.vm.lock().clone().ok_or(ESTALE)?;

        vm.check_usable().map_err(|_| ESTALE)?;
        Ok(vm)
    }

    /// Waits for binds that were submitted before. Sleeps.
    ///
    /// Fails with `ESTALE` as [`User::vm`], `ECANCELED` if the driver gives up, `ERESTARTSYS` if a
    /// signal came in.
    fn wait_for_binds(&self) -> Result {
        while let Some(bind) = self.vm()?.pending_bind() {
            match bind.wait_timeout(true, msecs_to_jiffies(GIVE_UP_MS)) {
                Ok(_) => return Ok(()),
                Err(e) if e == ETIMEDOUT => {}
                Err(e) => return Err(e),
            }
            if self
                .revoked
                .lock()
                .as_ref()
                .is_none_or(|r| r.has_given_up())
            {
                return Err(ECANCELED);
            }
        }
        Ok(())
    }

    /// Takes the VM away: first accesses are refused, then the driver is told. Sleeps.
    pub(super) fn revoke(&self) {
        // The caller has the VM, too.
        let vm = self.vm.lock().take();
        drop(vm);

        let mut revoked = self.revoked.lock();
        if let Some(driver) = revoked.take() {
            driver.revoked();
        }
    }
}

/// The right of a driver to use a VM.
struct Registered(Arc<User>);

impl VmUser for Registered {
    fn context(&self) -> u16 {
        self.0.context
    }

    fn is_same_vm(&self, other: &dyn VmUser) -> bool {
        other
            .as_any()
            .downcast_ref::<Self>()
            .is_some_and(|other| Arc::ptr_eq(&self.0.identity, &other.0.identity))
    }

    fn recover(&self) -> bool {
        // Not with a reference of its own: that could become the last one, and what the end of a VM
        // takes must not be done here.
        match &*self.0.vm.lock() {
            Some(vm) if !vm.is_banned() => {
                vm.space().recover();
                true
            }
            _ => false,
        }
    }

    fn unregister(&self) {
        // Waits for a call that is under way.
        let revoked = self.0.revoked.lock().take();
        drop(revoked);

        let vm = self.0.vm.lock().take();
        if let Some(vm) = vm {
            vm.remove_user(&self.0);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.unregister();
    }
}

/// The VMs of a function.
pub(crate) struct DeviceVms(ARef<HlrsDevice>);

impl DeviceVms {
    /// Those of `dev`.
    pub(crate) fn new(dev: &HlrsDevice) -> Self {
        Self(dev.into())
    }
}

impl Vms for DeviceVms {
    fn register(&self, fd: i32, revoked: Arc<dyn Revoked>) -> Result<Arc<dyn VmUser>> {
        let vm = vm_of_fd(fd)?;
        if !core::ptr::eq(vm.space().dev(), &*self.0) {
            return Err(EXDEV);
        }
        let _bound = self.0.enter().ok_or(ENODEV)?;

        // CAST: Less than 32.
        let context = vm.context() as u16;
        let used = vm.clone();
        let identity = vm.tree.clone();
        let user = Arc::pin_init(
            pin_init!(User {
                context,
                identity,
                vm <- new_mutex!(Some(used), "hlrs::User::vm"),
                revoked <- new_mutex!(Some(revoked), "hlrs::User::revoked"),
            }),
            GFP_KERNEL,
        )?;
        let registered = Arc::new(Registered(user.clone()), GFP_KERNEL)?;

        vm.add_user(&user)?;
        Ok(registered)
    }

    fn access(&self, users: &[&dyn VmUser], fence: &Fence) -> Result {
        let bound = self.0.enter().ok_or(ENODEV)?;
        let mut vms = KVec::with_capacity(users.len(), GFP_KERNEL)?;
        for user in users {
            let user = user.as_any().downcast_ref::<Registered>().ok_or(EINVAL)?;

            user.0.wait_for_binds()?;
            let vm = user.0.vm()?;
            if !core::ptr::eq(vm.space().dev(), &*self.0) {
                return Err(EXDEV);
            }
            vms.push(vm, GFP_KERNEL)?;
        }

        prime::while_stale(&bound, || announce(&bound, &vms, fence), |e| *e)
    }
}

/// Notes the access to `vms` that is over when `fence` signals, in all of them or in none. Sleeps.
///
/// Fails as [`Vms::access`], and with [`prime::STALE`].
fn announce(dev: &BoundDevice<'_>, vms: &[Arc<Vm>], fence: &Fence) -> Result {
    let mut exec = pin!(Exec::new(Interruptible::Yes));
    let mut locked = exec.as_mut().lock(|locking| {
        vms.iter().try_for_each(|vm| {
            let space: &GpuVm = vm.space();

            locking.lock_vm_objects(space)
        })
    })?;
    for vm in vms {
        locked
            .validate::<super::space::Space>(vm.space())
            .map_err(|e| {
                if e == EINTR || e == ERESTARTSYS || e == ENOMEM || e == prime::STALE {
                    e
                } else {
                    EFAULT
                }
            })?;
    }
    locked.reserve_fences(1)?;

    // Revoking waits for what is noted here. It takes the reservation lock to begin: from here to
    // the end no VM can be revoked, and all note the access or none.
    let mut timelines = KVec::with_capacity(vms.len(), GFP_KERNEL)?;
    for vm in vms {
        vm.check_usable().map_err(|_| ESTALE)?;
        vm.space().accesses().reserve(vms.len())?;
        timelines.push(dev.engines.timelines().add(fence.context())?, GFP_KERNEL)?;
    }
    for (vm, timeline) in vms.iter().zip(timelines) {
        let number = vm.activity().count();

        vm.space().accesses().add(number, fence, timeline)?;
    }
    // There is room, as was just seen to.
    locked.add_fence(fence, |_| Some(Usage::Bookkeep))
}
