// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of the card at the other end of the link, reached over that.

use std::thread;
use std::time::Duration;

use hlrs::Buffer;
use hlrs::Counters;
use hlrs::Device;
use hlrs::Errno;
use hlrs::Node;
use hlrs::Path;
use hlrs::SgtReason;

use super::reset::reset;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::machine::Slot;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::space::PAGE;
use crate::system::vfs::Vfs;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        contents_both_ways: 120,
        memory_in_pieces: 120,
        a_part_of_a_buffer,
        taken_back_and_given_again,
        resets_of_either_side: 120,
        what_goes_over_the_bus: 120,
        at_random: 300,
        the_other_card_is_pulled_out: 180,
        this_card_is_pulled_out: 180,
    ]
}

/// Where buffers are mapped.
const BASE: u64 = 1 << 40;

/// What was negotiated, by whomever.
const ATTACHMENTS: &str = "/sys/kernel/debug/dma_buf_ic/attachments";

/// Bytes that results and fences of jobs may take on the bus.
const RESULTS: u64 = 256;

/// The two ends: who has the memory, and who uses it.
struct Ends {
    nodes: [Node; 2],
    owner: Device,
    user: Device,
}

impl Ends {
    fn new() -> Outcome<Ends> {
        let nodes = cards::nodes()?;
        let Ok(nodes) = <[Node; 2]>::try_from(nodes) else {
            return Err(Stop::failed("there are not two accelerators"));
        };
        for node in &nodes {
            check!(
                node.open()?.info()?.link,
                "{} has no link; is this the machine \"link\"?",
                node.address
            );
        }
        let (owner, user) = (nodes[0].open()?, nodes[1].open()?);
        Ok(Ends { nodes, owner, user })
    }

    /// A buffer with random contents, and what the other end makes of it.
    fn shared(&self, size: u64, random: &mut Random) -> Outcome<(Buffer, Buffer, Vec<u8>)> {
        let buffer = Place::Visible.create(&self.owner, size)?;
        let bytes = cards::randomize(&buffer, random)?;
        let window = self.user.import(&buffer.export()?)?;
        is_linked(&window)?;
        Ok((buffer, window, bytes))
    }

    fn now(&self) -> Outcome<Vec<Counters>> {
        let none = || Stop::failed("the driver shows no counters in debugfs");
        self.nodes
            .iter()
            .map(|node| node.counters().ok_or_else(none))
            .collect()
    }

    /// `f` moves so many bytes over the link, read and written, and nothing but
    /// results over the bus.
    fn moves(&self, what: &str, read: u64, written: u64, f: impl FnOnce() -> Outcome) -> Outcome {
        let before = self.now()?;
        f()?;
        let after = self.now()?;
        let grew = |name: &str| -> Outcome<u64> {
            let missing = || Stop::failed(format!("no counter {name}"));
            let parts = after.iter().zip(&before);
            parts
                .map(|(now, then)| now.since(then, name).ok_or_else(missing))
                .sum()
        };
        check_eq!(
            (grew("link_read")?, grew("link_write")?),
            (read, written),
            "{what}: bytes over the link"
        );
        let bus = (grew("bus_read")?, grew("bus_write")?);
        check!(
            bus.0 < RESULTS && bus.1 < RESULTS,
            "{what}: {bus:?} bytes were read and written over the bus"
        );
        Ok(())
    }
}

/// Fails unless the memory is reached over the link; returns the pieces of it.
fn is_linked(buffer: &Buffer) -> Outcome<u32> {
    match buffer.path()? {
        Path::Link { extents } => Ok(extents),
        path => Err(Stop::failed(format!(
            "reached by {path}, expected the link"
        ))),
    }
}

fn crc_of(bytes: &[u8], offset: u64, size: u64) -> u32 {
    hlrs::crc32c(0, &bytes[offset as usize..(offset + size) as usize])
}

