// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of `/dev/hlrs_nicN` with arguments as they are given.

use std::os::fd::AsFd;

pub use hlrs_sys::hlrs_nic_copy as Copy;
pub use hlrs_sys::hlrs_nic_query as Query;
pub use hlrs_sys::hlrs_nic_vm_register as VmRegister;
pub use hlrs_sys::hlrs_nic_vm_unregister as VmUnregister;
pub use hlrs_sys::hlrs_nic_wait as Wait;
pub use hlrs_sys::HLRS_NIC_COPY_EVENTFD as COPY_EVENTFD;

use super::at;
use super::Result;

/// Number of an ioctl with an argument `T`, whether or not there is one.
pub const fn number<T>(n: u32) -> u32 {
    (3 << 30) | ((size_of::<T>() as u32) << 16) | (0xbc << 8) | n
}

macro_rules! calls {
    ($($name:ident($type:ident) = $number:ident;)*) => {
        $(pub fn $name(file: impl AsFd, arg: &mut $type) -> Result {
            // SAFETY: the number encodes the size of the structure, which has
            // no pointers.
            unsafe { at(file, hlrs_sys::$number, &raw mut *arg as usize) }
        })*
    };
}

calls! {
    query(Query) = HLRS_NIC_IOCTL_QUERY;
    vm_register(VmRegister) = HLRS_NIC_IOCTL_VM_REGISTER;
    vm_unregister(VmUnregister) = HLRS_NIC_IOCTL_VM_UNREGISTER;
    copy(Copy) = HLRS_NIC_IOCTL_COPY;
    wait(Wait) = HLRS_NIC_IOCTL_WAIT;
}
