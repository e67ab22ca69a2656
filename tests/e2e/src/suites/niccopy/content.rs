// SPDX-License-Identifier: MIT OR Apache-2.0
//! What arrives: every kind of memory, places, sizes, and nothing beside it.

use hlrs::BindOp;
use hlrs::Buffer;
use hlrs::Device;

use super::Pair;
use super::Side;
use super::BASE;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::space::LARGE;
use crate::system::space::PAGE;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        every_kind_of_memory: 120,
        scattered_pages: 120,
        across_large_leaves: 120,
        null_mappings,
        read_only_mappings,
        within_one_address_space,
    ]
}

/// Kinds of memory.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Own(Place),
    /// Of the other accelerator.
    Import(Place),
}

const KINDS: [Kind; 5] = [
    Kind::Own(Place::System),
    Kind::Own(Place::Lmem),
    Kind::Own(Place::Visible),
    Kind::Import(Place::Visible),
    Kind::Import(Place::System),
];

impl Kind {
    /// A buffer to look at, and the one to be mapped.
    fn create(self, device: &Device, other: &Device, size: u64) -> Outcome<(Buffer, Buffer)> {
        match self {
            Kind::Own(place) => {
                let buffer = place.create(device, size)?;
                Ok((buffer.clone(), buffer))
            }
            Kind::Import(place) => {
                let exported = place.create(other, size)?;
                let window = device.import(&exported.dma_buf().create()?)?;
                Ok((exported, window))
            }
        }
    }
}

/// Checks what a side sees at an address, by its checksum.
fn sees(side: &Side, what: &str, va: u64, expected: &[u8]) -> Outcome {
    let crc = side.space.crc(va, expected.len() as u64)?;
    check_eq!(crc, hlrs::crc32c(0, expected), "{what}: CRC32C");
    Ok(())
}

fn every_kind_of_memory(context: &Context) -> Outcome {
    const SIZE: u64 = 64 * 1024;
    let mut random = Random::new(context.seed);
    let (_, other) = cards::two()?;
    let pair = Pair::first()?;
    let (src, dst) = (&pair.src.space, &pair.dst.space);
    for from in KINDS {
        let (look, mapped) = from.create(&src.device, &other, SIZE)?;
        src.vm.map(BASE, &mapped)?;
        let there = cards::randomize(&look, &mut random)?;
        for to in KINDS {
            let (look, mapped) = to.create(&dst.device, &other, SIZE)?;
            dst.vm.map(BASE, &mapped)?;
            let mut here = cards::randomize(&look, &mut random)?;
            for n in context.each(1, 100) {
                let (offset, size) = random.range(SIZE);
                let at = random.below(SIZE - size + 1);
                pair.copy(BASE + offset, BASE + at, size).run(JOB)?;
                here[at as usize..][..size as usize]
                    .copy_from_slice(&there[offset as usize..][..size as usize]);
                let what = format!("{from:?} to {to:?}, {n}: {size} bytes of {offset} to {at}");
                sees(&pair.dst, &what, BASE, &here)?;
            }
            let what = format!("{from:?} to {to:?}");
            cards::compare(&what, &cards::read(&look, 0, SIZE)?, &here)?;
            dst.vm.unmap(BASE, SIZE)?;
        }
        sees(&pair.src, "the source", BASE, &there)?;
        src.vm.unmap(BASE, SIZE)?;
    }
    Ok(())
}

/// Pages of two buffers, of LMEM and system memory, in random order.
fn scattered_pages(context: &Context) -> Outcome {
    const PAGES: u64 = 48;
    const SIZE: u64 = 2 * PAGES * PAGE;
    let mut random = Random::new(context.seed);
    let pair = Pair::first()?;
    let mut contents = Vec::new();
    for side in [&pair.src, &pair.dst] {
        let space = &side.space;
        let buffers = [Place::Lmem, Place::System]
            .map(|place| place.create(&space.device, PAGES * PAGE))
            .into_iter()
            .collect::<hlrs::Result<Vec<_>>>()?;
        let bytes = buffers
            .iter()
            .map(|buffer| cards::randomize(buffer, &mut random))
            .collect::<Outcome<Vec<_>>>()?
            .concat();
        let mut order: Vec<u64> = (0..2 * PAGES).collect();
        for n in (1..order.len()).rev() {
            order.swap(n, random.below(n as u64 + 1) as usize);
        }
        let mut bind = space.vm.bind();
        let mut seen = Vec::new();
        for (n, &page) in order.iter().enumerate() {
            let (buffer, offset) = (&buffers[(page / PAGES) as usize], page % PAGES * PAGE);
            let va = BASE + n as u64 * PAGE;
            bind = bind.op(BindOp::map_range(va, buffer, offset, PAGE));
            seen.extend_from_slice(&bytes[(page * PAGE) as usize..][..PAGE as usize]);
        }
        bind.submit()?;
        sees(side, "mapped in pieces", BASE, &seen)?;
        contents.push(seen);
    }
    for n in context.each(8, 2000) {
        let (offset, size) = random.range(SIZE);
        let at = random.below(SIZE - size + 1);
        pair.copy(BASE + offset, BASE + at, size).run(JOB)?;
        let moved = contents[0][offset as usize..][..size as usize].to_vec();
        contents[1][at as usize..][..size as usize].copy_from_slice(&moved);
        let what = format!("{n}: {size} bytes of {offset} to {at}");
        sees(&pair.dst, &what, BASE, &contents[1])?;
    }
    sees(&pair.src, "the source", BASE, &contents[0])
}

