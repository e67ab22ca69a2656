// SPDX-License-Identifier: MIT OR Apache-2.0
//! An exporter that lies: whatever it says, the physical function touches the
//! memory of the function for which it speaks, or none.

use hlrs::Buffer;
use hlrs::DmaBuf;
use hlrs::Errno;

use super::crc_of;
use super::has_imports;
use super::is_native;
use super::Card;
use super::GRANULE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::raw::exporter::Range;
use crate::suites::reset::reset;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::exporter::range;
use crate::system::exporter::Exporter;
use crate::system::exporter::BAR;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::space::PAGE;
use crate::system::wait_until;
use crate::system::MIB;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        what_is_true_is_accepted: 120,
        what_is_not_is_refused: 180,
        who_has_nothing_to_say: 120,
        what_changes_later: 120,
        memory_that_changes_hands: 180,
        a_reset_that_nobody_tells_of: 120,
    ]
}

const QUOTA: u64 = 4 * GRANULE;
const BASE: u64 = 1 << 40;
const MINE: u64 = 0x1111_2222_3333_4444;
const SIBLINGS: u64 = 0x5151_5151_5151_5151;
const PFS: u64 = 0xf0f0_f0f0_0f0f_0f0f;

/// Two functions whose whole memory is full, and so is that of the physical
/// function, as far as it is visible.
struct Full {
    buffers: Vec<(Buffer, u64)>,
    card: Card,
}

impl Full {
    fn new(random: &mut Random) -> Outcome<Full> {
        let card = Card::scattered(&[QUOTA, QUOTA], random)?;
        let mut buffers = Vec::new();
        for (number, pattern) in [(1, MINE), (2, SIBLINGS)] {
            let vf = card.vf(number)?;
            let buffer = Place::Visible.create(&vf, QUOTA)?;
            buffers.push((buffer, pattern));
        }
        // Of the physical function as much as lies between.
        let rest = Place::Visible.create(&card.pf, 4 * QUOTA)?;
        buffers.push((rest, PFS));
        for (buffer, pattern) in &buffers {
            for offset in (0..buffer.size()).step_by((64 * MIB) as usize) {
                let size = (64 * MIB).min(buffer.size() - offset);
                buffer.fill(offset, size, *pattern)?;
            }
        }
        Ok(Full { buffers, card })
    }

    /// Nobody's memory has changed.
    fn is_unchanged(&self) -> Outcome {
        for (n, (buffer, pattern)) in self.buffers.iter().enumerate() {
            cards::holds_pattern(&format!("memory of function {}", n + 1), buffer, *pattern)?;
        }
        Ok(())
    }
}

/// Any order, any cut, as long as it is the function's own memory.
fn what_is_true_is_accepted(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let card = Card::scattered(&[QUOTA, QUOTA], &mut random)?;
    let exporter = Exporter::load()?;
    for number in [1, 2] {
        let vf = card.vf(number)?;
        let whole = vf.buffer(QUOTA).contiguous().cpu_visible().create()?;
        let bytes = cards::randomize(&whole, &mut random)?;
        let address = card.vfs.vf_node(number)?.address;

        // Pages in random order, some together.
        let mut pages: Vec<_> = (0..QUOTA / PAGE).collect();
        for n in (1..pages.len()).rev() {
            pages.swap(n, random.below(n as u64 + 1) as usize);
        }
        let mut ranges = Vec::new();
        let mut expected = Vec::new();
        for chunk in pages.chunks(7).take(100) {
            for page in chunk {
                ranges.push(range(page * PAGE, PAGE));
                let start = (page * PAGE) as usize;
                expected.extend_from_slice(&bytes[start..start + PAGE as usize]);
            }
        }
        let size = expected.len() as u64;
        let dmabuf = exporter.export(&address, size, &ranges)?;
        let window = card.pf.import(&dmabuf)?;
        check_eq!(is_native(&window, number)?.0, ranges.len() as u32);
        check_eq!(
            window.crc32c(0, size)?,
            hlrs::crc32c(0, &expected),
            "shuffled"
        );

        // All of it, backwards, by halves of granules.
        let half = GRANULE / 2;
        let ranges: Vec<_> = (0..QUOTA / half)
            .rev()
            .map(|n| range(n * half, half))
            .collect();
        let dmabuf = exporter.export(&address, QUOTA, &ranges)?;
        let backwards = card.pf.import(&dmabuf)?;
        let space = Space::new(&card.pf)?;
        space.vm.map(BASE, &backwards)?;
        for n in 0..QUOTA / half {
            let crc = crc_of(&bytes, QUOTA - (n + 1) * half, half);
            check_eq!(backwards.crc32c(n * half, half)?, crc, "half {n}");
            check_eq!(
                space.crc(BASE + n * half, half)?,
                crc,
                "half {n}, by address"
            );
        }
    }
    Ok(())
}

