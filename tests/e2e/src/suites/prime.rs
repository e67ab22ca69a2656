// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buffers handed from one device to another as dma-bufs.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::path::Path;

use hlrs::Buffer;
use hlrs::Device;
use hlrs::DmaBuf;
use hlrs::Errno;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::skip;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::role;
use crate::system::role::Role;
use crate::system::socket::inheritable;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        peer_to_peer_both_ways,
        scattered_memory_peer_to_peer: 120,
        system_memory_of_another_device,
        counters_show_the_bus,
        import_into_the_same_file,
        import_into_another_file_of_the_device,
        importing_twice_gives_one_handle,
        the_memory_outlives_its_exporter,
        the_import_outlives_the_descriptor,
        jobs_of_both_devices_keep_their_order: 120,
        a_dmabuf_of_a_heap,
        imports_cannot_be_mapped,
        another_process_imports,
        many_times: 180,
    ]
}

fn peer_to_peer_both_ways(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    let source = Place::Visible.create(&a, 3 * MIB)?;
    let mut bytes = cards::randomize(&source, &mut random)?;
    let dmabuf = source.export()?;
    check_eq!(dmabuf.size()?, 3 * MIB);
    let window = b.import(&dmabuf)?;
    check_eq!(window.size(), 3 * MIB);

    // The second device reads the first one's memory ...
    let target = Place::Lmem.create(&b, 3 * MIB)?;
    target.copy_from(0, &window, 0, 3 * MIB)?;
    cards::compare("pulled", &cards::read(&target, 0, 3 * MIB)?, &bytes)?;
    check_eq!(
        window.crc32c(7, 100_001)?,
        hlrs::crc32c(0, &bytes[7..100_008]),
        "through it"
    );

    // ... and writes it, at odd places.
    for _ in 0..20 {
        let (offset, size) = random.range(3 * MIB);
        let pattern = random.next();
        window.fill(offset, size, pattern)?;
        for n in 0..size as usize {
            bytes[offset as usize + n] = pattern.to_le_bytes()[n % 8];
        }
    }
    cards::compare(
        "written by the peer",
        &cards::read(&source, 0, 3 * MIB)?,
        &bytes,
    )
}

fn scattered_memory_peer_to_peer(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    let mut holes: Vec<_> = (0..256)
        .map(|_| Place::Visible.create(&a, 4096))
        .collect::<hlrs::Result<_>>()?;
    let mut keep = false;
    holes.retain(|_| {
        keep = !keep;
        keep
    });
    let source = Place::Visible.create(&a, 200 * 4096)?;
    let bytes = cards::randomize(&source, &mut random)?;
    let window = b.import(&source.export()?)?;
    let target = Place::Lmem.create(&b, 200 * 4096)?;
    target.copy_from(0, &window, 0, target.size())?;
    cards::compare("pulled", &cards::read(&target, 0, target.size())?, &bytes)?;
    for _ in 0..40 {
        let (offset, size) = random.range(target.size());
        let expected = hlrs::crc32c(0, &bytes[offset as usize..(offset + size) as usize]);
        check_eq!(
            window.crc32c(offset, size)?,
            expected,
            "{size} bytes at {offset}"
        );
    }
    Ok(())
}

fn system_memory_of_another_device(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let source = Place::System.create(&a, MIB)?;
    let bytes = cards::randomize(&source, &mut Random::new(context.seed))?;
    let Some(dmabuf) = export(&source, Place::System)? else {
        skip!("the driver does not export system memory");
    };
    let window = b.import(&dmabuf)?;
    check_eq!(window.crc32c(0, MIB)?, hlrs::crc32c(0, &bytes));
    window.fill(10, 10, 0)?;
    check_eq!(source.map()?.to_vec(10, 10)?, [0; 10]);
    Ok(())
}

fn counters_show_the_bus(_: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    check!(nodes.len() >= 2, "two accelerators are needed");
    let (a, b) = (nodes[0].open()?, nodes[1].open()?);
    let Some(before) = nodes[1].counters() else {
        skip!("the driver shows no counters in debugfs");
    };
    let source = Place::Visible.create(&a, 2 * MIB)?;
    let target = Place::Lmem.create(&b, 2 * MIB)?;
    let window = b.import(&source.export()?)?;
    let mut last = before;
    let mut moved = |name: &str, at_least: u64| -> Outcome {
        let now = nodes[1]
            .counters()
            .ok_or_else(|| Stop::failed("no counters any more"))?;
        let by = now.since(&last, name).unwrap_or(0);
        check!(by >= at_least, "{name} grew by {by}, not {at_least}");
        last = now;
        Ok(())
    };
    target.copy_from(0, &window, 0, 2 * MIB)?;
    moved("bus_read", 2 * MIB)?;
    window.copy_from(0, &target, 0, 2 * MIB)?;
    moved("bus_write", 2 * MIB)
}