fn contents_both_ways(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let ends = Ends::new()?;
    let size = 3 * MIB;
    let (buffer, window, mut bytes) = ends.shared(size, &mut random)?;
    let target = Place::Lmem.create(&ends.user, size)?;
    let space = Space::new(&ends.user)?;
    let bind = space.vm.bind().map(BASE, &window);
    bind.map(2 * BASE, &target).submit()?;
    check!(is_linked(&window)? > 0, "nothing is mapped");
    let crc = crc_of(&bytes, 0, size);

    ends.moves("a checksum", size, 0, || {
        check_eq!(window.crc32c(0, size)?, crc, "by the user");
        check_eq!(buffer.crc32c(0, size)?, crc, "by the owner");
        Ok(())
    })?;
    ends.moves("a copy by handle", size, 0, || {
        Ok(target.copy_from(0, &window, 0, size)?)
    })?;
    check_eq!(target.crc32c(0, size)?, crc, "copied by handle");
    target.fill(0, size, 0)?;
    ends.moves("a copy by addresses", size, 0, || {
        space.queue.job().copy(BASE, 2 * BASE, size).run(JOB)?;
        Ok(())
    })?;
    check_eq!(target.crc32c(0, size)?, crc, "copied by addresses");

    let pattern = random.next();
    ends.moves("a fill", 0, MIB, || Ok(window.fill(MIB, MIB, pattern)?))?;
    bytes[MIB as usize..2 * MIB as usize].copy_from_slice(&pattern.to_le_bytes().repeat(131072));
    for round in 0..16 {
        let (offset, len) = random.range(size);
        let from = random.below(size - len + 1);
        if round % 2 == 0 {
            window.copy_from(offset, &target, from, len)?;
        } else {
            let job = space.queue.job();
            job.copy(2 * BASE + from, BASE + offset, len).run(JOB)?;
        }
        let copied = cards::read(&target, from, len)?;
        bytes[offset as usize..(offset + len) as usize].copy_from_slice(&copied);
        let (offset, len) = random.range(size);
        check_eq!(
            window.crc32c(offset, len)?,
            crc_of(&bytes, offset, len),
            "round {round}: {len} bytes at {offset}"
        );
    }
    cards::compare("in the end", &cards::read(&buffer, 0, size)?, &bytes)
}

fn memory_in_pieces(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let ends = Ends::new()?;
    // Every other page of some memory.
    let mut holes = (0..256)
        .map(|_| Place::Visible.create(&ends.owner, PAGE))
        .collect::<hlrs::Result<Vec<_>>>()?;
    let lmem = ends.owner.lmem()?;
    let _rest = Place::Lmem.create(&ends.owner, lmem.total - lmem.used)?;
    let mut keep = false;
    holes.retain(|_| {
        keep = !keep;
        keep
    });
    let size = 100 * PAGE;
    let (buffer, window, bytes) = ends.shared(size, &mut random)?;
    check_eq!(window.crc32c(0, size)?, hlrs::crc32c(0, &bytes));
    let extents = is_linked(&window)?;
    check!(extents > 50, "the memory is in {extents} pieces only");
    let space = Space::new(&ends.user)?;
    space.vm.map(BASE, &window)?;
    for _ in 0..8 {
        let (offset, len) = random.range(size);
        let sum = space.crc(BASE + offset, len)?;
        check_eq!(sum, crc_of(&bytes, offset, len), "{len} bytes at {offset}");
    }
    space.fill(BASE, size, 0x77)?;
    cards::holds_pattern("written through the VM", &buffer, 0x77)
}

fn a_part_of_a_buffer(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let ends = Ends::new()?;
    let buffer = Place::Visible.create(&ends.owner, MIB)?;
    let mut bytes = cards::randomize(&buffer, &mut random)?;
    let (offset, size) = (7 * PAGE, 100 * PAGE);
    let part = buffer.dma_buf().range(offset, size).create()?;
    let window = ends.user.import(&part)?;
    is_linked(&window)?;
    check_eq!(window.crc32c(0, size)?, crc_of(&bytes, offset, size));
    window.fill(0, size, 0)?;
    bytes[offset as usize..(offset + size) as usize].fill(0);
    cards::compare("around it", &cards::read(&buffer, 0, MIB)?, &bytes)
}

