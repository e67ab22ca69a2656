// SPDX-License-Identifier: MIT OR Apache-2.0
//! What importers read is what is there, and what they write is seen.

use super::LMEM;
use super::PAGE;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::random::Random;
use crate::system::vfio::Driver;
use crate::system::vfio::Function;
use crate::system::vfio::Taken;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![what_importers_read_and_write: 120]
}

fn what_importers_read_and_write(context: &Context) -> Outcome {
    let taken = Taken::by(Driver::Ours)?;
    let function = &taken.open()?;
    let random = &mut Random::new(context.seed);
    both_ways(function, random, &[(3 * PAGE, 5 * PAGE)])?;
    both_ways(
        function,
        random,
        &[
            (9 * PAGE, PAGE),
            (0, 2 * PAGE),
            // Adjoins the one before.
            (2 * PAGE, PAGE),
            (2048 * PAGE, 3 * PAGE),
            (7 * PAGE, PAGE),
        ],
    )?;
    the_whole_memory(function, random, taken.vfs.pf.quota(1)?)
}

/// Each accelerator, the function's own among them, reads and writes.
fn both_ways(function: &Function, random: &mut Random, ranges: &[(u64, u64)]) -> Outcome {
    let dmabuf = function.export(LMEM, ranges).map_err(Stop::failed)?;
    let size: u64 = ranges.iter().map(|(_, len)| len).sum();
    check_eq!(dmabuf.size()?, size);
    let parts = ranges
        .iter()
        .map(|&(offset, len)| function.map(LMEM, offset, len))
        .collect::<Outcome<Vec<_>>>()?;
    let (a, b) = cards::two()?;
    for (who, device) in [("the other accelerator", &b), ("its own PF", &a)] {
        let mut bytes = random.bytes(size as usize);
        let mut rest = &bytes[..];
        for (part, (_, len)) in parts.iter().zip(ranges) {
            let (head, tail) = rest.split_at(*len as usize);
            part.write(head);
            rest = tail;
        }
        let window = device.import(&dmabuf)?;
        check_eq!(window.size(), size);
        cards::compare(
            &format!("read by {who}"),
            &cards::read(&window, 0, size)?,
            &bytes,
        )?;

        // Writes it, at odd places.
        for _ in 0..10 {
            let (offset, len) = random.range(size);
            let pattern = random.next();
            window.fill(offset, len, pattern)?;
            for n in 0..len as usize {
                bytes[offset as usize + n] = pattern.to_le_bytes()[n % 8];
            }
        }
        let mut seen = Vec::new();
        for (part, (_, len)) in parts.iter().zip(ranges) {
            seen.extend(part.read(*len as usize));
        }
        cards::compare(&format!("written by {who}"), &seen, &bytes)?;
    }
    Ok(())
}

/// Contents at both ends and where the memory of the function is in pieces.
fn the_whole_memory(function: &Function, random: &mut Random, quota: u64) -> Outcome {
    let dmabuf = function.export(LMEM, &[(0, quota)]).map_err(Stop::failed)?;
    let (_a, b) = cards::two()?;
    let window = b.import(&dmabuf)?;
    for offset in [0, PAGE, quota / 2 - PAGE, quota / 2, quota - PAGE] {
        let bytes = random.bytes(PAGE as usize);
        function.map(LMEM, offset, PAGE)?.write(&bytes);
        check_eq!(
            window.crc32c(offset, PAGE)?,
            hlrs::crc32c(0, &bytes),
            "at {offset:#x}"
        );
    }
    Ok(())
}
