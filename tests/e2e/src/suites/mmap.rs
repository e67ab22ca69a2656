// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buffers in the address space: contents, sharing, what is refused, lifetime.
//! What happens when the device goes is in the suites `unbind` and `hotplug`.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::path::Path;

use hlrs::Buffer;
use hlrs::Device;
use hlrs_sys as sys;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::raw;
use crate::raw::PAGE;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::role;
use crate::system::MIB;
use crate::tests;

/// Places that the CPU can reach.
const PLACES: [Place; 2] = [Place::System, Place::Visible];

pub fn tests() -> Vec<Test> {
    tests![
        contents_both_ways,
        scattered_buffers: 120,
        part_of_a_buffer,
        two_mappings_of_one_buffer,
        unmapping_a_part,
        fork_shares_the_memory,
        private_mappings_are_refused,
        ranges_beyond_the_buffer_are_refused,
        buffers_of_another_file_are_refused,
        the_mapping_outlives_the_file,
    ]
}

/// mmap as the test asks for it, with the error number as the result.
fn map(device: &Device, offset: u64, len: usize, flags: i32) -> raw::Result<*mut u8> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let fd = device.as_fd().as_raw_fd();
    // SAFETY: the kernel chooses an address range that nothing else uses.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            prot,
            flags,
            fd,
            offset as libc::off_t,
        )
    };
    if start == libc::MAP_FAILED {
        let err = std::io::Error::last_os_error();
        return Err(hlrs::Errno::from_io_error(&err).unwrap_or(hlrs::Errno::IO));
    }
    Ok(start.cast())
}

fn offset_of(buffer: &Buffer) -> Outcome<u64> {
    let handle = buffer.handle();
    let mut arg = sys::drm_hlrs_mem_mmap_offset {
        handle,
        ..Default::default()
    };
    check_eq!(raw::mmap_offset(buffer.device(), &mut arg), Ok(()));
    Ok(arg.offset)
}

fn contents_both_ways(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let buffer = place.create(&device, 3 * MIB)?;
        let mut map = buffer.map()?;
        cards::compare(
            "a new mapping",
            &map.to_vec(0, map.len())?,
            &vec![0; map.len()],
        )?;
        let bytes = random.bytes(map.len());
        map.write(0, &bytes)?;
        // What the CPU wrote, as the device sees it, and the other way round.
        check_eq!(
            buffer.crc32c(0, buffer.size())?,
            hlrs::crc32c(0, &bytes),
            "{place:?}"
        );
        cards::compare(
            "copied by the device",
            &cards::read(&buffer, 0, buffer.size())?,
            &bytes,
        )?;
        buffer.fill(5, MIB, 0xa5a5_5a5a_1234_8765)?;
        let mut expected = bytes;
        for (n, byte) in expected[5..5 + MIB as usize].iter_mut().enumerate() {
            *byte = 0xa5a5_5a5a_1234_8765u64.to_le_bytes()[n % 8];
        }
        cards::compare(
            "filled by the device",
            &map.to_vec(0, map.len())?,
            &expected,
        )?;
    }
    Ok(())
}

/// A buffer of many blocks: every page of the mapping is the right one.
fn scattered_buffers(_: &Context) -> Outcome {
    let device = cards::first()?;
    let mut single: Vec<_> = (0..128)
        .map(|_| Place::Visible.create(&device, PAGE as u64))
        .collect::<hlrs::Result<_>>()?;
    let mut keep = false;
    single.retain(|_| {
        keep = !keep;
        keep
    });
    let buffer = Place::Visible.create(&device, 96 * PAGE as u64)?;
    let mut map = buffer.map()?;
    let pages = map.len() / PAGE;
    for page in 0..pages {
        buffer.fill((page * PAGE) as u64, PAGE as u64, page as u64 + 1)?;
    }
    for page in 0..pages {
        let found = map.to_vec(page * PAGE + 8, 8)?;
        check_eq!(
            found,
            (page as u64 + 1).to_le_bytes(),
            "page {page} of {pages}"
        );
        map.write(page * PAGE + 4000, &(!page as u64).to_le_bytes())?;
    }
    for page in 0..pages {
        let found = cards::read(&buffer, (page * PAGE + 4000) as u64, 8)?;
        check_eq!(
            found,
            (!page as u64).to_le_bytes(),
            "page {page} by the device"
        );
    }
    Ok(())
}

