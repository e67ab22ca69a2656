// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exports of parts of buffers: which bytes others get.

use hlrs::Buffer;
use hlrs::Device;

use super::inode;
use super::part;
use super::random_buffer;
use super::PAGE;
use super::PLACES;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        parts_of_a_buffer: 120,
        parts_of_scattered_memory: 120,
        overlapping_exports,
        each_export_is_a_new_one,
        into_another_file_of_the_device,
        all_of_lmem: 120,
    ]
}

/// Exports a range, has the other device read and write it, and looks at the
/// whole buffer afterwards.
fn round_trip(
    buffer: &Buffer,
    bytes: &mut [u8],
    other: &Device,
    (offset, size): (u64, u64),
    random: &mut Random,
) -> Outcome {
    let dmabuf = buffer.dma_buf().range(offset, size).create()?;
    let size = if size == 0 {
        buffer.size() - offset
    } else {
        size
    };
    let what = format!("{size} bytes at {offset}");
    check_eq!(dmabuf.size()?, size, "{what}: size of the dma-buf");
    let window = other.import(&dmabuf)?;
    check_eq!(window.size(), size, "{what}: size of the import");

    let expected = part(bytes, offset, size).to_vec();
    check_eq!(
        window.crc32c(0, size)?,
        hlrs::crc32c(0, &expected),
        "{what}: through the import"
    );
    for _ in 0..3 {
        let (from, len) = random.range(size);
        check_eq!(
            window.crc32c(from, len)?,
            hlrs::crc32c(0, part(&expected, from, len)),
            "{what}: {len} bytes at {from} of it"
        );
    }
    let copy = Place::Lmem.create(other, size)?;
    copy.copy_from(0, &window, 0, size)?;
    cards::compare(&what, &cards::read(&copy, 0, size)?, &expected)?;

    // Back: all of it, and not a byte beside it.
    let new = random.bytes(size as usize);
    cards::write(&copy, 0, &new)?;
    window.copy_from(0, &copy, 0, size)?;
    bytes[offset as usize..][..size as usize].copy_from_slice(&new);
    let (at, len, pattern) = (size - 13, 13, random.next());
    window.fill(at, len, pattern)?;
    for n in 0..len as usize {
        bytes[(offset + at) as usize + n] = pattern.to_le_bytes()[n % 8];
    }
    check_eq!(
        buffer.crc32c(0, buffer.size())?,
        hlrs::crc32c(0, bytes),
        "{what}: the whole buffer after the import was written"
    );
    check_errno!(window.crc32c(0, size + 1), RANGE, "beyond {what}");
    check_errno!(window.fill(size, 1, 0), RANGE, "behind {what}");
    Ok(())
}

fn parts_of_a_buffer(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let size = MIB;
        let (buffer, mut bytes) = random_buffer(&a, place, size, &mut random)?;
        let mut ranges = vec![
            (0, 0),
            (0, PAGE),
            (PAGE, PAGE),
            (MIB / 2 - PAGE, 2 * PAGE),
            (MIB / 4 * 3, 0),
            (size - PAGE, 0),
            (size - PAGE, PAGE),
        ];
        for _ in context.each(2, 500) {
            let first = random.below(size / PAGE);
            let count = 1 + random.below(size / PAGE - first);
            ranges.push((first * PAGE, count * PAGE));
        }
        for range in ranges {
            round_trip(&buffer, &mut bytes, &b, range, &mut random)?;
        }
    }
    Ok(())
}

/// Blocks of single pages, so that the ranges have as many pieces.
fn parts_of_scattered_memory(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    let mut holes: Vec<_> = (0..128)
        .map(|_| Place::Visible.create(&a, PAGE))
        .collect::<hlrs::Result<_>>()?;
    let mut keep = false;
    holes.retain(|_| {
        keep = !keep;
        keep
    });
    let pages = 100;
    let (buffer, mut bytes) = random_buffer(&a, Place::Visible, pages * PAGE, &mut random)?;
    for _ in context.each(4, 1000) {
        let first = random.below(pages);
        let count = 1 + random.below(pages - first);
        let range = (first * PAGE, count * PAGE);
        round_trip(&buffer, &mut bytes, &b, range, &mut random)?;
    }
    Ok(())
}

fn overlapping_exports(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (buffer, mut bytes) = random_buffer(&a, place, 16 * PAGE, &mut random)?;
        let ranges = [(0, 8), (4, 8), (4, 4), (0, 16)];
        let windows = ranges
            .iter()
            .map(|(first, count)| {
                let dmabuf = buffer
                    .dma_buf()
                    .range(first * PAGE, count * PAGE)
                    .create()?;
                b.import(&dmabuf)
            })
            .collect::<hlrs::Result<Vec<_>>>()?;
        for (n, window) in windows.iter().enumerate() {
            check!(
                windows[..n].iter().all(|w| w.handle() != window.handle()),
                "{place:?}: two imports have one handle"
            );
        }
        // What one writes all others see, in the order of the jobs, although
        // each is a buffer of its own for the importing device.
        for round in 0..20 {
            let n = random.below(4) as usize;
            let (first, count) = ranges[n];
            let (offset, size) = random.range(count * PAGE);
            let pattern = random.next();
            let _job = windows[n].fill_async(offset, size, pattern)?;
            for k in 0..size as usize {
                bytes[(first * PAGE + offset) as usize + k] = pattern.to_le_bytes()[k % 8];
            }
            let n = random.below(4) as usize;
            let (first, count) = ranges[n];
            check_eq!(
                windows[n].crc32c(0, count * PAGE)?,
                hlrs::crc32c(0, part(&bytes, first * PAGE, count * PAGE)),
                "{place:?}, round {round}: pages {first} to {}",
                first + count
            );
        }
        let all = cards::read(&buffer, 0, 16 * PAGE)?;
        cards::compare(&format!("{place:?}"), &all, &bytes)?;
    }
    Ok(())
}

