// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces: their life, what is mapped in them, and what a device sees
//! through them.

mod atomic;
mod content;
mod leaves;
mod lifetime;
mod model;
mod moved;
mod pending;
mod random;

pub use moved::aperture_tests;

use hlrs::Buffer;
use hlrs::Device;

use super::mem::exhaust;
use crate::check;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::space::LARGE;

pub fn tests() -> Vec<Test> {
    let mut tests = lifetime::tests();
    tests.extend(content::tests());
    tests.extend(leaves::tests());
    tests.extend(atomic::tests());
    tests.extend(pending::tests());
    tests.extend(moved::tests());
    tests.extend(random::tests());
    tests
}

/// Where tests map what they look at.
const BASE: u64 = 0x40_0000_0000;

/// A buffer of LMEM that begins at a multiple of 2 MiB there, and has no gaps.
fn contiguous(device: &Device, size: u64) -> Outcome<Buffer> {
    let builder = device.buffer(size).contiguous();
    Ok(builder.page_size(LARGE as u32).create()?)
}

/// A buffer of LMEM of at most 512 KiB, in blocks of at most 8 KiB.
fn scattered(device: &Device, size: u64) -> Outcome<Buffer> {
    const BLOCK: u64 = 8192;
    check!(size <= LARGE / 4, "{size} bytes are too many");
    let free = |device: &Device| -> Outcome<u64> {
        let lmem = device.lmem()?;
        Ok(lmem.total - lmem.used)
    };
    // All memory in pieces, one of which becomes a hole.
    let mut pieces = exhaust(device, Place::Lmem, LARGE)?;
    let mut rest = exhaust(device, Place::Lmem, BLOCK)?;
    pieces.pop();
    // The hole in blocks, of which every other is given back.
    rest.extend(exhaust(device, Place::Lmem, BLOCK)?);
    let blocks = rest.len() - (LARGE / BLOCK) as usize;
    let mut keep = false;
    let hole = rest.split_off(blocks);
    let hole: Vec<_> = hole
        .into_iter()
        .filter(|_| {
            keep = !keep;
            keep
        })
        .collect();
    check!(
        free(device)? >= size,
        "there is no room for {size} bytes in pieces"
    );
    let refused = device.buffer(2 * BLOCK).contiguous().create();
    check!(refused.is_err(), "the memory is not in pieces");
    let buffer = Place::Lmem.create(device, size)?;
    drop((pieces, rest, hole));
    Ok(buffer)
}

/// A buffer of another accelerator, and the import of it.
fn foreign(device: &Device, other: &Device, place: Place, size: u64) -> Outcome<(Buffer, Buffer)> {
    let exported = place.create(other, size)?;
    let window = device.import(&exported.dma_buf().create()?)?;
    Ok((exported, window))
}

/// Checksum of contents that a test knows.
fn crc_of(bytes: &[u8], offset: u64, size: u64) -> u32 {
    hlrs::crc32c(0, &bytes[offset as usize..(offset + size) as usize])
}

/// What LMEM a device has in use, when a test ends as when it began.
fn same_as_before(device: &Device, before: u64) -> Outcome {
    cards::settles(device, before)
}
