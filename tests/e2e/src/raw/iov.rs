// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of `/dev/hlrs-test-iov`, as in `tests/importer/hlrs_test_iov.h`,
//! which documents them.

use std::os::fd::AsFd;

use super::at;
use super::Result;

/// `struct hlrs_test_iov_attach`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Attach {
    pub fd: i32,
    pub domain: u32,
    pub bus: u8,
    pub devfn: u8,
    pub pad: u16,
    pub bar: u32,
}

/// `struct hlrs_test_iov_range`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    pub offset: u64,
    pub len: u64,
    pub bar: u32,
    pub pad: u32,
}

/// `struct hlrs_test_iov_map`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Map {
    pub native: u32,
    pub vf_number: u32,
    pub valid: u32,
    pub count: u32,
    pub ranges: [Range; 8],
}

/// `struct hlrs_test_iov_state`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    pub mapped: u32,
    pub invalidations: u32,
}

/// `_IOC(direction, 0xb7, number, size_of::<T>())`, with 1 for data that goes
/// in and 2 for data that comes out.
const fn number<T>(direction: u32, number: u32) -> u32 {
    (direction << 30) | ((size_of::<T>() as u32) << 16) | (0xb7 << 8) | number
}

pub fn attach(file: impl AsFd, arg: &mut Attach) -> Result {
    // SAFETY: the number encodes the size of the structure, which has no
    // pointers.
    unsafe { at(file, number::<Attach>(1, 16), &raw mut *arg as usize) }
}

pub fn map(file: impl AsFd) -> Result<Map> {
    let mut arg = Map::default();
    // SAFETY: as above.
    unsafe { at(file, number::<Map>(3, 17), &raw mut arg as usize) }?;
    Ok(arg)
}

pub fn state(file: impl AsFd) -> Result<State> {
    let mut arg = State::default();
    // SAFETY: as above.
    unsafe { at(file, number::<State>(3, 18), &raw mut arg as usize) }?;
    Ok(arg)
}
