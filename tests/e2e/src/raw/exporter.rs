// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of `/dev/hlrs-test-exporter`, as in
//! `tests/exporter/hlrs_test_exporter.h`, which documents them.

use std::os::fd::AsFd;

use super::at;
use super::Result;

/// `struct hlrs_test_range`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    pub offset: u64,
    pub len: u64,
    pub bar: u32,
    pub pad: u32,
}

/// `struct hlrs_test_export`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Export {
    pub ranges: u64,
    pub size: u64,
    pub count: u32,
    pub bar: u32,
    pub domain: u32,
    pub bus: u8,
    pub devfn: u8,
    pub pad: u16,
    pub fd: i32,
    pub pad1: u32,
}

/// `struct hlrs_test_change`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    pub ranges: u64,
    pub count: u32,
    pub fd: i32,
    pub silent: u32,
    pub mappings: u32,
}

/// Number of an ioctl that reads and writes an argument `T`.
const fn number<T>(n: u32) -> u32 {
    (3 << 30) | ((size_of::<T>() as u32) << 16) | ((b'x' as u32) << 8) | n
}

/// Makes a dma-buf of `ranges`, to which `arg` is set.
pub fn export(file: impl AsFd, arg: &mut Export, ranges: &[Range]) -> Result {
    arg.ranges = ranges.as_ptr() as u64;
    arg.count = ranges.len() as u32;
    // SAFETY: the kernel only reads the ranges, of which it is told the number.
    unsafe { at(file, number::<Export>(0), &raw mut *arg as usize) }
}

/// Changes a dma-buf to `ranges`, to which `arg` is set.
pub fn change(file: impl AsFd, arg: &mut Change, ranges: &[Range]) -> Result {
    arg.ranges = ranges.as_ptr() as u64;
    arg.count = ranges.len() as u32;
    // SAFETY: as above.
    unsafe { at(file, number::<Change>(1), &raw mut *arg as usize) }
}
