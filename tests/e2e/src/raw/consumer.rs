// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of `/dev/hlrs-test-vmN`, as in `tests/vm_consumer/hlrs_test_vm.h`,
//! which documents them.

use std::os::fd::AsFd;

use super::at;
use super::Result;

pub const FOREIGN: u32 = 1 << 0;
pub const NO_OPS: u32 = 1 << 1;
pub const NO_CALLBACK: u32 = 1 << 2;
pub const LATE: u32 = 1 << 3;
pub const LEAVE: u32 = 1 << 4;

/// `struct hlrs_test_vm_register`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Register {
    pub fd: i32,
    pub flags: u32,
    pub delay_ms: u32,
    pub id: u32,
    pub context: u32,
    pub pad: u32,
}

/// `struct hlrs_test_vm_id`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Id {
    pub id: u32,
    pub pad: u32,
}

/// `struct hlrs_test_vm_access`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    pub ids: u64,
    pub count: u32,
    pub timeout_ms: u32,
    pub begun: u32,
    pub pad: u32,
}

/// `struct hlrs_test_vm_state`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    pub id: u32,
    pub calls: u32,
    pub returned: u32,
    pub fences: u32,
}

/// `struct hlrs_test_vm_same`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Same {
    pub a: u32,
    pub b: u32,
    pub same: u32,
    pub pad: u32,
}

/// Number of an ioctl with an argument `T`; the kernel refuses one with another
/// size, so the structures cannot drift apart unnoticed.
const fn number<T>(direction: u32, n: u32) -> u32 {
    (direction << 30) | ((size_of::<T>() as u32) << 16) | (0xb9 << 8) | n
}

const W: u32 = 1;
const WR: u32 = 3;

macro_rules! calls {
    ($($name:ident($type:ident) = $direction:ident, $n:literal;)*) => {
        $(pub fn $name(file: impl AsFd, arg: &mut $type) -> Result {
            // SAFETY: the number encodes the size of the structure, which has
            // no pointers.
            unsafe { at(file, number::<$type>($direction, $n), &raw mut *arg as usize) }
        })*
    };
}

calls! {
    register(Register) = WR, 0;
    unregister(Id) = W, 1;
    signal(Id) = W, 3;
    state(State) = WR, 4;
    same(Same) = WR, 5;
    recover(Id) = W, 6;
}

/// Announces an access to `ids`, to which `arg` is set; 0 stands for no user.
pub fn access(file: impl AsFd, arg: &mut Access, ids: &[u32]) -> Result {
    (arg.ids, arg.count) = (ids.as_ptr() as u64, ids.len() as u32);
    // SAFETY: there are as many elements as the argument says, which are read.
    unsafe { at(file, number::<Access>(WR, 2), &raw mut *arg as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_header() {
        assert_eq!(number::<Register>(WR, 0), 0xc018_b900);
        assert_eq!(number::<Id>(W, 1), 0x4008_b901);
        assert_eq!(number::<Access>(WR, 2), 0xc018_b902);
        assert_eq!(number::<State>(WR, 4), 0xc010_b904);
        assert_eq!(number::<Same>(WR, 5), 0xc010_b905);
    }
}