/// Claims about a buffer of four pages.
fn claims(bar_size: u64) -> Vec<(&'static str, Errno, Vec<Range>)> {
    let size = 4 * PAGE;
    let other_bar = Range {
        bar: 0,
        ..range(0, size)
    };
    let (inval, erange) = (Errno::INVAL, Errno::RANGE);
    vec![
        ("behind the quota", erange, vec![range(QUOTA, size)]),
        ("across its end", erange, vec![range(QUOTA - PAGE, size)]),
        (
            "a second range behind it",
            erange,
            vec![range(0, size - PAGE), range(QUOTA, PAGE)],
        ),
        (
            "at the end of the BAR",
            erange,
            vec![range(bar_size - size, size)],
        ),
        ("behind the BAR", erange, vec![range(bar_size, size)]),
        (
            "wrapping around",
            erange,
            vec![range(u64::MAX - PAGE + 1, size)],
        ),
        (
            "wrapping around to the beginning",
            erange,
            vec![range(PAGE, u64::MAX - PAGE + 1), range(0, size)],
        ),
        ("the same twice", inval, vec![range(0, 2 * PAGE); 2]),
        (
            "overlapping by a page",
            inval,
            vec![range(0, 2 * PAGE), range(PAGE, 2 * PAGE)],
        ),
        (
            "overlapping, descending",
            inval,
            vec![range(5 * PAGE, 2 * PAGE), range(4 * PAGE, 2 * PAGE)],
        ),
        (
            "empty",
            inval,
            vec![
                range(0, 2 * PAGE),
                range(4 * PAGE, 0),
                range(8 * PAGE, 2 * PAGE),
            ],
        ),
        ("nothing", inval, vec![]),
        ("too short", inval, vec![range(0, size - PAGE)]),
        ("too long", inval, vec![range(0, size + PAGE)]),
        ("half a page further", inval, vec![range(PAGE / 2, size)]),
        (
            "parts of pages",
            inval,
            vec![range(0, PAGE / 2), range(PAGE, size - PAGE / 2)],
        ),
        ("another BAR", inval, vec![other_bar]),
        (
            "more ranges than pages",
            Errno::TOOBIG,
            vec![range(0, PAGE); 5],
        ),
        (
            "very many ranges",
            Errno::TOOBIG,
            vec![range(0, PAGE); 1 << 16],
        ),
    ]
}

