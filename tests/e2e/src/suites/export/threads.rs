// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many that export, import, copy and close at once.

use hlrs::Access;
use hlrs::Buffer;
use hlrs::Device;
use hlrs::Node;

use super::part;
use super::random_buffer;
use super::PAGE;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::descriptors;
use crate::system::random::Random;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![thirty_threads: 300]
}

const THREADS: u64 = 30;
/// What each thread may write to: its own pages of a buffer that all share, so
/// that neighbours meet within blocks.
const SHARE: u64 = 5 * PAGE;

/// What all threads work on.
struct Shared<'a> {
    /// Random contents that stay: in LMEM of small blocks, and in system memory.
    fixed: [(&'a Buffer, &'a [u8]); 2],
    /// Where each thread writes to its own pages.
    written: &'a Buffer,
    peer: &'a Device,
    node: &'a Node,
}

fn work(shared: &Shared<'_>, thread: u64, rounds: u32, seed: u64) -> Outcome {
    let mut random = Random::new(seed.wrapping_add(thread));
    let own;
    // Half of the threads share an open file, the others have their own.
    let peer = if thread % 2 == 0 {
        shared.peer
    } else {
        own = shared.node.open()?;
        &own
    };
    let target = Place::Lmem.create(peer, MIB)?;
    let mine = (thread - 1) * SHARE;
    for round in 0..rounds {
        let what = format!("thread {thread}, round {round}");
        let (buffer, bytes) = shared.fixed[random.below(2) as usize];
        let pages = buffer.size() / PAGE;
        let first = random.below(pages);
        let count = 1 + random.below((pages - first).min(MIB / PAGE));
        let (offset, size) = (first * PAGE, count * PAGE);
        let export = buffer.dma_buf().range(offset, size);
        let dmabuf = match random.below(2) {
            0 => export.access(Access::Read).create()?,
            _ => export.create()?,
        };
        let window = peer.import(&dmabuf)?;
        let (from, len) = random.range(size);
        let to = random.below(MIB - len + 1);
        let job = target.copy_from_async(to, &window, from, len)?;
        // The job, and nobody else, keeps them.
        drop((window, dmabuf));
        job.wait(crate::system::JOB)?;
        let expected = part(bytes, offset + from, len);
        check_eq!(
            target.crc32c(to, len)?,
            hlrs::crc32c(0, expected),
            "{what}: {len} bytes at {from} of {size} at {offset}"
        );

        let pattern = random.next();
        let written = shared.written.dma_buf().range(mine, SHARE);
        let window = peer.import(&written.create()?)?;
        let (from, len) = random.range(SHARE);
        window.fill(from, len, pattern)?;
        check_eq!(
            shared.written.crc32c(mine + from, len)?,
            hlrs::crc32c(0, &repeated(pattern, len)),
            "{what}: {len} bytes written at {from}"
        );
    }
    let window = peer.import(&shared.written.dma_buf().range(mine, SHARE).create()?)?;
    window.fill(0, SHARE, thread)?;
    Ok(())
}

fn repeated(pattern: u64, len: u64) -> Vec<u8> {
    let mut bytes = pattern.to_le_bytes().repeat(len.div_ceil(8) as usize);
    bytes.truncate(len as usize);
    bytes
}

fn thirty_threads(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let open = descriptors()?;
    let mut random = Random::new(context.seed);
    // Every other page of some LMEM, so that the buffers have blocks of pages.
    let mut holes = (0..256)
        .map(|_| Place::Visible.create(&a, PAGE))
        .collect::<hlrs::Result<Vec<_>>>()?;
    let mut keep = false;
    holes.retain(|_| {
        keep = !keep;
        keep
    });
    let lmem = random_buffer(&a, Place::Visible, 110 * PAGE, &mut random)?;
    let system = random_buffer(&a, Place::System, MIB, &mut random)?;
    let written = Place::Visible.create(&a, THREADS * SHARE)?;
    let shared = Shared {
        fixed: [(&lmem.0, &lmem.1), (&system.0, &system.1)],
        written: &written,
        peer: &b,
        node: &cards::nodes()?[1],
    };
    let rounds = context.rounds(1, 1000);
    std::thread::scope(|scope| -> Outcome {
        let threads: Vec<_> = (1..=THREADS)
            .map(|n| {
                let (shared, seed) = (&shared, context.seed);
                scope.spawn(move || work(shared, n, rounds, seed))
            })
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| Stop::failed("a thread panicked"))??;
        }
        Ok(())
    })?;
    let expected: Vec<u8> = (1..=THREADS).flat_map(|n| repeated(n, SHARE)).collect();
    let found = cards::read(&written, 0, written.size())?;
    cards::compare("what the threads wrote", &found, &expected)?;
    for (buffer, bytes) in shared.fixed {
        check_eq!(buffer.crc32c(0, buffer.size())?, hlrs::crc32c(0, bytes));
    }
    check_eq!(descriptors()?, open, "descriptors");
    Ok(())
}
