// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a device sees through an address space is what was mapped.

use hlrs::BindOp;
use hlrs::Buffer;
use hlrs::Device;
use hlrs::FaultReason;

use super::contiguous;
use super::crc_of;
use super::foreign;
use super::scattered;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::space::END;
use crate::system::space::LARGE;
use crate::system::space::PAGE;
use crate::system::space::RESULTS_SIZE;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        every_kind_of_memory: 120,
        every_kind_of_memory_of_a_virtual_function: 180,
        pages_in_any_order,
        the_ends_of_the_address_space,
        no_memory_at_all,
        read_only_mappings,
        imports_without_all_rights,
        two_addresses_for_one_buffer,
        a_mapping_replaces_what_is_there,
        holes_in_a_mapping,
        a_mapping_is_gone_when_it_is_unmapped,
        an_address_shows_what_was_mapped_last,
        many_operations_at_once: 120,
    ]
}

/// Buffers of each kind, with random contents.
fn every_kind(
    device: &Device,
    other: &Device,
    random: &mut Random,
) -> Outcome<Vec<(&'static str, Buffer, Vec<u8>)>> {
    let mut kinds = vec![
        ("contiguous LMEM", contiguous(device, LARGE)?),
        ("LMEM in pieces", scattered(device, LARGE / 4)?),
        ("LMEM", Place::Lmem.create(device, MIB + PAGE)?),
        ("visible LMEM", Place::Visible.create(device, MIB / 2)?),
        ("system memory", Place::System.create(device, MIB)?),
        ("a page", Place::Lmem.create(device, PAGE)?),
    ];
    let (_, peer) = foreign(device, other, Place::Visible, MIB / 2 + 2 * PAGE)?;
    kinds.push(("LMEM of another accelerator", peer));
    let (_, system) = foreign(device, other, Place::System, MIB / 2)?;
    kinds.push(("system memory of another accelerator", system));
    let exported = Place::Visible.create(other, MIB)?;
    let part = exported.dma_buf().range(7 * PAGE, 100 * PAGE).create()?;
    kinds.push((
        "a part of LMEM of another accelerator",
        device.import(&part)?,
    ));
    let mut filled = Vec::new();
    for (what, buffer) in kinds {
        let bytes = cards::randomize(&buffer, random)?;
        filled.push((what, buffer, bytes));
    }
    Ok(filled)
}

fn shows_every_kind(device: &Device, other: &Device, seed: u64, starts: &[u64]) -> Outcome {
    let mut random = Random::new(seed);
    let kinds = every_kind(device, other, &mut random)?;
    let space = Space::new(device)?;
    for &start in starts {
        for (n, (what, buffer, bytes)) in kinds.iter().enumerate() {
            let (va, size) = (start + n as u64 * (1 << 30), buffer.size());
            space.vm.map(va, buffer)?;
            check_eq!(space.crc(va, size)?, crc_of(bytes, 0, size), "{what}");
            let ranges: Vec<_> = (0..4).map(|_| random.range(size)).collect();
            let asked: Vec<_> = ranges.iter().map(|(at, len)| (va + at, *len)).collect();
            for ((at, len), crc) in ranges.iter().zip(space.crcs(&asked)?) {
                check_eq!(crc, crc_of(bytes, *at, *len), "{len} bytes at {at}, {what}");
            }
            // What is written through it is in the buffer, and only there.
            let (at, len) = random.range(size);
            let pattern = 0x1122_3344_5566_7788;
            space.fill(va + at, len, pattern)?;
            let mut expected = bytes.clone();
            expected[at as usize..(at + len) as usize]
                .copy_from_slice(&cards::repeated(pattern, len));
            let found = cards::read(buffer, 0, size)?;
            cards::compare(&format!("{what}, written at {at}"), &found, &expected)?;
            cards::write(buffer, 0, bytes)?;
        }
        let mapped = kinds.iter().map(|(_, buffer, _)| buffer.size());
        let mapped = mapped.sum::<u64>() + RESULTS_SIZE;
        check_eq!(space.vm.state()?.mapped, mapped, "bytes mapped");
        let unmap = (0..kinds.len() as u64).map(|n| BindOp::unmap(start + n * (1 << 30), 1 << 30));
        space.vm.bind().ops(unmap).submit()?;
        check_eq!(space.vm.state()?.mapped, RESULTS_SIZE, "bytes mapped");
    }
    Ok(())
}