fn what_is_not_is_refused(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let full = Full::new(&mut random)?;
    let card = &full.card;
    let exporter = Exporter::load()?;
    let node = &card.vfs.node;
    let address = card.vfs.vf_node(1)?.address;
    let bar_size = card.pf.lmem()?.cpu_visible;
    let used = cards::used(&card.pf)?;

    for (what, errno, ranges) in claims(bar_size) {
        let dmabuf = exporter.export(&address, 4 * PAGE, &ranges)?;
        let refused = card.pf.import(&dmabuf);
        check!(
            refused.as_ref().err().and_then(hlrs::Error::errno) == Some(errno),
            "{what}: {refused:?}, expected {errno:?}"
        );
        check_eq!(
            exporter.change(&dmabuf, true, &ranges)?,
            0,
            "{what}: mappings"
        );
        has_imports(node, &[]).map_err(|stop| stop.during(what))?;
    }
    // All that is behind a BAR which is larger than the quota.
    let dmabuf = exporter.export(&address, bar_size, &[range(0, bar_size)])?;
    check_errno!(card.pf.import(&dmabuf), RANGE, "the whole BAR");
    let step = if context.soak { 1 } else { 16 } * GRANULE;
    for offset in (QUOTA..bar_size).step_by(step as usize) {
        let dmabuf = exporter.export(&address, PAGE, &[range(offset, PAGE)])?;
        check_errno!(card.pf.import(&dmabuf), RANGE, "a page at {offset:#x}");
    }
    cards::settles(&card.pf, used)?;
    full.is_unchanged()
}

/// There is nothing else on offer, so that importing fails.
fn who_has_nothing_to_say(_: &Context) -> Outcome {
    let card = Card::new(&[QUOTA, QUOTA])?;
    let exporter = Exporter::load()?;
    let nodes = cards::nodes()?;
    let other = nodes[1].open()?;
    let own = card.vfs.vf_node(1)?.address;
    let size = 4 * PAGE;
    let claim = [range(0, size)];
    let refused = |what: &str, device: &hlrs::Device, dmabuf: &DmaBuf| -> Outcome {
        let refused = device.import(dmabuf);
        check_errno!(refused, PROTONOSUPPORT, "{what}");
        Ok(())
    };

    let good = exporter.export(&own, size, &claim)?;
    is_native(&card.pf.import(&good)?, 1)?;
    refused("on another card", &other, &good)?;
    refused("on a sibling", &card.vf(2)?, &good)?;
    refused("on the function itself", &card.vf(1)?, &good)?;
    for (what, address) in [
        ("of the physical function", &nodes[0].address),
        ("of another card", &nodes[1].address),
    ] {
        let dmabuf = exporter.export(address, size, &claim)?;
        refused(what, &card.pf, &dmabuf)?;
        refused(what, &other, &dmabuf)?;
    }
    for bar in [0, BAR + 1, 5, u32::MAX] {
        let dmabuf = exporter.export_bar(&own, bar, size, &claim)?;
        refused(&format!("of BAR {bar}"), &card.pf, &dmabuf)?;
    }
    Ok(())
}

/// What was true becomes a lie. Those who were told ask again, and find out; the
/// others go on with what they were given.
fn what_changes_later(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let full = Full::new(&mut random)?;
    let card = &full.card;
    let exporter = Exporter::load()?;
    let address = card.vfs.vf_node(1)?.address;
    let size = 4 * PAGE;
    let good = [range(2 * PAGE, size)];
    let dmabuf = exporter.export(&address, size, &good)?;
    let window = card.pf.import(&dmabuf)?;
    let space = Space::new(&card.pf)?;
    space.vm.map(BASE, &window)?;

    let step = if context.soak { 1 } else { 5 };
    let claims = claims(card.pf.lmem()?.cpu_visible);
    for (what, errno, ranges) in claims.into_iter().step_by(step) {
        space.holds(what, BASE, size, MINE)?;
        check_eq!(
            exporter.change(&dmabuf, true, &ranges)?,
            1,
            "{what}: not told"
        );
        window.fill(0, size, MINE)?;
        space.fill(BASE, size, MINE)?;
        cards::holds_pattern(what, &window, MINE)?;

        wait_until("the mapping to go", REACTION, || {
            matches!(exporter.change(&dmabuf, false, &ranges), Ok(0))
        })?;
        let refused = window.fill(0, size, PFS);
        check!(
            refused.as_ref().err().and_then(hlrs::Error::errno) == Some(errno),
            "{what}, by handle: {refused:?}, expected {errno:?}"
        );
        let refused = space.queue.job().fence(space.result_va(9), 1).start();
        check_errno!(refused, FAULT, "{what}, by address");
        check_eq!(
            exporter.change(&dmabuf, false, &good)?,
            0,
            "{what}: mappings"
        );
    }
    space.holds("in the end", BASE, size, MINE)?;
    full.is_unchanged()
}

