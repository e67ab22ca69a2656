// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of `/dev/hlrs_nicN`, as in `include/uapi/misc/hlrs_nic.h`, which
//! documents them.

use std::os::fd::AsFd;

use super::at;
use super::Result;

pub const COPY_EVENTFD: u32 = 1 << 0;

/// `struct hlrs_nic_query`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Query {
    pub extensions: u64,
    pub abi_major: u32,
    pub abi_minor: u32,
    pub uid: u64,
    pub vf_id: u32,
    pub max_vms: u32,
    pub max_copy_size: u64,
    pub max_pending: u32,
    pub max_results: u32,
    pub reserved: [u64; 4],
}

/// `struct hlrs_nic_vm_register`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct VmRegister {
    pub extensions: u64,
    pub fd: i32,
    pub flags: u32,
    pub vm: u32,
    pub pad: u32,
    pub reserved: [u64; 2],
}

/// `struct hlrs_nic_vm_unregister`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct VmUnregister {
    pub extensions: u64,
    pub vm: u32,
    pub flags: u32,
    pub reserved: [u64; 2],
}

/// `struct hlrs_nic_copy`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Copy {
    pub extensions: u64,
    pub src_vm: u32,
    pub dst_vm: u32,
    pub src: u64,
    pub dst: u64,
    pub size: u64,
    pub flags: u32,
    pub eventfd: i32,
    pub seqno: u64,
    pub reserved: [u64; 2],
}

/// `struct hlrs_nic_wait`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Wait {
    pub extensions: u64,
    pub seqno: u64,
    pub timeout_ns: i64,
    pub flags: u32,
    pub result: i32,
    pub reserved: [u64; 2],
}

/// Number of an ioctl with an argument `T`; the kernel refuses one with another
/// size, so the structures cannot drift apart unnoticed.
pub const fn number<T>(n: u32) -> u32 {
    (3 << 30) | ((size_of::<T>() as u32) << 16) | (0xbc << 8) | n
}

macro_rules! calls {
    ($($name:ident($type:ident) = $n:literal;)*) => {
        $(pub fn $name(file: impl AsFd, arg: &mut $type) -> Result {
            // SAFETY: the number encodes the size of the structure, which has
            // no pointers.
            unsafe { at(file, number::<$type>($n), &raw mut *arg as usize) }
        })*
    };
}

calls! {
    query(Query) = 0;
    vm_register(VmRegister) = 1;
    vm_unregister(VmUnregister) = 2;
    copy(Copy) = 3;
    wait(Wait) = 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_header() {
        assert_eq!(number::<Query>(0), 0xc050_bc00);
        assert_eq!(number::<VmRegister>(1), 0xc028_bc01);
        assert_eq!(number::<VmUnregister>(2), 0xc020_bc02);
        assert_eq!(number::<Copy>(3), 0xc048_bc03);
        assert_eq!(number::<Wait>(4), 0xc030_bc04);
    }
}