fn part_of_a_buffer(_: &Context) -> Outcome {
    let device = cards::first()?;
    for place in PLACES {
        let buffer = place.create(&device, 8 * PAGE as u64)?;
        for page in 0..8 {
            buffer.fill(page * PAGE as u64, PAGE as u64, page)?;
        }
        let map = buffer.map_range(3 * PAGE as u64, 2 * PAGE as u64)?;
        check_eq!(map.to_vec(0, 8)?, 3u64.to_le_bytes(), "{place:?}");
        check_eq!(
            map.to_vec(2 * PAGE - 8, 8)?,
            4u64.to_le_bytes(),
            "{place:?}"
        );
    }
    Ok(())
}

fn two_mappings_of_one_buffer(_: &Context) -> Outcome {
    let device = cards::first()?;
    for place in PLACES {
        let buffer = place.create(&device, MIB)?;
        let (mut a, b) = (buffer.map()?, buffer.map()?);
        a.write(12345, b"both")?;
        check_eq!(b.to_vec(12345, 4)?, b"both", "{place:?}");
        drop(a);
        check_eq!(b.to_vec(12345, 4)?, b"both", "{place:?}, one unmapped");
    }
    Ok(())
}

fn unmapping_a_part(_: &Context) -> Outcome {
    let device = cards::first()?;
    for place in PLACES {
        let buffer = place.create(&device, 8 * PAGE as u64)?;
        for page in 0..8 {
            buffer.fill(page * PAGE as u64, PAGE as u64, page + 100)?;
        }
        let failed = |errno| Stop::failed(format!("mapping {place:?}: {errno}"));
        let start =
            map(&device, offset_of(&buffer)?, 8 * PAGE, libc::MAP_SHARED).map_err(failed)?;
        // SAFETY: pages 3 and 4 of our own mapping, to which nothing refers.
        let unmapped = unsafe { libc::munmap(start.add(3 * PAGE).cast(), 2 * PAGE) };
        check_eq!(unmapped, 0);
        for page in [0, 2, 5, 7] {
            // SAFETY: these pages are still mapped; any value is a u64.
            let found = unsafe { start.add(page * PAGE).cast::<u64>().read_volatile() };
            check_eq!(found, page as u64 + 100, "{place:?}, page {page}");
        }
        for (first, count) in [(0, 3), (5, 3)] {
            // SAFETY: the rest of the mapping, to which nothing refers.
            unsafe { libc::munmap(start.add(first * PAGE).cast(), count * PAGE) };
        }
    }
    Ok(())
}

/// In the child of a fork: checks and changes the memory. Returns the exit
/// status. Only what is allowed between fork and exit.
fn in_child(start: *mut u8, len: usize) -> i32 {
    for offset in (0..len).step_by(PAGE) {
        // SAFETY: the mapping was inherited, `len` bytes long.
        unsafe {
            let word = start.add(offset).cast::<u64>();
            if word.read_volatile() != 7 {
                return 1;
            }
            word.write_volatile(8);
        }
    }
    0
}

fn fork_shares_the_memory(_: &Context) -> Outcome {
    let device = cards::first()?;
    for place in PLACES {
        let buffer = place.create(&device, MIB)?;
        let map = buffer.map()?;
        buffer.fill(0, MIB, 7)?;
        // SAFETY: this process has one thread at this point, and the child
        // does nothing but touch the mapping and exit.
        let child = unsafe { libc::fork() };
        check!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            let status = in_child(map.as_ptr(), map.len());
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(status) };
        }
        let mut status = 0;
        // SAFETY: our own child, and a place for its status.
        let ended = unsafe { libc::waitpid(child, &mut status, 0) };
        check_eq!(ended, child);
        check_eq!(status, 0, "{place:?}: status of the child");
        check_eq!(
            map.to_vec(PAGE, 8)?,
            8u64.to_le_bytes(),
            "{place:?}: written by the child"
        );
        check_eq!(
            buffer.crc32c(0, 8)?,
            hlrs::crc32c(0, &8u64.to_le_bytes()),
            "by the device"
        );
    }
    Ok(())
}

