// SPDX-License-Identifier: GPL-2.0

//! Who else has a VM: a descriptor that it was exported as, and other drivers of the device.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use super::{
    export::Exported,
    user::User,
    Vm, //
};

/// Most users of a VM.
const MAX_USERS: usize = 16;

/// Who else has a VM.
pub(super) struct Handles {
    /// Nobody can get it any more.
    closed: bool,
    /// It was taken away from those who had it.
    revoked: bool,
    exported: Option<Arc<Exported>>,
    users: KVec<Arc<User>>,
    /// Queues of the file.
    queues: usize,
}

impl Handles {
    /// Nobody.
    pub(super) const fn new() -> Self {
        Self {
            closed: false,
            revoked: false,
            exported: None,
            users: KVec::new(),
            queues: 0,
        }
    }

    /// Whether the VM was taken away from those who had it.
    pub(super) fn is_revoked(&self) -> bool {
        self.revoked
    }
}

impl Vm {
    fn handles(&self) -> &Mutex<Handles> {
        &self.handles
    }

    /// Notes that there is another queue. Sleeps. Fails with `ENOENT` if the VM is destroyed.
    pub(crate) fn add_queue(&self) -> Result {
        let mut handles = self.handles().lock();

        if handles.closed {
            return Err(ENOENT);
        }
        handles.queues += 1;
        Ok(())
    }

    /// A queue was destroyed. Sleeps.
    pub(crate) fn remove_queue(&self) {
        self.handles().lock().queues -= 1;
    }

    /// Notes that the VM is exported. Sleeps.
    ///
    /// Fails with `ENOENT` if it is banned or closed, `EEXIST` if it is exported already.
    pub(super) fn add_export(&self, exported: &Arc<Exported>) -> Result {
        let mut handles = self.handles().lock();

        if handles.closed || self.is_banned() {
            return Err(ENOENT);
        }
        if handles.exported.is_some() {
            return Err(EEXIST);
        }
        handles.exported = Some(exported.clone());
        Ok(())
    }

    /// The last descriptor was closed. Sleeps.
    pub(super) fn remove_export(&self, exported: &Exported) {
        let mut handles = self.handles().lock();
        let is_this = handles
            .exported
            .as_ref()
            .is_some_and(|other| core::ptr::eq(&**other, exported));

        if is_this {
            handles.exported = None;
        }
    }

    /// Notes that another driver uses the VM. Sleeps.
    ///
    /// Fails with `ENOENT` if it is banned or closed, `EBUSY` if it has as many users as it can
    /// have, `ENOMEM`.
    pub(super) fn add_user(&self, user: &Arc<User>) -> Result {
        let mut handles = self.handles().lock();

        if handles.closed || self.is_banned() {
            return Err(ENOENT);
        }
        if handles.users.len() >= MAX_USERS {
            return Err(EBUSY);
        }
        handles.users.push(user.clone(), GFP_KERNEL)?;
        Ok(())
    }

    /// Another driver does not use the VM any more. Sleeps.
    pub(super) fn remove_user(&self, user: &User) {
        self.handles()
            .lock()
            .users
            .retain(|other| !core::ptr::eq(&**other, user));
    }

    /// Whether it is exported, and used by another driver: `DRM_HLRS_VM_*`. Sleeps.
    pub(crate) fn state(&self) -> u32 {
        let handles = self.handles().lock();
        let mut state = 0;

        if handles.exported.is_some() {
            state |= hlrs_abi::DRM_HLRS_VM_EXPORTED;
        }
        if !handles.users.is_empty() {
            state |= hlrs_abi::DRM_HLRS_VM_REGISTERED;
        }
        state
    }

    /// Number of other drivers that use it. Sleeps.
    pub(super) fn nr_users(&self) -> usize {
        self.handles().lock().users.len()
    }

    /// Makes sure that nobody else has the VM, or can get it any more. Sleeps.
    ///
    /// Fails with `EBUSY` if it has queues, is exported or used by another driver.
    pub(crate) fn begin_destroy(&self) -> Result {
        let mut handles = self.handles().lock();

        if handles.queues > 0 || handles.exported.is_some() || !handles.users.is_empty() {
            return Err(EBUSY);
        }
        handles.closed = true;
        Ok(())
    }

    /// Takes the VM away from all others. Sleeps, until their engines do not access it any more.
    pub(crate) fn revoke(&self) {
        let (exported, users) = {
            let mut handles = self.handles().lock();

            handles.closed = true;
            handles.revoked = true;
            (handles.exported.take(), core::mem::take(&mut handles.users))
        };

        // What has been announced until now is waited for below, and nothing is any more: neither
        // while the others are told, nor after.
        self.refuse_accesses();

        // They hold the VM, but the caller does as well.
        if let Some(exported) = exported {
            exported.revoke();
        }
        for user in users {
            user.revoke();
        }
        self.wait_for_accesses();
    }
}