fn taken_back_and_given_again(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let ends = Ends::new()?;
    let (buffer, window, bytes) = ends.shared(MIB, &mut random)?;
    let space = Space::new(&ends.user)?;
    space.vm.map(BASE, &window)?;
    let crc = hlrs::crc32c(0, &bytes);
    for round in 0..3 {
        check_eq!(space.crc(BASE, MIB)?, crc, "round {round}");
        buffer.revoke()?;
        check_errno!(window.crc32c(0, MIB), NODEV, "round {round}: revoked");
        check_eq!(is_linked(&window)?, 0, "pieces of what is revoked");
        let job = space.queue.job().fill(BASE, 8, 1).submit();
        check_errno!(job, FAULT, "round {round}: a job");
        buffer.undo_revoke()?;
    }
    check_eq!(window.crc32c(0, MIB)?, crc);
    cards::compare("in the end", &cards::read(&buffer, 0, MIB)?, &bytes)
}

fn resets_of_either_side(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let ends = Ends::new()?;
    let (buffer, window, bytes) = ends.shared(4 * MIB, &mut random)?;
    let crc = hlrs::crc32c(0, &bytes);
    for node in &ends.nodes {
        let what = format!("after a reset of {}", node.address);
        check_eq!(window.crc32c(0, 4 * MIB)?, crc);
        reset(&node.address)?;
        check_eq!(window.crc32c(0, 4 * MIB)?, crc, "{what}, by the user");
        check_eq!(buffer.crc32c(0, 4 * MIB)?, crc, "{what}, by the owner");
        let space = Space::new(&ends.user)?;
        space.vm.map(BASE, &window)?;
        check_eq!(space.crc(BASE, 4 * MIB)?, crc, "{what}, by addresses");
        check!(is_linked(&window)? > 0, "{what}: not mapped");
    }
    Ok(())
}

/// What is no memory of the card, or not for the other PF.
fn what_goes_over_the_bus(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let ends = Ends::new()?;
    let by_bus = |what: &str, user: &Device, buffer: &Buffer, reason| -> Outcome {
        let window = user.import(&buffer.export()?)?;
        check_eq!(window.path()?, Path::Sgt(reason), "{what}");
        check_eq!(
            window.crc32c(0, buffer.size())?,
            buffer.crc32c(0, buffer.size())?,
            "{what}"
        );
        Ok(())
    };
    let system = Place::System.create(&ends.owner, MIB)?;
    cards::randomize(&system, &mut random)?;
    by_bus("system memory", &ends.user, &system, SgtReason::Unrelated)?;

    let vfs = Vfs::enable(1)?;
    let vf = vfs.open(1)?;
    // Of which card the functions are does not matter.
    for pf in [&ends.owner, &ends.user] {
        let memory = Place::Visible.create(pf, MIB)?;
        cards::randomize(&memory, &mut random)?;
        by_bus("memory of a PF, by a VF", &vf, &memory, SgtReason::Importer)?;
    }
    let memory = Place::Visible.create(&vf, MIB)?;
    cards::randomize(&memory, &mut random)?;
    let others = cards::nodes()?;
    let others = others.iter().find(|n| n.address != vfs.node.address);
    let other = others
        .ok_or_else(|| Stop::failed("one card only"))?
        .open()?;
    by_bus("memory of a VF", &other, &memory, SgtReason::Unrelated)
}