fn every_kind_of_memory(context: &Context) -> Outcome {
    let (device, other) = cards::two()?;
    // Aligned to large leaves, and not.
    shows_every_kind(&device, &other, context.seed, &[BASE, BASE + 5 * PAGE])
}

fn every_kind_of_memory_of_a_virtual_function(context: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let (device, other) = (vfs.open(1)?, cards::two()?.1);
    shows_every_kind(&device, &other, context.seed, &[BASE + PAGE])?;
    // The same context of the other functions is another one.
    let (pf, neighbour) = (cards::first()?, vfs.open(2)?);
    let mut spaces = Vec::new();
    for device in [&pf, &device, &neighbour] {
        let buffer = Place::Lmem.create(device, MIB)?;
        let space = Space::new(device)?;
        space.vm.map(BASE, &buffer)?;
        spaces.push(space);
    }
    for (n, space) in spaces.iter().enumerate() {
        space.fill(BASE, MIB, n as u64)?;
    }
    for (n, space) in spaces.iter().enumerate() {
        space.holds(&format!("function {n}"), BASE, MIB, n as u64)?;
    }
    Ok(())
}

fn pages_in_any_order(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let space = Space::first()?;
    let buffer = Place::Lmem.create(&space.device, 64 * PAGE)?;
    let bytes = cards::randomize(&buffer, &mut random)?;
    let backwards =
        (0..64).map(|n| BindOp::map_range(BASE + (63 - n) * PAGE, &buffer, n * PAGE, PAGE));
    space.vm.bind().ops(backwards).submit()?;
    let reversed: Vec<u8> = bytes.rchunks(PAGE as usize).flatten().copied().collect();
    check_eq!(space.crc(BASE, 64 * PAGE)?, hlrs::crc32c(0, &reversed));
    // Across pages that are far apart in memory.
    let (at, len) = (PAGE - 100, 62 * PAGE + 200);
    check_eq!(space.crc(BASE + at, len)?, crc_of(&reversed, at, len));
    Ok(())
}

fn the_ends_of_the_address_space(_: &Context) -> Outcome {
    let space = Space::first()?;
    let buffer = Place::Lmem.create(&space.device, 2 * PAGE)?;
    let ends = [0, END - 2 * PAGE, 1 << 39, (1 << 47) - PAGE];
    for va in ends {
        space.vm.map(va, &buffer)?;
        space.fill(va, 2 * PAGE, va | 1)?;
        cards::holds_pattern(&format!("through {va:#x}"), &buffer, va | 1)?;
        space.holds("through the VM", va, 2 * PAGE, va | 1)?;
    }
    space.vm.unmap(0, END)?;
    check_eq!(space.vm.state()?.mapped, 0, "mapped after all was unmapped");
    Ok(())
}