/// A private mapping would need copies of device memory. It must be refused,
/// and must not bring the kernel down when it is written.
fn private_mappings_are_refused(_: &Context) -> Outcome {
    let device = cards::first()?;
    for place in PLACES {
        let buffer = place.create(&device, PAGE as u64)?;
        let refused = map(&device, offset_of(&buffer)?, PAGE, libc::MAP_PRIVATE);
        check_errno!(refused, INVAL, "a private mapping of {place:?}");
    }
    Ok(())
}

fn ranges_beyond_the_buffer_are_refused(_: &Context) -> Outcome {
    let device = cards::first()?;
    for place in PLACES {
        let buffer = place.create(&device, 4 * PAGE as u64)?;
        let offset = offset_of(&buffer)?;
        let too_long = map(&device, offset, 5 * PAGE, libc::MAP_SHARED);
        check_errno!(too_long, INVAL, "a page more than {place:?} has");
        let shifted = map(&device, offset + PAGE as u64, 4 * PAGE, libc::MAP_SHARED);
        check_errno!(shifted, INVAL, "a page behind {place:?}");
        let nothing = map(&device, offset + (1 << 36), PAGE, libc::MAP_SHARED);
        check!(nothing.is_err(), "mapped at an offset that nobody gave out");
    }
    let at_zero = map(&device, 0, PAGE, libc::MAP_SHARED);
    check!(at_zero.is_err(), "mapped at offset 0");
    Ok(())
}

fn buffers_of_another_file_are_refused(_: &Context) -> Outcome {
    let (mine, other) = (cards::first()?, cards::first()?);
    for place in PLACES {
        let secret = place.create(&other, MIB)?;
        secret.fill(0, MIB, 0x5ec4e7)?;
        let offset = offset_of(&secret)?;
        let refused = map(&mine, offset, MIB as usize, libc::MAP_SHARED);
        check_errno!(refused, ACCESS, "another file's buffer in {place:?}");
    }
    // A file that was given the buffer may.
    let buffer = Place::Visible.create(&other, MIB)?;
    buffer.fill(0, MIB, 0x5ec4e7)?;
    let given = mine.import(&buffer.export()?)?;
    check_eq!(given.map()?.to_vec(0, 8)?, 0x5ec4e7u64.to_le_bytes());
    Ok(())
}

fn the_mapping_outlives_the_file(context: &Context) -> Outcome {
    let observer = cards::first()?;
    let before = cards::used(&observer)?;
    let bytes = Random::new(context.seed).bytes(MIB as usize);
    let mut map = {
        let device = cards::first()?;
        Place::Visible.create(&device, MIB)?.map()?
    };
    map.write(0, &bytes)?;
    cards::settles(&observer, before + MIB)?;
    // Others get other memory.
    let others = (0..4).map(|_| Place::Visible.create(&observer, MIB));
    for other in others.collect::<hlrs::Result<Vec<_>>>()? {
        other.fill(0, MIB, u64::MAX)?;
    }
    cards::compare("the mapping", &map.to_vec(0, map.len())?, &bytes)?;
    drop(map);
    cards::settles(&observer, before)
}

/// Role: holds a buffer and a mapping of it, and touches the mapping when told.
pub fn hold(node: &str, place: &str) -> Outcome {
    let device = Device::open(Path::new(node))?;
    let place = match place {
        "system" => Place::System,
        _ => Place::Visible,
    };
    let buffer = place.create(&device, MIB)?;
    buffer.fill(0, MIB, 0x1234)?;
    let mut map = buffer.map()?;
    role::say("ready");
    loop {
        match role::listen()?.as_str() {
            "read" => role::say(&format!("{:?}", map.to_vec(0, 8)?)),
            "write" => {
                map.write(0, &[1; 8])?;
                role::say("written");
            }
            "work" => {
                for n in 0..16 {
                    let _job = buffer.fill_async(0, MIB, n)?;
                }
                role::say("working");
            }
            "fill" => role::say(&match buffer.fill(0, 8, 0) {
                Ok(()) => "filled".to_owned(),
                Err(err) => format!(
                    "errno {}",
                    err.errno().map_or(0, |errno| errno.raw_os_error())
                ),
            }),
            _ => return Ok(()),
        }
    }
}