fn at_random(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let ends = Ends::new()?;
    for round in context.each(12, 500) {
        let size = (1 + random.below(512)) * PAGE;
        let (buffer, window, mut bytes) = ends.shared(size, &mut random)?;
        let (offset, len) = random.range(size);
        let pattern = random.next();
        window.fill(offset, len, pattern)?;
        for (byte, new) in bytes[offset as usize..(offset + len) as usize]
            .iter_mut()
            .zip(pattern.to_le_bytes().iter().cycle())
        {
            *byte = *new;
        }
        match random.below(4) {
            0 => reset(&ends.nodes[random.below(2) as usize].address)?,
            1 => {
                buffer.revoke()?;
                buffer.undo_revoke()?;
            }
            2 => drop(window.fill_async(0, 8, 0).map(|_| ())),
            _ => {}
        }
        if random.below(2) == 0 {
            // The memory lives on with the import.
            drop(buffer);
        }
        bytes[..8].copy_from_slice(&cards::read(&window, 0, 8)?);
        let sum = window.crc32c(0, size)?;
        check_eq!(sum, hlrs::crc32c(0, &bytes), "round {round}, {size} bytes");
    }
    Ok(())
}

/// Pulls a card while the user works with a window.
fn pull_while_it_works(slot: &Slot, orderly: bool, window: &Buffer) -> Outcome {
    thread::scope(|scope| -> Outcome {
        let working = scope.spawn(|| -> Outcome<Errno> {
            loop {
                if let Err(err) = window.fill(0, window.size(), 1) {
                    return Ok(err.errno().unwrap_or(Errno::IO));
                }
                // Pulling a card takes seconds.
                thread::sleep(Duration::from_millis(1));
            }
        });
        let gone = if orderly { slot.unplug() } else { slot.yank() };
        let err = working
            .join()
            .map_err(|_| Stop::failed("the thread panicked"))??;
        check!(
            [Errno::NODEV, Errno::IO, Errno::CANCELED].contains(&err),
            "the work ended with {err:?}"
        );
        gone
    })?;
    check_errno!(window.crc32c(0, MIB), NODEV, "the card is gone");
    Ok(())
}

fn the_other_card_is_pulled_out(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    for orderly in [false, true] {
        let ends = Ends::new()?;
        let slot = Slot::of(&ends.nodes[0])?;
        let (buffer, window, _) = ends.shared(4 * MIB, &mut random)?;
        let Ends { owner, user, .. } = ends;
        pull_while_it_works(&slot, orderly, &window)?;
        drop((buffer, window, owner));
        // This one works, and finds the other again.
        let own = Place::Lmem.create(&user, MIB)?;
        own.fill(0, MIB, 5)?;
        cards::holds_pattern("its own memory", &own, 5)?;
        drop((own, user));
        slot.plug()?;
        let ends = Ends::new()?;
        let (_, window, bytes) = ends.shared(MIB, &mut random)?;
        check_eq!(
            window.crc32c(0, MIB)?,
            hlrs::crc32c(0, &bytes),
            "plugged in"
        );
    }
    Ok(())
}

/// The user's card: what it has mapped is let go of, and the owner's memory is
/// the owner's alone.
fn this_card_is_pulled_out(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    for orderly in context.each(1, 2).map(|n| n > 0) {
        let ends = Ends::new()?;
        let slot = Slot::of(&ends.nodes[1])?;
        let (buffer, window, _) = ends.shared(4 * MIB, &mut random)?;
        let Ends { owner, user, .. } = ends;
        pull_while_it_works(&slot, orderly, &window)?;
        // Its file is still open, and nothing is mapped.
        let attached = std::fs::read_to_string(ATTACHMENTS)?;
        check!(
            attached
                .lines()
                .filter(|line| line.contains("type=hlrs-link"))
                .all(|line| line.contains(" mappings=0")),
            "{attached}"
        );
        buffer.fill(0, 4 * MIB, 7)?;
        cards::holds_pattern("without the other card", &buffer, 7)?;
        buffer.revoke()?;
        drop((window, user));
        drop(buffer);
        slot.plug()?;
        let again = cards::nodes()?;
        let own = Place::Visible.create(&owner, MIB)?;
        let bytes = cards::randomize(&own, &mut random)?;
        let window = again[1].open()?.import(&own.export()?)?;
        is_linked(&window)?;
        check_eq!(
            window.crc32c(0, MIB)?,
            hlrs::crc32c(0, &bytes),
            "plugged in"
        );
    }
    Ok(())
}