fn no_memory_at_all(_: &Context) -> Outcome {
    let space = Space::first()?;
    let buffer = Place::Lmem.create(&space.device, PAGE)?;
    buffer.fill(0, PAGE, 0x99)?;
    // A page between others, and much.
    space
        .vm
        .bind()
        .map(BASE, &buffer)
        .op(BindOp::map_null(BASE + PAGE, PAGE))
        .map(BASE + 2 * PAGE, &buffer)
        .op(BindOp::map_null(2 * BASE, 1 << 40))
        .submit()?;
    for round in 0..2 {
        space.holds("nothing", BASE + PAGE, PAGE, 0)?;
        space.holds("nothing, far away", 2 * BASE + (1 << 39) + 77, 3 * MIB, 0)?;
        space.holds("beside nothing", BASE, PAGE, 0x99)?;
        space.holds("beside nothing", BASE + 2 * PAGE, PAGE, 0x99)?;
        space.fill(BASE + PAGE, PAGE, 0x1234 + round)?;
        space.fill(2 * BASE + (1 << 39), 4 * MIB, 0x1234 + round)?;
    }
    space.vm.map(BASE + PAGE, &buffer)?;
    space.holds("no longer nothing", BASE + PAGE, PAGE, 0x99)?;
    let op = BindOp::map_null(BASE, PAGE).read_only();
    space.vm.bind().op(op).submit()?;
    space.holds("nothing, read-only", BASE, PAGE, 0)?;
    space.faults_at(BASE, true, FaultReason::ReadOnly)
}

fn read_only_mappings(_: &Context) -> Outcome {
    let device = cards::first()?;
    for place in [Place::Lmem, Place::System] {
        let space = Space::new(&device)?;
        let buffer = place.create(&device, 2 * LARGE)?;
        buffer.fill(0, buffer.size(), 0x55)?;
        let read_only = BindOp::map_range(BASE + LARGE, &buffer, LARGE, LARGE).read_only();
        space.vm.bind().map(BASE, &buffer).op(read_only).submit()?;
        space.holds("all of it", BASE, 2 * LARGE, 0x55)?;
        space.fill(BASE, LARGE, 0x66)?;
        // It becomes writable, and again not.
        space.vm.map(BASE, &buffer)?;
        space.fill(BASE + LARGE, 64, 0x66)?;
        let op = BindOp::map_range(BASE + LARGE, &buffer, LARGE, PAGE).read_only();
        space.vm.bind().op(op).submit()?;
        space.fill(BASE + LARGE + PAGE, 64, 0x66)?;
        space.faults_at(BASE + LARGE, true, FaultReason::ReadOnly)?;
        let found = cards::read(&buffer, LARGE, 128)?;
        check!(
            found[..64]
                .chunks(8)
                .all(|word| word == 0x66u64.to_le_bytes()),
            "what was written while it was writable"
        );
        check_eq!(found[64..72], 0x55u64.to_le_bytes(), "what was not");
    }
    Ok(())
}

fn imports_without_all_rights(_: &Context) -> Outcome {
    let (device, other) = cards::two()?;
    let exported = Place::Visible.create(&other, MIB)?;
    exported.fill(0, MIB, 0x1010)?;
    let import = |access| -> Outcome<Buffer> {
        Ok(device.import(&exported.dma_buf().access(access).create()?)?)
    };
    let space = Space::new(&device)?;
    let reader = import(hlrs::Access::Read)?;
    let refused = space.vm.map(BASE, &reader);
    check_errno!(refused, ACCESS, "to write what may be read");
    space
        .vm
        .bind()
        .op(BindOp::map(BASE, &reader).read_only())
        .submit()?;
    space.holds("what may be read", BASE, MIB, 0x1010)?;
    let writer = import(hlrs::Access::Write)?;
    let op = BindOp::map(2 * BASE, &writer);
    let refused = space.vm.bind().op(op).submit();
    check_errno!(refused, ACCESS, "what may be written");
    let refused = space.vm.bind().op(op.read_only()).submit();
    check_errno!(refused, ACCESS, "to read what may be written");
    space.faults_at(BASE, true, FaultReason::ReadOnly)
}

fn two_addresses_for_one_buffer(_: &Context) -> Outcome {
    let space = Space::first()?;
    for place in Place::ALL {
        let buffer = place.create(&space.device, MIB)?;
        let (one, two) = (BASE, BASE + (1 << 40) + 3 * PAGE);
        let again = BindOp::map_range(two, &buffer, 0, MIB).read_only();
        space.vm.bind().map(one, &buffer).op(again).submit()?;
        for pattern in 1..4 {
            space.fill(one, MIB, pattern)?;
            space.holds("by the other address", two, MIB, pattern)?;
        }
        // The one that stays is not harmed when the other goes.
        space.vm.unmap(one, MIB)?;
        space.holds("by the address that is left", two, MIB, 3)?;
        space.vm.unmap(two, MIB)?;
    }
    Ok(())
}

