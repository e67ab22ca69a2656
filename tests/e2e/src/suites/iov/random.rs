// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of functions is taken back at random moments, in every way there is,
//! while the physical function works with it.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hlrs::Buffer;

use super::Card;
use super::GRANULE;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::suites::reset::reset;
use crate::system::breathe;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::exporter::range;
use crate::system::exporter::Exporter;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![memory_is_taken_back_at_any_moment: 7_200]
}

const SIZE: u64 = 2 * MIB;
const BASE: u64 = 1 << 40;
const SHARED: u64 = 0x5155_5155_5155_5155;
const OTHERS: u64 = 0xdead_0bad_dead_0bad;

#[derive(Debug, Clone, Copy)]
enum Event {
    Revoke,
    ResetVf,
    ResetPf,
    Unbind,
    Unload,
    Disable,
}

impl Event {
    const ALL: [Event; 6] = [
        Event::Revoke,
        Event::ResetVf,
        Event::ResetPf,
        Event::Unbind,
        Event::Unload,
        Event::Disable,
    ];

    fn choose(round: u32, random: &mut Random) -> Event {
        let n = match round {
            0..6 => u64::from(round),
            _ => random.below(6),
        };
        Event::ALL[n as usize]
    }

    fn happen(self, card: &Card, number: u32, exported: &Buffer) -> Outcome {
        let address = card.vfs.vf_node(number)?.address;
        match self {
            Event::Revoke => {
                exported.revoke()?;
                exported.undo_revoke()?;
            }
            Event::ResetVf => reset(&address)?,
            Event::ResetPf => reset(&card.vfs.node.address)?,
            Event::Unbind => {
                let bound = Unbound(&address);
                driver::unbind(&address)?;
                drop(bound);
                driver::wait_node(&address)?;
            }
            Event::Unload => check!(
                driver::unload_now().is_err(),
                "the driver was unloaded while it was in use"
            ),
            Event::Disable => card.vfs.clear()?,
        }
        Ok(())
    }

    fn spares_the_memory(self) -> bool {
        !matches!(self, Event::Unbind | Event::Disable)
    }
}

fn one_round(round: u32, exporter: &Exporter, random: &mut Random) -> Outcome {
    let count = 1 + random.below(3) as u32;
    let number = 1 + random.below(count.into()) as u32;
    let quota = |random: &mut Random| (3 + random.below(4)) * GRANULE;
    let quotas: Vec<_> = (0..count).map(|_| quota(random)).collect();
    let card = Card::scattered(&quotas, random)?;
    let vf = card.vf(number)?;
    let before = Place::Visible.create(&vf, SIZE)?;
    let shared = Place::Visible.create(&vf, SIZE)?;
    before.fill(0, SIZE, OTHERS)?;
    shared.fill(0, SIZE, SHARED)?;
    // One from the function's driver, and one that is never taken back.
    let address = card.vfs.vf_node(number)?.address;
    let own = quotas[number as usize - 1];
    let liar = exporter.export(&address, GRANULE, &[range(own - GRANULE, GRANULE)])?;
    let windows = [
        card.pf.import(&shared.dma_buf().create()?)?,
        card.pf.import(&liar)?,
    ];
    let target = Place::Lmem.create(&card.pf, SIZE)?;
    let space = Space::new(&card.pf)?;
    space
        .vm
        .bind()
        .map(BASE, &windows[0])
        .map(2 * BASE, &windows[1])
        .submit()?;

    let event = Event::choose(round, random);
    let delay = Duration::from_micros(random.below(20_000));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| -> Outcome {
        let copies = scope.spawn(|| {
            // Errors are as expected: there is nothing to be had for a while.
            while !stop.load(Ordering::Relaxed) {
                let ended = target.copy_from(0, &windows[0], 0, SIZE);
                breathe(ended.and(windows[1].crc32c(0, SIZE)));
            }
        });
        let jobs = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let job = space.queue.job().fill(BASE, SIZE, SHARED);
                breathe(job.fill(2 * BASE, SIZE, OTHERS).run(JOB));
            }
        });
        thread::sleep(delay);
        let happened = event.happen(&card, number, &shared);
        stop.store(true, Ordering::Relaxed);
        check!(copies.join().is_ok() && jobs.join().is_ok(), "a panic");
        happened
    })
    .map_err(|stop| stop.during(format!("round {round}, {event:?} after {delay:?}")))?;

    let _ = target.wait(JOB);
    if event.spares_the_memory() {
        let _ = windows[0].wait(JOB);
        // A reset of the PF takes the functions along.
        let _ = shared.wait(JOB);
        cards::holds_pattern("memory of a stranger", &before, OTHERS)?;
        shared.fill(0, SIZE, SHARED)?;
        target.copy_from(0, &windows[0], 0, SIZE)?;
        cards::holds_pattern("copied again", &target, SHARED)?;
        return Ok(());
    }
    check!(
        target.copy_from(0, &windows[0], 0, SIZE).is_err(),
        "round {round}, {event:?}: an import works although the memory was taken back"
    );
    if matches!(event, Event::Disable) {
        let lmem = card.pf.lmem()?;
        let others = Place::Lmem.create(&card.pf, (lmem.total - lmem.used) / 2 / MIB * MIB)?;
        cards::holds_pattern("new memory", &others, 0)?;
        for window in &windows {
            check!(
                window.fill(0, SIZE, 1).is_err(),
                "round {round}: an import works"
            );
        }
        let _ = space.queue.job().fill(BASE, SIZE, 1).run(JOB);
        cards::holds_pattern("new memory, later", &others, 0)?;
    }
    Ok(())
}

fn memory_is_taken_back_at_any_moment(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let exporter = Exporter::load()?;
    for round in context.each(6, 500) {
        one_round(round, &exporter, &mut random)?;
    }
    let used = cards::used(&cards::first()?)?;
    check_eq!(used, 0, "memory in use in the end");
    Ok(())
}
