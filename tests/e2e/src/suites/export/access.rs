// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access modes: what importers and processes may do with an export.

use hlrs::Access;
use hlrs::Buffer;
use hlrs::Device;
use hlrs::DmaBuf;

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
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        for_reading,
        for_writing,
        for_reading_by_prime,
        into_the_device_that_has_exported_it,
    ]
}

const SIZE: u64 = 64 * PAGE;

/// Reads by the engine of the import's device are right.
fn reads(what: &str, window: &Buffer, expected: &[u8]) -> Outcome {
    let size = window.size();
    check_eq!(
        window.crc32c(0, size)?,
        hlrs::crc32c(0, expected),
        "{what}: checksum"
    );
    let target = Place::Lmem.create(window.device(), size)?;
    target.copy_from(0, window, 0, size)?;
    cards::compare(what, &cards::read(&target, 0, size)?, expected)
}

/// Writes by the engine of the import's device are refused.
fn does_not_write(what: &str, window: &Buffer) -> Outcome {
    let source = Place::Lmem.create(window.device(), PAGE)?;
    check_errno!(window.fill(0, 8, 1), ACCESS, "{what}: fill");
    check_errno!(window.fill_async(0, 8, 1), ACCESS, "{what}: fill");
    let copy = window.copy_from(0, &source, 0, PAGE);
    check_errno!(copy, ACCESS, "{what}: copy into it");
    Ok(())
}

/// Reads by the engine of the import's device are refused.
fn does_not_read(what: &str, window: &Buffer) -> Outcome {
    let target = Place::Lmem.create(window.device(), PAGE)?;
    target.fill(0, PAGE, 3)?;
    check_errno!(window.crc32c(0, 8), ACCESS, "{what}: checksum");
    let copy = target.copy_from(0, window, 0, PAGE);
    check_errno!(copy, ACCESS, "{what}: copy out of it");
    cards::holds_pattern("the destination of a refused copy", &target, 3)
}

/// Makes a mapping writable; returns whether that was allowed.
fn make_writable(map: &hlrs::Mapping) -> bool {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the whole mapping; what it may be used for only grows.
    unsafe { libc::mprotect(map.as_ptr().cast(), map.len(), prot) == 0 }
}

fn cpu_only_reads(what: &str, dmabuf: &DmaBuf, expected: &[u8]) -> Outcome {
    check_errno!(dmabuf.map(), ACCESS, "{what}: mapping it for writing");
    let map = dmabuf.map_read_only()?;
    cards::compare(what, &map.to_vec(0, 64)?, &expected[..64])?;
    check!(!make_writable(&map), "{what}: a mapping became writable");
    Ok(())
}

fn for_reading(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (buffer, bytes) = random_buffer(&a, place, SIZE, &mut random)?;
        for (offset, size) in [(0, SIZE), (5 * PAGE, 7 * PAGE)] {
            let what = format!("{place:?}, {size} bytes for reading");
            let export = buffer.dma_buf().range(offset, size);
            let dmabuf = export.access(Access::Read).create()?;
            let expected = part(&bytes, offset, size);
            cpu_only_reads(&what, &dmabuf, expected)?;
            let window = b.import(&dmabuf)?;
            reads(&what, &window, expected)?;
            does_not_write(&what, &window)?;
            // Beside it, one that may be written to.
            let other = b.import(&export.create()?)?;
            reads(&what, &other, expected)?;
            other.fill(0, 1, bytes[offset as usize].into())?;
        }
        let now = cards::read(&buffer, 0, SIZE)?;
        cards::compare("after refused writes", &now, &bytes)?;
    }
    Ok(())
}

fn for_writing(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (buffer, mut bytes) = random_buffer(&a, place, SIZE, &mut random)?;
        for (offset, size) in [(0, SIZE), (5 * PAGE, 7 * PAGE)] {
            let what = format!("{place:?}, {size} bytes for writing");
            let export = buffer.dma_buf().range(offset, size);
            let dmabuf = export.access(Access::Write).create()?;
            check_errno!(dmabuf.map(), ACCESS, "{what}: mapping it");
            check_errno!(dmabuf.map_read_only(), ACCESS, "{what}: mapping it");
            let window = b.import(&dmabuf)?;
            let (source, new) = random_buffer(&b, Place::Lmem, size, &mut random)?;
            window.copy_from(0, &source, 0, size)?;
            bytes[offset as usize..][..size as usize].copy_from_slice(&new);
            let now = cards::read(&buffer, 0, SIZE)?;
            cards::compare(&what, &now, &bytes)?;
            does_not_read(&what, &window)?;
        }
    }
    Ok(())
}

fn for_reading_by_prime(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (buffer, bytes) = random_buffer(&a, place, SIZE, &mut random)?;
        let what = format!("{place:?} by PRIME without DRM_RDWR");
        let dmabuf = buffer.export_read_only()?;
        cpu_only_reads(&what, &dmabuf, &bytes)?;
        let window = b.import(&dmabuf)?;
        reads(&what, &window, &bytes)?;
        does_not_write(&what, &window)?;
    }
    Ok(())
}

/// There the importer would get the buffer itself if it was given all of it,
/// with all rights.
fn into_the_device_that_has_exported_it(context: &Context) -> Outcome {
    let exporter = cards::first()?;
    let importer = |device: &Device, dmabuf: &DmaBuf| device.import(dmabuf);
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (buffer, bytes) = random_buffer(&exporter, place, SIZE, &mut random)?;
        for (offset, size) in [(0, SIZE), (PAGE, 3 * PAGE)] {
            let what = format!("{place:?}, {size} bytes, in another file of the device");
            let export = buffer.dma_buf().range(offset, size);
            let expected = part(&bytes, offset, size);
            let other = cards::first()?;
            let read = importer(&other, &export.access(Access::Read).create()?)?;
            reads(&what, &read, expected)?;
            does_not_write(&what, &read)?;
            check!(read.map().is_err(), "{what}: mapped by the device's file");
            let write = importer(&other, &export.access(Access::Write).create()?)?;
            does_not_read(&what, &write)?;
            write.fill(0, 1, expected[0].into())?;
        }
        let now = cards::read(&buffer, 0, SIZE)?;
        cards::compare("after refused writes", &now, &bytes)?;
    }
    Ok(())
}
