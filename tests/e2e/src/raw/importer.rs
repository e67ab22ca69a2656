// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of `/dev/hlrs-test-importer`, as in
//! `tests/importer/hlrs_test_importer.h`, which documents them.

use std::os::fd::AsFd;

use super::at;
use super::Result;

pub const DYNAMIC: u32 = 0;
pub const NO_INVALIDATE: u32 = 1;
pub const STATIC: u32 = 2;
pub const PIN: u32 = 3;
pub const UNMAP_INSIDE: u32 = 4;
pub const UNMAP_LATE: u32 = 5;
pub const NEVER_UNMAP: u32 = 6;

pub const ALLOW_PEER2PEER: u32 = 1 << 0;

pub const STATE_ATTACHED: u32 = 1 << 0;
pub const STATE_MAPPED: u32 = 1 << 1;
pub const STATE_PINNED: u32 = 1 << 2;
pub const STATE_STALE: u32 = 1 << 3;

pub const ACCESS_VMAP: u32 = 1 << 0;

/// Where in the file the dma-buf of an attachment is mapped, times its number.
pub const MMAP_STRIDE: u64 = 1 << 32;

pub const BOOKKEEP: u32 = 0;
pub const WRITE: u32 = 1;
pub const READ: u32 = 2;

/// `struct hlrs_test_attach`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Attach {
    pub fd: i32,
    pub kind: u32,
    pub domain: u32,
    pub bus: u8,
    pub devfn: u8,
    pub pad: u16,
    pub delay_ms: u32,
    pub flags: u32,
    pub id: u32,
}

/// `struct hlrs_test_segment`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Segment {
    pub dma_address: u64,
    pub length: u64,
}

/// `struct hlrs_test_map`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Map {
    pub segments: u64,
    pub id: u32,
    pub direction: u32,
    pub max_segments: u32,
    pub num_segments: u32,
}

/// `struct hlrs_test_id`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Id {
    pub id: u32,
    pub pad: u32,
}

/// `struct hlrs_test_state`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    pub id: u32,
    pub flags: u32,
    pub invalidations: u32,
    pub segments: u32,
    pub fences: u32,
    pub pad: u32,
    pub unmap_ns: u64,
}

/// `struct hlrs_test_access`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    pub data: u64,
    pub offset: u64,
    pub length: u64,
    pub id: u32,
    pub flags: u32,
}

/// `struct hlrs_test_fence`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Fence {
    pub id: u32,
    pub timeout_ms: u32,
    pub usage: u32,
    pub pad: u32,
}

/// Number of an ioctl with an argument `T`; the kernel refuses one with another
/// size, so the structures cannot drift apart unnoticed.
const fn number<T>(direction: u32, n: u32) -> u32 {
    (direction << 30) | ((size_of::<T>() as u32) << 16) | (0xb7 << 8) | n
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
    attach(Attach) = WR, 0;
    unmap(Id) = W, 2;
    detach(Id) = W, 3;
    state(State) = WR, 4;
    fence(Fence) = W, 7;
    signal(Id) = W, 8;
    vmap(Id) = W, 9;
    vunmap(Id) = W, 10;
}

/// Maps; the segments go to `segments`, to which `arg` is set.
pub fn map(file: impl AsFd, arg: &mut Map, segments: &mut [Segment]) -> Result {
    arg.segments = segments.as_mut_ptr() as u64;
    arg.max_segments = segments.len() as u32;
    // SAFETY: there is room for as many segments as the argument says.
    unsafe { at(file, number::<Map>(WR, 1), &raw mut *arg as usize) }
}

/// Maps with an argument as it is, whose array must be memory that the kernel
/// cannot write.
pub fn map_unwritable(file: impl AsFd, arg: &mut Map) -> Result {
    assert!(arg.segments < 4096, "an address that is never mapped");
    // SAFETY: nothing is at that address.
    unsafe { at(file, number::<Map>(WR, 1), &raw mut *arg as usize) }
}

/// Reads through a mapping into `data`, to which `arg` is set.
pub fn read(file: impl AsFd, arg: &mut Access, data: &mut [u8]) -> Result {
    arg.data = data.as_mut_ptr() as u64;
    arg.length = data.len() as u64;
    // SAFETY: `data` is writable and as long as the argument says.
    unsafe { at(file, number::<Access>(W, 5), &raw mut *arg as usize) }
}

/// Writes `data`, to which `arg` is set, through a mapping.
pub fn write(file: impl AsFd, arg: &mut Access, data: &[u8]) -> Result {
    arg.data = data.as_ptr() as u64;
    arg.length = data.len() as u64;
    // SAFETY: the kernel only reads `data`, of which it is told the length.
    unsafe { at(file, number::<Access>(W, 6), &raw mut *arg as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_header() {
        assert_eq!(number::<Attach>(WR, 0), 0xc01c_b700);
        assert_eq!(number::<Map>(WR, 1), 0xc018_b701);
        assert_eq!(number::<Id>(W, 2), 0x4008_b702);
        assert_eq!(number::<State>(WR, 4), 0xc020_b704);
        assert_eq!(number::<Access>(W, 5), 0x4020_b705);
        assert_eq!(number::<Fence>(W, 7), 0x4010_b707);
    }
}