/// Several MiB at odd places, and single bytes at the borders of leaves.
fn across_large_leaves(context: &Context) -> Outcome {
    const SIZE: u64 = 4 * LARGE;
    let mut random = Random::new(context.seed);
    let pair = Pair::first()?;
    let mut buffers = Vec::new();
    for side in [&pair.src, &pair.dst] {
        let builder = side.space.device.buffer(SIZE).contiguous();
        let buffer = builder.page_size(LARGE as u32).create()?;
        side.space.vm.map(BASE, &buffer)?;
        buffers.push(buffer);
    }
    let there = cards::randomize(&buffers[0], &mut random)?;
    let mut here = vec![0; SIZE as usize];
    buffers[1].fill(0, SIZE, 0)?;
    let copies = [
        (0, 0, 1),
        (PAGE - 1, LARGE - 1, 1),
        (LARGE, SIZE - 1, 1),
        (LARGE - 1, PAGE - 1, 2),
        (LARGE - 3, 2 * LARGE - 1, 7),
        (PAGE + 1, 3 * LARGE - PAGE - 1, PAGE + 2),
        (17, 4099, 3 * LARGE - 77),
    ];
    for (src, dst, size) in copies {
        pair.copy(BASE + src, BASE + dst, size).run(JOB)?;
        here[dst as usize..][..size as usize]
            .copy_from_slice(&there[src as usize..][..size as usize]);
        let what = format!("{size} bytes of {src} to {dst}");
        sees(&pair.dst, &what, BASE, &here)?;
    }
    pair.all(SIZE).run(JOB)?;
    sees(&pair.dst, "all", BASE, &there)?;
    cards::compare("all", &cards::read(&buffers[1], 0, SIZE)?, &there)
}

fn null_mappings(_: &Context) -> Outcome {
    let pair = Pair::first()?;
    let (a, b) = (
        pair.src.buffer(Place::Lmem, MIB, 0x11)?,
        pair.dst.buffer(Place::Lmem, MIB, 0x22)?,
    );
    for side in [&pair.src, &pair.dst] {
        let null = BindOp::map_null(2 * BASE, 1 << 31);
        side.space.vm.bind().op(null).submit()?;
    }
    // A page and an odd rest of zeros, and nothing else.
    let size = PAGE + 7;
    pair.copy(2 * BASE + 5, BASE + 1, size).run(JOB)?;
    let mut expected = 0x22u64.to_le_bytes().repeat(MIB as usize / 8);
    expected[1..][..size as usize].fill(0);
    sees(&pair.dst, "zeros", BASE, &expected)?;
    // What goes there is gone.
    pair.copy(BASE, 2 * BASE + 3, MIB).run(JOB)?;
    pair.copy(2 * BASE, 2 * BASE, 1 << 31).run(JOB)?;
    let copy = pair
        .nic
        .copy(&pair.dst.vm, 2 * BASE, &pair.src.vm, BASE, MIB);
    copy.run(JOB)?;
    cards::holds_pattern("zeros of where something was written", &a, 0)?;
    cards::compare("the rest", &cards::read(&b, 0, MIB)?, &expected)
}

fn read_only_mappings(_: &Context) -> Outcome {
    let pair = Pair::first()?;
    let mut buffers = Vec::new();
    for (side, pattern) in [(&pair.src, 0x31), (&pair.dst, 0x32)] {
        let buffer = side.buffer(Place::Lmem, MIB, pattern)?;
        let map = BindOp::map(2 * BASE, &buffer).read_only();
        side.space.vm.bind().op(map).submit()?;
        buffers.push(buffer);
    }
    check_errno!(pair.copy(BASE, 2 * BASE, MIB).run(JOB), FAULT, "to it");
    cards::holds_pattern("what may only be read", &buffers[1], 0x32)?;
    pair.copy(2 * BASE, BASE, MIB).run(JOB)?;
    cards::holds_pattern("what was read from there", &buffers[1], 0x31)?;
    pair.nobody_is_banned()
}

fn within_one_address_space(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let pair = Pair::first()?;
    let buffer = pair.src.buffer(Place::Lmem, MIB, 0)?;
    let mut bytes = cards::randomize(&buffer, &mut random)?;
    let vm = &pair.src.vm;
    let copy = |src, dst, size| pair.nic.copy(vm, BASE + src, vm, BASE + dst, size);
    for (src, dst, size) in [
        (0, 1000, 1000),
        (5000, 100, 4000),
        (1, MIB / 2 + 1, 300_000),
    ] {
        copy(src, dst, size).run(JOB)?;
        let moved = bytes[src as usize..][..size as usize].to_vec();
        bytes[dst as usize..][..size as usize].copy_from_slice(&moved);
        sees(
            &pair.src,
            &format!("{size} of {src} to {dst}"),
            BASE,
            &bytes,
        )?;
    }
    for (src, dst, size) in [(0, 0, 1), (0, 999, 1000), (999, 0, 1000), (0, 1, MIB - 1)] {
        let refused = copy(src, dst, size).start();
        check_errno!(refused, INVAL, "{size} of {src} to {dst}");
    }
    sees(&pair.src, "refused", BASE, &bytes)
}
