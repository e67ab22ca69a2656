// SPDX-License-Identifier: GPL-2.0

//! VMs for drivers in C: `include/linux/hlrs.h`, on top of [`crate::vm_api`].
//!
//! The only place of this driver with `unsafe`: what C promises is turned into types here, and
//! nothing else is done. The header says what is promised.

use core::{
    ffi::c_void,
    ptr::NonNull,
    slice, //
};

use kernel::{
    auxiliary,
    bindings,
    device::Bound,
    ffi::{
        c_int,
        c_uint, //
    },
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    dma_fence::Fence,
    module::ModuleRef, //
};

use crate::{
    nic::RegistrationData,
    vm_api::{
        Revoked,
        VmUser,
        Vms, //
    },
};

/// Most VMs of one access.
const ACCESS_MAX: usize = hlrs_abi::HLRS_VM_ACCESS_MAX as usize;

/// The functions that a user is told by, and the user's module.
///
/// # Invariants
///
/// While this exists the functions may be called with `data` in process context: they are code of
/// the module of which `_owner` is a reference, and C keeps `data` until the registration has ended.
struct Callback {
    revoked: unsafe extern "C" fn(*mut c_void),
    has_given_up: Option<unsafe extern "C" fn(*mut c_void) -> bool>,
    data: *mut c_void,
    _owner: ModuleRef,
}

// SAFETY: By the contract of `hlrs_vm_register()`, `data` may be passed to the functions by any task.
unsafe impl Send for Callback {}

// SAFETY: As above; the fields do not change.
unsafe impl Sync for Callback {}

impl Revoked for Callback {
    fn revoked(&self) {
        // SAFETY: By the type invariants. This is called in process context, by the contract of
        // `Revoked`; and not after the registration has ended, since dropping the `VmUser`, which
        // `hlrs_vm_unregister()` does before C may free `data`, waits for the call.
        unsafe { (self.revoked)(self.data) }
    }

    fn has_given_up(&self) -> bool {
        let Some(has_given_up) = self.has_given_up else {
            return false;
        };

        // SAFETY: As above: called in a call of `hlrs_vm_access()` for the registration, which C
        // does not end meanwhile.
        unsafe { has_given_up(self.data) }
    }
}

/// What C knows as `struct hlrs_vm_user`. Fields are dropped in this order: first the registration
/// ends, then the user's module may go.
struct User {
    user: Arc<dyn VmUser>,
    vms: Arc<dyn Vms>,
    _callback: Arc<Callback>,
}

impl User {
    /// Gives it to C.
    fn into_c(self: KBox<Self>) -> *mut hlrs_abi::hlrs_vm_user {
        KBox::into_raw(self).cast()
    }

    /// # Safety
    ///
    /// `user` must be one that [`User::into_c`] has returned, and that is not given back during
    /// `'a`.
    unsafe fn from_c<'a>(user: *mut hlrs_abi::hlrs_vm_user) -> &'a Self {
        // SAFETY: By the safety requirements it points to a `User` on the heap, which nobody frees
        // or changes meanwhile.
        unsafe { &*user.cast::<Self>() }
    }
}

fn register(adev: &auxiliary::Device<Bound>, fd: i32, callback: Callback) -> Result<KBox<User>> {
    let services = adev
        .registration_data::<RegistrationData>()
        .map_err(|_| ENXIO)?;
    let vms = services.vms.clone();
    let callback = Arc::new(callback, GFP_KERNEL)?;
    // Before the registration: when that is there, nothing fails any more.
    let place = KBox::<User>::new_uninit(GFP_KERNEL)?;
    let user = vms.register(fd, callback.clone())?;

    Ok(KBox::write(
        place,
        User {
            user,
            vms,
            _callback: callback,
        },
    ))
}