fn a_mapping_replaces_what_is_there(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let space = Space::first()?;
    let (a, b) = (
        contiguous(&space.device, 2 * LARGE)?,
        Place::System.create(&space.device, 2 * LARGE)?,
    );
    let in_a = cards::randomize(&a, &mut random)?;
    let in_b = cards::randomize(&b, &mut random)?;
    // Within, over the beginning, over the end, over all, over a large leaf.
    let (whole, page) = (2 * LARGE, PAGE);
    for (at, len) in [
        (100 * page, 7 * page),
        (0, page),
        (whole - page, page),
        (0, whole),
        (LARGE, LARGE),
        (LARGE - page, 2 * page),
    ] {
        space.vm.map(BASE, &a)?;
        check_eq!(
            space.crc(BASE, whole)?,
            crc_of(&in_a, 0, whole),
            "the first"
        );
        let over = BindOp::map_range(BASE + at, &b, whole - at - len, len);
        space.vm.bind().op(over).submit()?;
        let mut expected = in_a.clone();
        let from = (whole - at - len) as usize;
        expected[at as usize..(at + len) as usize]
            .copy_from_slice(&in_b[from..from + len as usize]);
        let crc = space.crc(BASE, whole)?;
        check_eq!(
            crc,
            hlrs::crc32c(0, &expected),
            "{len} bytes replaced at {at}"
        );
        check_eq!(space.vm.state()?.mapped, whole + RESULTS_SIZE, "mapped");
    }
    // Over both ends and a hole.
    space.vm.map(BASE, &a)?;
    space.vm.unmap(BASE + PAGE, PAGE)?;
    let wide = BindOp::map(BASE - LARGE, &b);
    space.vm.bind().op(wide).submit()?;
    check_eq!(space.crc(BASE - LARGE, whole)?, crc_of(&in_b, 0, whole));
    check_eq!(
        space.crc(BASE + LARGE, LARGE)?,
        crc_of(&in_a, LARGE, LARGE),
        "what was not covered"
    );
    Ok(())
}

fn holes_in_a_mapping(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let space = Space::first()?;
    for place in [Place::Lmem, Place::System] {
        let buffer = place.create(&space.device, 2 * LARGE)?;
        let bytes = cards::randomize(&buffer, &mut random)?;
        space.vm.map(BASE, &buffer)?;
        let mut mapped = 2 * LARGE;
        // Each splits what is left before it and behind it.
        for n in [300, 700, 0, 1023, 301, 512] {
            space.vm.unmap(BASE + n * PAGE, PAGE)?;
            mapped -= PAGE;
            check_eq!(space.vm.state()?.mapped, mapped + RESULTS_SIZE, "mapped");
        }
        for (first, last) in [(1, 299), (302, 511), (513, 699), (701, 1022)] {
            let (at, len) = (first * PAGE, (last - first + 1) * PAGE);
            let crc = space.crc(BASE + at, len)?;
            check_eq!(crc, crc_of(&bytes, at, len), "pages {first} to {last}");
        }
        // The holes are filled again, with what was there.
        let refill = [300, 700, 0, 1023, 301, 512]
            .map(|n| BindOp::map_range(BASE + n * PAGE, &buffer, n * PAGE, PAGE));
        space.vm.bind().ops(refill).submit()?;
        check_eq!(space.crc(BASE, 2 * LARGE)?, crc_of(&bytes, 0, 2 * LARGE));
        space.vm.unmap(BASE, 2 * LARGE)?;
    }
    // Unmapping what is not mapped is no error.
    space.vm.unmap(BASE, 1 << 39)?;
    Ok(())
}

