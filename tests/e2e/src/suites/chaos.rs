// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory is taken back at random moments, in every way there is, while the
//! other accelerator copies it.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hlrs::Buffer;
use hlrs::Node;

use crate::check;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::suites::reset::reset;
use crate::system::breathe;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::machine::Slot;
use crate::system::random::Random;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![memory_is_taken_back_at_any_moment: 14_400]
}

const SIZE: u64 = 2 * MIB;

/// Made where the memory was: more than a round has on the device.
const OTHER_BUFFERS: usize = 8;
const SHARED: u64 = 0x5155_5155_5155_5155;
const OTHERS: u64 = 0xdead_0bad_dead_0bad;

/// Ways to take memory back.
#[derive(Debug, Clone, Copy)]
enum Event {
    Revoke,
    Reset,
    Unbind,
    /// An attempt to unload the driver, which is in use.
    Unload,
    Yank,
    Unplug,
}

impl Event {
    const ALL: [Event; 6] = [
        Event::Revoke,
        Event::Reset,
        Event::Unbind,
        Event::Unload,
        Event::Yank,
        Event::Unplug,
    ];

    /// Each once, then any. Plugging takes seconds, so that it comes less often.
    fn choose(round: u32, random: &mut Random) -> Event {
        if let Some(event) = Event::ALL.get(round as usize) {
            return *event;
        }
        match random.below(16) {
            0..=4 => Event::Revoke,
            5..=8 => Event::Reset,
            9..=11 => Event::Unbind,
            12..=13 => Event::Unload,
            14 => Event::Yank,
            _ => Event::Unplug,
        }
    }

    /// Lets it happen; what is needed to undo it is done when this returns.
    fn happen(self, node: &Node, exported: &Buffer) -> Outcome {
        let address = node.address.as_str();
        match self {
            Event::Revoke => {
                exported.revoke()?;
                exported.undo_revoke()?;
            }
            Event::Reset => reset(address)?,
            Event::Unbind => {
                let bound = Unbound(address);
                driver::unbind(address)?;
                drop(bound);
                driver::wait_node(address)?;
            }
            Event::Unload => check!(
                driver::unload_now().is_err(),
                "the driver was unloaded while it was in use"
            ),
            Event::Yank | Event::Unplug => {
                let slot = Slot::of(node)?;
                match self {
                    Event::Yank => slot.yank()?,
                    _ => slot.unplug()?,
                }
                slot.plug()?;
            }
        }
        Ok(())
    }

    /// Whether the device is the same afterwards.
    fn spares_the_device(self) -> bool {
        matches!(self, Event::Revoke | Event::Reset | Event::Unload)
    }
}

/// What a peer has read is what it was given, or nothing at all.
fn nothing_of_others(target: &Buffer) -> Outcome {
    let bytes = cards::read(target, 0, target.size())?;
    for (n, word) in bytes.chunks_exact(8).enumerate() {
        let word = u64::from_le_bytes(word.try_into().map_err(Stop::failed)?);
        check!(
            word == SHARED || word == 0 || word == u64::MAX,
            "{word:#x} at {:#x} is not what was shared",
            8 * n
        );
    }
    Ok(())
}

fn one_round(round: u32, random: &mut Random) -> Outcome {
    let nodes = cards::nodes()?;
    check!(nodes.len() > 1, "two accelerators are needed");
    let (a, b) = (nodes[0].open()?, nodes[1].open()?);
    // Somebody else's memory on both sides of what is shared.
    let stranger = nodes[0].open()?;
    let before = Place::Visible.create(&stranger, SIZE)?;
    let shared = Place::Visible.create(&a, SIZE)?;
    let after = Place::Visible.create(&stranger, SIZE)?;
    before.fill(0, SIZE, OTHERS)?;
    after.fill(0, SIZE, OTHERS)?;
    shared.fill(0, SIZE, SHARED)?;

    let window = b.import(&shared.dma_buf().create()?)?;
    let target = Place::Lmem.create(&b, SIZE)?;
    let event = Event::choose(round, random);
    let delay = Duration::from_micros(random.below(30_000));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| -> Outcome {
        let copies = scope.spawn(|| {
            // Errors are as expected: there is nothing to be had for a while.
            while !stop.load(Ordering::Relaxed) {
                breathe(target.copy_from(0, &window, 0, SIZE));
            }
        });
        let jobs = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                breathe(shared.fill(0, SIZE, SHARED));
            }
        });
        thread::sleep(delay);
        let happened = event.happen(&nodes[0], &shared);
        stop.store(true, Ordering::Relaxed);
        check!(copies.join().is_ok() && jobs.join().is_ok(), "a panic");
        happened
    })
    .map_err(|stop| stop.during(format!("round {round}, {event:?} after {delay:?}")))?;

    target.wait(crate::system::JOB).ok();
    nothing_of_others(&target)?;
    if event.spares_the_device() {
        for buffer in [&before, &after] {
            cards::holds_pattern("memory of a stranger", buffer, OTHERS)?;
        }
        target.copy_from(0, &window, 0, SIZE)?;
        cards::holds_pattern("copied again", &target, SHARED)?;
        return Ok(());
    }

    // Where the memory was there is that of others now, which the old import must not reach.
    let device = driver::wait_node(&nodes[0].address)?.open()?;
    let mut others = Vec::new();
    for _ in 0..OTHER_BUFFERS {
        let other = Place::Visible.create(&device, SIZE)?;
        other.fill(0, SIZE, OTHERS)?;
        others.push(other);
    }
    check!(
        target.copy_from(0, &window, 0, SIZE).is_err(),
        "round {round}: an import works although its device was gone: {event:?} after {delay:?}"
    );
    nothing_of_others(&target)
}

fn memory_is_taken_back_at_any_moment(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    for round in context.each(3, 500) {
        one_round(round, &mut random)?;
    }
    let (a, b) = cards::two()?;
    cards::settles(&a, 0)?;
    cards::settles(&b, 0)
}