/// # Safety
///
/// As `hlrs_vm_register()` demands.
#[no_mangle]
unsafe extern "C" fn hlrs_vm_register(
    adev: *mut bindings::auxiliary_device,
    fd: c_int,
    ops: *const hlrs_abi::hlrs_vm_ops,
    data: *mut c_void,
) -> *mut hlrs_abi::hlrs_vm_user {
    if adev.is_null() {
        return ENXIO.to_ptr();
    }

    // SAFETY: If it is not null it points to operations, which do not change.
    let Some((revoked, ops)) = unsafe { ops.as_ref() }.and_then(|ops| Some((ops.revoked?, ops)))
    else {
        return EOPNOTSUPP.to_ptr();
    };

    // SAFETY: The owner is the caller's module, whose code is running, or null if that is built in.
    let owner = match unsafe { ModuleRef::try_get_raw(ops.owner) } {
        Ok(owner) => owner,
        Err(_) => return ESHUTDOWN.to_ptr(),
    };
    // INVARIANT: The contract of `hlrs_vm_register()` is that of the fields, and the module stays.
    let callback = Callback {
        revoked,
        has_given_up: ops.has_given_up,
        data,
        _owner: owner,
    };

    // SAFETY: The caller's driver is bound to the device, and stays so during the call.
    // `auxiliary::Device` is a transparent wrapper. A device of somebody else is valid as well, and
    // is found out by its registration data.
    let adev = unsafe { &*adev.cast::<auxiliary::Device<Bound>>() };

    register(adev, fd, callback).map_or_else(Error::to_ptr, User::into_c)
}

/// # Safety
///
/// As `hlrs_vm_unregister()` demands.
#[no_mangle]
unsafe extern "C" fn hlrs_vm_unregister(user: *mut hlrs_abi::hlrs_vm_user) {
    // SAFETY: No requirements for what is not read.
    let is_error = unsafe { bindings::IS_ERR(user.cast()) };

    if !user.is_null() && !is_error {
        // SAFETY: From `into_c()`, which has leaked the box; the caller gives it back, once.
        drop(unsafe { KBox::from_raw(user.cast::<User>()) });
    }
}

fn access(users: &[&User], fence: &Fence) -> Result {
    let mut of_vms = KVec::<&dyn VmUser>::with_capacity(users.len(), GFP_KERNEL)?;

    for user in users {
        of_vms.push(&*user.user, GFP_KERNEL)?;
    }
    // Users of another function are found out there.
    users.first().ok_or(EINVAL)?.vms.access(&of_vms, fence)
}

/// # Safety
///
/// As `hlrs_vm_access()` demands.
#[no_mangle]
unsafe extern "C" fn hlrs_vm_access(
    users: *const *mut hlrs_abi::hlrs_vm_user,
    count: c_uint,
    fence: *mut bindings::dma_fence,
) -> c_int {
    // CAST: Smaller types.
    let count = count as usize;
    if users.is_null() || count == 0 || count > ACCESS_MAX || fence.is_null() {
        return EINVAL.to_errno();
    }

    let result = (|| {
        let mut known = KVec::with_capacity(count, GFP_KERNEL)?;

        // SAFETY: There are `count` pointers, which do not change during the call.
        for user in unsafe { slice::from_raw_parts(users, count) } {
            let user = NonNull::new(*user).ok_or(EINVAL)?;

            // SAFETY: A user that is not null is registered during the call.
            known.push(unsafe { User::from_c(user.as_ptr()) }, GFP_KERNEL)?;
        }
        // SAFETY: The caller has a reference on the fence, during the call.
        access(&known, unsafe { Fence::from_raw(fence) })
    })();

    result.map_or_else(Error::to_errno, |()| 0)
}

/// # Safety
///
/// As `hlrs_vm_context()` demands.
#[no_mangle]
unsafe extern "C" fn hlrs_vm_context(user: *mut hlrs_abi::hlrs_vm_user) -> u16 {
    // SAFETY: The user is registered during the call.
    unsafe { User::from_c(user) }.user.context()
}

/// # Safety
///
/// As `hlrs_vm_is_same()` demands.
#[no_mangle]
unsafe extern "C" fn hlrs_vm_is_same(
    a: *mut hlrs_abi::hlrs_vm_user,
    b: *mut hlrs_abi::hlrs_vm_user,
) -> bool {
    // SAFETY: The users are registered during the call.
    let (a, b) = unsafe { (User::from_c(a), User::from_c(b)) };

    a.user.is_same_vm(&*b.user)
}

/// # Safety
///
/// As `hlrs_vm_recover()` demands.
#[no_mangle]
unsafe extern "C" fn hlrs_vm_recover(user: *mut hlrs_abi::hlrs_vm_user) -> bool {
    // SAFETY: The user is registered during the call.
    unsafe { User::from_c(user) }.user.recover()
}

/// That the header declares the same functions.
macro_rules! declared {
    ($($name:ident),* $(,)?) => {
        $(const _: () = {
            let _ = if true { $name } else { hlrs_abi::$name };
        };)*
    };
}

declared! {
    hlrs_vm_access,
    hlrs_vm_context,
    hlrs_vm_is_same,
    hlrs_vm_recover,
    hlrs_vm_register,
    hlrs_vm_unregister,
}