/// Functions are disabled, and the exporter says nothing: the physical function
/// lets go by itself, before anybody gets the memory.
fn memory_that_changes_hands(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let exporter = Exporter::load()?;
    for round in context.each(1, 20) {
        let card = Card::scattered(&[QUOTA, QUOTA], &mut random)?;
        let address = card.vfs.vf_node(1)?.address;
        let dmabuf = exporter.export(&address, QUOTA, &[range(0, QUOTA)])?;
        let window = card.pf.import(&dmabuf)?;
        let space = Space::new(&card.pf)?;
        space.vm.map(BASE, &window)?;
        space.fill(BASE, QUOTA, MINE)?;
        if round % 2 == 0 {
            // With work in flight, of both kinds.
            for n in 0..16 {
                let _job = window.fill_async(0, QUOTA, n)?;
                let _job = space.queue.job().fill(BASE, QUOTA, n).start()?;
            }
        }
        card.vfs.clear()?;
        check_eq!(
            exporter.change(&dmabuf, true, &[range(0, QUOTA)])?,
            0,
            "round {round}: mappings"
        );

        // It is somebody else's now.
        let lmem = card.pf.lmem()?;
        let others = Place::Lmem.create(&card.pf, lmem.total - lmem.used - 8 * MIB)?;
        for offset in (0..others.size()).step_by((64 * MIB) as usize) {
            others.fill(offset, (64 * MIB).min(others.size() - offset), PFS)?;
        }
        let check = |what: &str| -> Outcome {
            check_errno!(window.fill(0, QUOTA, MINE), NODEV, "{what}, by handle");
            let refused = space.queue.job().fill(BASE, QUOTA, MINE).start();
            check_errno!(refused, FAULT, "{what}, by address");
            Ok(())
        };
        check("after the functions are gone")?;
        cards::holds_pattern("the next owner's memory", &others, PFS)?;
        // Another file: this one would find the handle that it has.
        let file = card.vfs.node.open()?;
        check_errno!(file.import(&dmabuf), NODEV, "a new import");
        drop(others);

        // Functions of the same number are others.
        card.vfs.set(2)?;
        let again = Place::Visible.create(&card.vf(1)?, QUOTA)?;
        again.fill(0, QUOTA, SIBLINGS)?;
        check("when there is another function of that number")?;
        check_errno!(file.import(&dmabuf), NODEV, "a new import of the old one");
        cards::holds_pattern("the new function's memory", &again, SIBLINGS)?;
    }
    Ok(())
}

/// A reset of the function, of which only the device tells.
fn a_reset_that_nobody_tells_of(context: &Context) -> Outcome {
    let card = Card::new(&[QUOTA])?;
    let exporter = Exporter::load()?;
    let node = card.vfs.vf_node(1)?;
    let claim = [range(0, MIB)];
    let dmabuf = exporter.export(&node.address, MIB, &claim)?;
    let window = card.pf.import(&dmabuf)?;
    let space = Space::new(&card.pf)?;
    space.vm.map(BASE, &window)?;
    for n in context.each(2, 50) {
        let pattern = MINE + u64::from(n);
        space.fill(BASE, MIB, pattern)?;
        check_eq!(
            exporter.change(&dmabuf, true, &claim)?,
            1,
            "mappings before"
        );
        reset(&node.address)?;
        wait_until("the mapping to go", REACTION, || {
            matches!(exporter.change(&dmabuf, true, &claim), Ok(0))
        })?;
        space.holds("mapped again", BASE, MIB, pattern)?;
        cards::holds_pattern("by handle", &window, pattern)?;
    }
    Ok(())
}