/// Used, unmapped, and not to be had any more: also not from the cache of
/// translations.
fn a_mapping_is_gone_when_it_is_unmapped(_: &Context) -> Outcome {
    let device = cards::first()?;
    for (size, hole) in [
        (LARGE, 0),
        (LARGE, 5 * PAGE),
        (PAGE, 0),
        (LARGE, LARGE - PAGE),
    ] {
        for write in [false, true] {
            let space = Space::new(&device)?;
            let buffer = contiguous(&device, LARGE)?;
            buffer.fill(0, LARGE, 0x3c)?;
            space
                .vm
                .bind()
                .op(BindOp::map_range(BASE, &buffer, 0, size))
                .submit()?;
            space.holds("before", BASE, size, 0x3c)?;
            space.vm.unmap(BASE + hole, PAGE)?;
            let reason = FaultReason::NotPresent;
            space.faults_at(BASE + hole, write, reason)?;
            cards::holds_pattern("after the fault", &buffer, 0x3c)?;
        }
    }
    Ok(())
}

fn an_address_shows_what_was_mapped_last(context: &Context) -> Outcome {
    let space = Space::first()?;
    let device = space.device.clone();
    let buffers = [
        contiguous(&device, LARGE)?,
        Place::System.create(&device, LARGE)?,
        contiguous(&device, LARGE)?,
    ];
    for (n, buffer) in buffers.iter().enumerate() {
        buffer.fill(0, LARGE, n as u64)?;
    }
    for round in context.each(12, 3000) {
        let n = round as usize % 3;
        let size = if round % 2 == 0 { LARGE } else { 3 * PAGE };
        let op = BindOp::map_range(BASE, &buffers[n], 0, size);
        space.vm.bind().op(op).submit()?;
        space.holds(&format!("round {round}"), BASE, size, n as u64)?;
    }
    Ok(())
}

fn many_operations_at_once(context: &Context) -> Outcome {
    let limit = u64::from(hlrs_sys::DRM_HLRS_MAX_BIND_OPS);
    let most = if context.soak { limit } else { limit / 4 };
    let space = Space::first()?;
    let buffer = Place::Lmem.create(&space.device, most * PAGE)?;
    let bytes = cards::randomize(&buffer, &mut Random::new(context.seed))?;
    // Every other page is left out, so that no two mappings are neighbours.
    let ops = (0..most).map(|n| BindOp::map_range(BASE + 2 * n * PAGE, &buffer, n * PAGE, PAGE));
    space.vm.bind().ops(ops).submit()?;
    for n in [0, 1, most / 2, most - 1] {
        let crc = space.crc(BASE + 2 * n * PAGE, PAGE)?;
        check_eq!(crc, crc_of(&bytes, n * PAGE, PAGE), "page {n}");
    }
    let more = (0..=limit).map(|n| BindOp::map_null(BASE + n * PAGE, PAGE));
    let refused = space.vm.bind().ops(more).submit();
    check_errno!(refused, TOOBIG, "one operation more");
    // Operations of one vector see what those before them did.
    space
        .vm
        .bind()
        .op(BindOp::unmap(BASE, 1 << 30))
        .op(BindOp::map_range(BASE, &buffer, 0, 4 * PAGE))
        .op(BindOp::unmap(BASE + PAGE, PAGE))
        .op(BindOp::map_range(BASE + PAGE, &buffer, 9 * PAGE, PAGE))
        .submit()?;
    check_eq!(space.vm.state()?.mapped, 4 * PAGE + RESULTS_SIZE);
    let expected = [0, 9, 2, 3].map(|n: usize| &bytes[n * PAGE as usize..(n + 1) * PAGE as usize]);
    check_eq!(
        space.crc(BASE, 4 * PAGE)?,
        hlrs::crc32c(0, &expected.concat())
    );
    Ok(())
}
