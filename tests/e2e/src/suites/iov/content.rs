// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one function writes is what the other reads, and nobody else's memory
//! is touched.

use super::crc_of;
use super::is_native;
use super::shared;
use super::Bus;
use super::Card;
use super::GRANULE;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::space::PAGE;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        contiguous_memory: 120,
        scattered_memory: 180,
    ]
}

/// Where buffers are mapped.
const BASE: u64 = 1 << 40;

/// By handle and by an address space, both directions, with counters.
fn both_ways(card: &Card, number: u32, random: &mut Random) -> Outcome<(u32, u32)> {
    let vf = card.vf(number)?;
    let size = 3 * MIB;
    let (buffer, window, mut bytes) = shared(card, &vf, size, random)?;
    let pieces = is_native(&window, number)?;
    let target = Place::Lmem.create(&card.pf, size)?;
    let space = Space::new(&card.pf)?;
    space
        .vm
        .bind()
        .map(BASE, &window)
        .map(2 * BASE, &target)
        .submit()?;

    // The device's own checksums, on both sides.
    let crc = crc_of(&bytes, 0, size);
    check_eq!(buffer.crc32c(0, size)?, crc, "by the VF");
    check_eq!(window.crc32c(0, size)?, crc, "by the PF");

    let bus = Bus::of(vec![card.vfs.node.clone(), card.vfs.vf_node(number)?])?;
    target.copy_from(0, &window, 0, size)?;
    bus.is_silent("a copy by handle", size)?;
    check_eq!(target.crc32c(0, size)?, crc, "after a copy by handle");
    target.fill(0, size, 0)?;
    space
        .queue
        .job()
        .copy(BASE, 2 * BASE, size)
        .run(crate::system::JOB)?;
    bus.is_silent("a copy by addresses", 2 * size)?;
    check_eq!(target.crc32c(0, size)?, crc, "after a copy by addresses");
    cards::compare("pulled", &cards::read(&target, 0, size)?, &bytes)?;

    // Odd places, read and written by the PF.
    for round in 0..16 {
        let (offset, len) = random.range(size);
        check_eq!(
            window.crc32c(offset, len)?,
            crc_of(&bytes, offset, len),
            "{len} bytes at {offset}"
        );
        let (offset, len) = random.range(size);
        let pattern = random.next();
        if round % 2 == 0 {
            window.fill(offset, len, pattern)?;
        } else {
            space.fill(BASE + offset, len, pattern)?;
        }
        for n in 0..len as usize {
            bytes[offset as usize + n] = pattern.to_le_bytes()[n % 8];
        }
    }
    let crc = crc_of(&bytes, 0, size);
    check_eq!(buffer.crc32c(0, size)?, crc, "what the PF has written");
    check_eq!(space.crc(BASE, size)?, crc, "in the address space");
    cards::compare("written", &cards::read(&buffer, 0, size)?, &bytes)?;
    check_eq!(is_native(&window, number)?, pieces, "afterwards");
    Ok(pieces)
}

fn numbers(context: &Context) -> u32 {
    if context.soak {
        7
    } else {
        2
    }
}

fn contiguous_memory(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let count = numbers(context);
    let card = Card::new(&vec![8 * GRANULE; count as usize])?;
    for number in 1..=count {
        let (ranges, extents) = both_ways(&card, number, &mut random)?;
        check!(
            ranges >= 1 && extents >= 1,
            "{ranges} ranges, {extents} extents"
        );
    }
    Ok(())
}

/// The whole of each function's memory is shared, so that each granule is
/// used; next to those of the others.
fn scattered_memory(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let count = numbers(context);
    let quotas: Vec<_> = (1..=u64::from(count)).map(|n| (n + 2) * GRANULE).collect();
    let card = Card::scattered(&quotas, &mut random)?;
    let mut all = Vec::new();
    for (number, &quota) in (1..).zip(&quotas) {
        let (_, extents) = both_ways(&card, number, &mut random)?;
        check!(extents > 1, "VF {number}: {extents} extents");
        let vf = card.vf(number)?;
        // In pieces that are not in order, and do not begin with granules.
        let holes = (0..(quota - GRANULE) / PAGE / 16)
            .map(|_| Place::Visible.create(&vf, 8 * PAGE))
            .collect::<hlrs::Result<Vec<_>>>()?;
        let rest = Place::Visible.create(&vf, quota - vf.lmem()?.used)?;
        drop(holes);
        let whole = Place::Visible.create(&vf, quota - vf.lmem()?.used)?;
        for buffer in [rest, whole] {
            let bytes = cards::randomize(&buffer, &mut random)?;
            let window = card.pf.import(&buffer.export()?)?;
            is_native(&window, number)?;
            all.push((number, buffer, window, bytes));
        }
    }
    for (number, buffer, window, bytes) in &all {
        let crc = crc_of(bytes, 0, buffer.size());
        check_eq!(
            window.crc32c(0, buffer.size())?,
            crc,
            "VF {number}, by the PF"
        );
        check_eq!(
            buffer.crc32c(0, buffer.size())?,
            crc,
            "VF {number}, by itself"
        );
    }
    // Each is overwritten by the PF, one after the other.
    for n in 0..all.len() {
        all[n].2.fill(0, all[n].2.size(), n as u64 + 1)?;
        for (m, (number, buffer, _, bytes)) in all.iter().enumerate() {
            if m <= n {
                cards::holds_pattern("overwritten", buffer, m as u64 + 1)?;
            } else {
                check_eq!(
                    buffer.crc32c(0, buffer.size())?,
                    crc_of(bytes, 0, buffer.size()),
                    "VF {number}, while another's was overwritten"
                );
            }
        }
    }
    Ok(())
}
