// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dma-bufs in the address space of processes.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use hlrs::Access;
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
use crate::raw;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        the_cpu_sees_the_part,
        parts_of_a_mapping,
        the_mapping_outlives_everything,
        cpu_accesses_wait_for_jobs: 120,
    ]
}

fn the_cpu_sees_the_part(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (buffer, mut bytes) = random_buffer(&a, place, MIB, &mut random)?;
        for (offset, size) in [(0, MIB), (3 * PAGE, 5 * PAGE), (MIB - PAGE, PAGE)] {
            let what = format!("{place:?}, {size} bytes at {offset}");
            let dmabuf = buffer.dma_buf().range(offset, size).create()?;
            let mut map = dmabuf.map()?;
            check_eq!(map.len() as u64, size, "{what}");
            // Not all of a large one: device memory is read word by word.
            let end = size - size.min(3 * PAGE);
            for at in [0, end] {
                let len = size.min(3 * PAGE);
                let found = map.to_vec(at as usize, len as usize)?;
                cards::compare(&what, &found, part(&bytes, offset + at, len))?;
            }
            dmabuf.begin_cpu_access(Access::ReadWrite)?;
            let new = random.bytes(100);
            let at = (size - 101) as usize;
            map.write(at, &new)?;
            dmabuf.end_cpu_access(Access::ReadWrite)?;
            bytes[offset as usize + at..][..100].copy_from_slice(&new);
            check_eq!(
                buffer.crc32c(0, MIB)?,
                hlrs::crc32c(0, &bytes),
                "{what}: the whole buffer after the CPU wrote"
            );
            let window = b.import(&dmabuf)?;
            check_eq!(
                window.crc32c(0, size)?,
                hlrs::crc32c(0, part(&bytes, offset, size)),
                "{what}: what the peer sees of it"
            );
            window.fill(0, 8, 0x1122)?;
            bytes[offset as usize..][..8].copy_from_slice(&0x1122u64.to_le_bytes());
            check_eq!(map.to_vec(0, 8)?, 0x1122u64.to_le_bytes(), "{what}");
        }
    }
    Ok(())
}

/// mmap of a dma-buf as the test asks for it.
fn map(dmabuf: &DmaBuf, offset: u64, len: u64) -> raw::Result<*mut u8> {
    // SAFETY: the kernel chooses an address range that nothing else uses.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len as usize,
            libc::PROT_READ,
            libc::MAP_SHARED,
            dmabuf.as_fd().as_raw_fd(),
            offset as libc::off_t,
        )
    };
    if start == libc::MAP_FAILED {
        let err = std::io::Error::last_os_error();
        return Err(hlrs::Errno::from_io_error(&err).unwrap_or(hlrs::Errno::IO));
    }
    Ok(start.cast())
}

fn parts_of_a_mapping(context: &Context) -> Outcome {
    let a = cards::first()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (buffer, bytes) = random_buffer(&a, place, 16 * PAGE, &mut random)?;
        let dmabuf = buffer.dma_buf().range(4 * PAGE, 8 * PAGE).create()?;
        for (offset, len) in [(0, 8), (0, 1), (3, 2), (7, 1)] {
            let start = map(&dmabuf, offset * PAGE, len * PAGE);
            let start = start.map_err(crate::harness::Stop::failed)?;
            for page in 0..len {
                // SAFETY: within what was just mapped; any value is a byte.
                let found = unsafe { start.add((page * PAGE) as usize).read_volatile() };
                let expected = bytes[((4 + offset + page) * PAGE) as usize];
                check_eq!(
                    found,
                    expected,
                    "{place:?}: page {page} of {len} at {offset}"
                );
            }
            // SAFETY: what was just mapped, and nothing refers to it.
            unsafe { libc::munmap(start.cast(), (len * PAGE) as usize) };
        }
        // The buffer goes on after the export, the export does not.
        for (offset, len) in [(0, 9), (1, 8), (8, 1), (7, 2), (1 << 40, 1)] {
            let refused = map(&dmabuf, offset * PAGE, len * PAGE);
            check_errno!(refused, INVAL, "{place:?}: {len} pages at {offset}");
        }
    }
    Ok(())
}

fn the_mapping_outlives_everything(context: &Context) -> Outcome {
    let observer = cards::first()?;
    let used = cards::used(&observer)?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (map, bytes) = {
            let device = cards::first()?;
            let (buffer, bytes) = random_buffer(&device, place, MIB, &mut random)?;
            let dmabuf = buffer.dma_buf().range(PAGE, 2 * PAGE).create()?;
            (dmabuf.map()?, bytes)
        };
        for _ in 0..4 {
            place.create(&observer, MIB)?.fill(0, MIB, u64::MAX)?;
        }
        let found = map.to_vec(0, map.len())?;
        cards::compare("the mapping", &found, part(&bytes, PAGE, 2 * PAGE))?;
        drop(map);
        cards::settles(&observer, used)?;
    }
    Ok(())
}

fn cpu_accesses_wait_for_jobs(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    for place in PLACES {
        let size = 8 * MIB;
        let buffer = place.create(&a, size)?;
        let dmabuf = buffer.dma_buf().create()?;
        let window = b.import(&dmabuf)?;
        let target = Place::Visible.create(&b, size)?;
        let scratch = Place::Lmem.create(&b, size)?;
        let (map, copied) = (dmabuf.map()?, target.map()?);
        let mut waited = false;
        // As often as it takes until there was something to wait for.
        for round in 0..u64::from(context.rounds(20, 200)) {
            for n in 0..16 {
                let _busy = window.fill_async(0, size, n)?;
            }
            let last = window.fill_async(0, size, !round)?;
            waited |= !last.is_done()?;
            dmabuf.begin_cpu_access(Access::Read)?;
            let at = size as usize - 8;
            check_eq!(map.to_vec(at, 8)?, (!round).to_le_bytes(), "round {round}");
            dmabuf.end_cpu_access(Access::Read)?;

            // Who writes waits for readers, too.
            for _ in 0..8 {
                let _read = scratch.copy_from_async(0, &window, 0, size)?;
            }
            let _read = target.copy_from_async(0, &window, 0, size)?;
            dmabuf.begin_cpu_access(Access::Write)?;
            let end = copied.to_vec(at, 8)?;
            check_eq!(end, (!round).to_le_bytes(), "copied before the CPU writes");
            dmabuf.end_cpu_access(Access::Write)?;
            if waited && !context.soak {
                break;
            }
        }
        check!(waited, "{place:?}: there was never a job to wait for");
    }
    Ok(())
}