fn each_export_is_a_new_one(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let buffer = Place::Visible.create(&a, MIB)?;
    let exports = (0..3).map(|_| buffer.dma_buf().create());
    let exports = exports.collect::<hlrs::Result<Vec<_>>>()?;
    let mut inodes = exports.iter().map(inode).collect::<Outcome<Vec<_>>>()?;
    inodes.push(inode(&buffer.export()?)?);
    inodes.sort_unstable();
    inodes.dedup();
    check_eq!(inodes.len(), 4, "different dma-bufs");
    let windows = exports.iter().map(|dmabuf| b.import(dmabuf));
    let windows = windows.collect::<hlrs::Result<Vec<_>>>()?;
    drop(exports);
    for (n, window) in windows.iter().enumerate() {
        window.fill(n as u64 * 8, 8, n as u64 + 1)?;
    }
    for (n, window) in windows.iter().enumerate() {
        let expected: Vec<u8> = [1u64, 2, 3].iter().flat_map(|v| v.to_le_bytes()).collect();
        check_eq!(
            window.crc32c(0, 24)?,
            hlrs::crc32c(0, &expected),
            "import {n}"
        );
    }
    Ok(())
}

/// The device's engine reads its own memory where it is.
fn into_another_file_of_the_device(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (one, two) = (node.open()?, node.open()?);
    let mut random = Random::new(context.seed);
    let (buffer, mut bytes) = random_buffer(&one, Place::Visible, MIB, &mut random)?;
    let (offset, size) = (3 * PAGE, MIB / 2);
    let window = two.import(&buffer.dma_buf().range(offset, size).create()?)?;
    check_eq!(window.size(), size);
    let target = Place::Lmem.create(&two, size)?;
    let before = node.counters();
    target.copy_from(0, &window, 0, size)?;
    window.fill(5, 100, 0x77)?;
    window.copy_from(PAGE, &target, PAGE, PAGE)?;
    let after = node.counters();
    if let (Some(before), Some(after)) = (before, after) {
        for name in ["bus_read", "bus_write"] {
            // Commands and fences are in system memory; the contents are not.
            let by = after.since(&before, name).unwrap_or(u64::MAX);
            check!(by < size / 16, "{name} grew by {by} bytes");
        }
    } else {
        println!("the driver shows no counters in debugfs");
    }
    let copied = cards::read(&target, 0, size)?;
    cards::compare("copied", &copied, part(&bytes, offset, size))?;
    for n in 0..100 {
        bytes[offset as usize + 5 + n] = 0x77u64.to_le_bytes()[n % 8];
    }
    cards::compare("all", &cards::read(&buffer, 0, MIB)?, &bytes)?;
    check_errno!(window.crc32c(1, size), RANGE);
    // The same memory by another handle.
    let second = two.import(&buffer.dma_buf().range(offset + PAGE, PAGE).create()?)?;
    let overlapping = second.copy_from(0, &window, PAGE + 64, PAGE - 64);
    check_errno!(overlapping, INVAL, "source and target overlap");
    drop(second);

    buffer.revoke()?;
    check_errno!(window.crc32c(0, size), NODEV, "after it was revoked");
    check_errno!(window.fill(0, 8, 0), NODEV, "after it was revoked");
    let copy = target.copy_from(0, &window, 0, size);
    check_errno!(copy, NODEV, "after it was revoked");
    cards::compare("all", &cards::read(&buffer, 0, MIB)?, &bytes)?;
    buffer.undo_revoke()?;
    check_eq!(
        window.crc32c(0, size)?,
        hlrs::crc32c(0, part(&bytes, offset, size)),
        "after the revoke was undone"
    );
    Ok(())
}

/// One buffer that has all of the memory. A part of it cannot be exported where
/// the aperture shows less than that.
fn all_of_lmem(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let lmem = a.lmem()?;
    check_eq!(lmem.used, 0, "bytes of LMEM in use");
    let buffer = Place::Lmem.create(&a, lmem.total)?;
    if lmem.cpu_visible < lmem.total {
        check_errno!(buffer.dma_buf().create(), NXIO);
        check_errno!(buffer.dma_buf().probe(), NXIO);
        return Ok(());
    }
    let window = b.import(&buffer.dma_buf().create()?)?;
    check_eq!(window.size(), lmem.total);
    window.fill(0, lmem.total, 0x0123_4567_89ab_cdef)?;
    cards::holds_pattern("all of LMEM", &buffer, 0x0123_4567_89ab_cdef)?;
    // The last page by an export of its own, and what is around it.
    let last = b.import(&buffer.dma_buf().range(lmem.total - PAGE, 0).create()?)?;
    check_eq!(last.size(), PAGE);
    last.fill(0, PAGE, 7)?;
    let end = cards::read(&window, lmem.total - PAGE - 8, 16)?;
    let expected = [0x0123_4567_89ab_cdefu64.to_le_bytes(), 7u64.to_le_bytes()];
    check_eq!(end, expected.concat(), "where the last page begins");
    Ok(())
}