/// Exports a buffer; `None` if the driver says that it does not export memory
/// of this kind: it must be reachable for peers.
fn export(buffer: &Buffer, place: Place) -> Outcome<Option<DmaBuf>> {
    match buffer.export() {
        Ok(dmabuf) => Ok(Some(dmabuf)),
        Err(err) if place == Place::System && err.errno() == Some(Errno::OPNOTSUPP) => Ok(None),
        Err(err) if place == Place::Lmem && err.errno() == Some(Errno::NXIO) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

fn import_into_the_same_file(_: &Context) -> Outcome {
    let device = cards::first()?;
    let used = cards::used(&device)?;
    for place in Place::ALL {
        let buffer = place.create(&device, MIB)?;
        let Some(dmabuf) = export(&buffer, place)? else {
            continue;
        };
        let again = device.import(&dmabuf)?;
        drop(dmabuf);
        check_eq!(
            again.handle(),
            buffer.handle(),
            "{place:?}: handle of one's own export"
        );
        // The library counts both, so that either may go first.
        drop(buffer);
        again.fill(0, MIB, 77)?;
        cards::holds_pattern("the second", &again, 77)?;
    }
    cards::settles(&device, used)
}

fn import_into_another_file_of_the_device(context: &Context) -> Outcome {
    let (one, two) = (cards::first()?, cards::first()?);
    for place in Place::ALL {
        let buffer = place.create(&one, MIB)?;
        let bytes = cards::randomize(&buffer, &mut Random::new(context.seed))?;
        let Some(dmabuf) = export(&buffer, place)? else {
            continue;
        };
        let used = cards::used(&one)?;
        let other = two.import(&dmabuf)?;
        check_eq!(cards::used(&one)?, used, "{place:?}: no memory of its own");
        cards::compare("shared", &cards::read(&other, 0, MIB)?, &bytes)?;
        other.fill(0, MIB, 5)?;
        cards::holds_pattern("written by the other file", &buffer, 5)?;
    }
    Ok(())
}

fn importing_twice_gives_one_handle(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let buffer = Place::Visible.create(&a, MIB)?;
    let dmabuf = buffer.export()?;
    let (first, second) = (b.import(&dmabuf)?, b.import(&dmabuf.try_clone()?)?);
    check_eq!(first.handle(), second.handle());
    let third = b.import(&buffer.export()?)?;
    check_eq!(
        third.handle(),
        second.handle(),
        "of a second export of the same buffer"
    );
    drop((first, third));
    second.fill(0, MIB, 3)?;
    cards::holds_pattern("after two of three imports are gone", &buffer, 3)
}

fn the_memory_outlives_its_exporter(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let used = cards::used(&a)?;
    let mut random = Random::new(context.seed);
    let (window, bytes) = {
        let device = cards::first()?;
        let buffer = Place::Visible.create(&device, MIB)?;
        let bytes = cards::randomize(&buffer, &mut random)?;
        (b.import(&buffer.export()?)?, bytes)
    };
    cards::settles(&a, used + MIB)?;
    // What is created meanwhile lies elsewhere.
    for _ in 0..8 {
        Place::Visible.create(&a, MIB)?.fill(0, MIB, u64::MAX)?;
    }
    check_eq!(window.crc32c(0, MIB)?, hlrs::crc32c(0, &bytes));
    drop(window);
    cards::settles(&a, used)
}

fn the_import_outlives_the_descriptor(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let buffer = Place::Visible.create(&a, MIB)?;
    let dmabuf = buffer.export()?;
    let copy = dmabuf.try_clone()?;
    drop(dmabuf);
    let window = b.import(&copy)?;
    drop(copy);
    window.fill(0, MIB, 9)?;
    cards::holds_pattern("through an import without descriptor", &buffer, 9)
}

/// Fences of the two devices meet in the shared buffer. The first device is
/// kept busy, so that the second, which is idle, would be too early without
/// waiting.
fn jobs_of_both_devices_keep_their_order(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let size = 16 * MIB;
    let buffer = Place::Visible.create(&a, size)?;
    let dmabuf = buffer.export()?;
    let window = b.import(&dmabuf)?;
    let target = Place::Lmem.create(&b, MIB)?;
    let mut random = Random::new(context.seed);
    for round in context.each(2, 1000) {
        let pattern = random.next();
        for n in 0..16 {
            let _busy = buffer.fill_async(0, size, n)?;
        }
        let _write = buffer.fill_async(0, size, pattern)?;
        let _read = target.copy_from_async(0, &window, size - MIB, MIB)?;
        let _overwrite = buffer.fill_async(0, size, !pattern)?;
        cards::holds_pattern(&format!("round {round}, pulled"), &target, pattern)?;
        cards::holds_pattern(&format!("round {round}, source"), &buffer, !pattern)?;
    }
    // The other way round: the importer writes, the exporter reads.
    for n in 0..64 {
        let _busy = window.fill_async(0, size, n)?;
    }
    let _last = window.fill_async(0, size, 1)?;
    let copy = Place::Lmem.create(&a, MIB)?;
    copy.copy_from(0, &buffer, size - MIB, MIB)?;
    cards::holds_pattern("what the importer wrote", &copy, 1)?;
    let _last = window.fill_async(0, MIB, 2)?;
    dmabuf.wait(false, JOB)?;
    check_eq!(
        buffer.map()?.to_vec(0, 8)?,
        2u64.to_le_bytes(),
        "after waiting with poll"
    );
    Ok(())
}

/// A dma-buf of system memory that no accelerator made.
pub fn heap(size: u64) -> Outcome<DmaBuf> {
    #[repr(C)]
    struct Allocation {
        len: u64,
        fd: u32,
        fd_flags: u32,
        heap_flags: u64,
    }
    let Ok(heap) = std::fs::File::open("/dev/dma_heap/system") else {
        skip!("there is no /dev/dma_heap/system");
    };
    let flags = (libc::O_CLOEXEC | libc::O_RDWR) as u32;
    let mut arg = Allocation {
        len: size,
        fd: 0,
        fd_flags: flags,
        heap_flags: 0,
    };
    // _IOWR('H', 0, struct dma_heap_allocation_data)
    let number = (3u64 << 30) | ((size_of::<Allocation>() as u64) << 16) | (u64::from(b'H') << 8);
    // SAFETY: the argument of DMA_HEAP_IOCTL_ALLOC, which has no pointers.
    let done = unsafe { libc::ioctl(heap.as_raw_fd(), number, &raw mut arg) };
    check_eq!(done, 0, "allocating from the heap");
    // SAFETY: the kernel has just installed this descriptor for us alone.
    Ok(DmaBuf::from(unsafe { OwnedFd::from_raw_fd(arg.fd as i32) }))
}

fn a_dmabuf_of_a_heap(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let dmabuf = heap(MIB)?;
    let (first, second) = (a.import(&dmabuf)?, b.import(&dmabuf)?);
    let source = Place::Lmem.create(&a, MIB)?;
    let bytes = cards::randomize(&source, &mut Random::new(context.seed))?;
    first.copy_from(0, &source, 0, MIB)?;
    check_eq!(
        second.crc32c(0, MIB)?,
        hlrs::crc32c(0, &bytes),
        "seen by the other device"
    );
    Ok(())
}

fn imports_cannot_be_mapped(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let buffer = Place::Visible.create(&a, MIB)?;
    let window = b.import(&buffer.export()?)?;
    check_errno!(window.map(), OPNOTSUPP);
    Ok(())
}

fn another_process_imports(_: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    check!(nodes.len() >= 2, "two accelerators are needed");
    let a = nodes[0].open()?;
    let buffer = Place::Visible.create(&a, MIB)?;
    buffer.fill(0, MIB, 0xabcdef)?;
    let dmabuf = buffer.export()?;
    inheritable(dmabuf.as_fd())?;
    let node = nodes[1].path.display().to_string();
    let fd = dmabuf.as_fd().as_raw_fd().to_string();
    let mut role = Role::start("import", &[&node, &fd])?;
    let crc = hlrs::crc32c(0, &0xabcdefu64.to_le_bytes().repeat(MIB as usize / 8));
    role.expect(&format!("crc {crc:08x}"))?;
    // Nothing here refers to the memory any more, but the other process does.
    drop((buffer, dmabuf, a));
    role.tell("again")?;
    role.expect(&format!("crc {crc:08x}"))?;
    role.tell("end")?;
    role.succeeds()
}

/// Role: imports an inherited descriptor and tells the checksum.
pub fn import(node: &str, fd: &str) -> Outcome {
    let fd: i32 = fd.parse().map_err(Stop::failed)?;
    let device = Device::open(Path::new(node))?;
    // SAFETY: the test passes a descriptor that it let this process inherit,
    // and that nothing else here uses.
    let dmabuf = DmaBuf::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let window = device.import(&dmabuf)?;
    drop(dmabuf);
    loop {
        role::say(&format!("crc {:08x}", window.crc32c(0, window.size())?));
        if role::listen()? == "end" {
            return Ok(());
        }
    }
}

fn many_times(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let (used_a, used_b) = (cards::used(&a)?, cards::used(&b)?);
    let descriptors = || {
        std::fs::read_dir("/proc/self/fd")
            .map(Iterator::count)
            .unwrap_or(0)
    };
    let open = descriptors();
    for n in context.each(20, 10_000) {
        let buffer = Place::Visible.create(&a, 4096 * (1 + u64::from(n) % 5))?;
        let window = b.import(&buffer.export()?)?;
        let pattern = u64::from(n) + 1;
        window.fill(0, window.size(), pattern)?;
        check_eq!(
            buffer.map()?.to_vec(0, 8)?,
            pattern.to_le_bytes(),
            "round {n}"
        );
    }
    check_eq!(descriptors(), open, "open descriptors");
    cards::settles(&a, used_a)?;
    cards::settles(&b, used_b)
}
