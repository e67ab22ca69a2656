// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all other suites take for granted of the machine itself.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::random::Random;
use crate::system::registers::Registers;
use crate::system::wait_until;
use crate::system::MIB;
use crate::system::REACTION;
use crate::tests;

/// Offset of the command register in a function's configuration space, and its
/// bit that lets the function answer to its BARs.
const COMMAND: u64 = 4;
const MEMORY: u16 = 2;

/// Offset of the register that identifies an accelerator, and its value.
const ID: usize = 0;
const HLRS_ID: u32 = 0x5352_4c48;

pub fn tests() -> Vec<Test> {
    tests![processors_while_bars_come_and_go: 120]
}

/// A BAR that appears or disappears changes the map of the machine's memory
/// under all processors. What they read and write meanwhile, of other devices
/// and of their own interrupt controllers, must get there.
fn processors_while_bars_come_and_go(context: &Context) -> Outcome {
    cards::two()?;
    let mut cards = cards::nodes()?;
    // Where the one is in the map depends on what is below it.
    cards.sort_by_key(|node| registers_start(&node.address));
    let (comes_and_goes, stays) = (cards[0].address.clone(), &cards[1].address);
    let registers = Registers::of(stays)?;
    driver::unbind(&comes_and_goes)?;
    let _bound = Unbound(&comes_and_goes);
    let config = OpenOptions::new()
        .read(true)
        .write(true)
        .open(driver::pci(&comes_and_goes).join("config"))?;
    let mut command = [0; 2];
    config.read_exact_at(&mut command, COMMAND)?;
    let answers = u16::from_le_bytes(command) | MEMORY;

    let processors = thread::available_parallelism()?.get();
    let seen: Vec<_> = (0..processors).map(|_| Seen::default()).collect();
    let ended = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        for (processor, seen) in seen.iter().enumerate() {
            let (ended, registers) = (&ended, &registers);
            let random = Random::new(context.seed + processor as u64);
            scope.spawn(move || {
                stay_on(processor);
                seen.look(registers, random, ended);
            });
        }
        let outcome = context
            .each(500, 50_000)
            .try_for_each(|_| {
                config.write_all_at(&(answers & !MEMORY).to_le_bytes(), COMMAND)?;
                config.write_all_at(&answers.to_le_bytes(), COMMAND)
            })
            .map_err(Stop::from)
            .and_then(|()| seen.iter().try_for_each(Seen::goes_on));
        ended.store(true, Ordering::Relaxed);
        outcome
    });
    config.write_all_at(&command, COMMAND)?;
    outcome?;
    for (processor, seen) in seen.iter().enumerate() {
        let (looks, wrong) = (
            seen.looks.load(Ordering::Relaxed),
            seen.wrong.load(Ordering::Relaxed),
        );
        check_eq!(
            wrong,
            0,
            "wrong values of {looks} that processor {processor} has read"
        );
    }
    driver::bind(&comes_and_goes)?;
    cards::holds_pattern(
        "an accelerator that came back",
        &Place::Lmem.create(&driver::wait_node(&comes_and_goes)?.open()?, MIB)?,
        0,
    )
}

/// Bus address of a function's registers.
fn registers_start(address: &str) -> u64 {
    let lines = std::fs::read_to_string(driver::pci(address).join("resource")).unwrap_or_default();
    let start = lines.split(' ').next().unwrap_or_default();
    u64::from_str_radix(start.trim_start_matches("0x"), 16).unwrap_or_default()
}

/// What a processor has read of a register that never changes.
#[derive(Default)]
struct Seen {
    looks: AtomicU64,
    wrong: AtomicU64,
}

impl Seen {
    /// Looks now and then, until `ended`. Sleeps in between, to use the
    /// processor's timer, or does not, to look at any moment: who waits for
    /// QEMU in a read does not read while the map changes.
    fn look(&self, registers: &Registers, mut random: Random, ended: &AtomicBool) {
        while !ended.load(Ordering::Relaxed) {
            let pause = Duration::from_micros(random.below(200));
            if random.below(8) == 0 {
                thread::sleep(pause);
            }
            let start = Instant::now();
            while start.elapsed() < pause {}
            if registers.read(ID) != HLRS_ID {
                self.wrong.fetch_add(1, Ordering::Relaxed);
            }
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn goes_on(&self) -> Outcome {
        let before = self.looks.load(Ordering::Relaxed);
        wait_until("timers of each processor", REACTION, || {
            self.looks.load(Ordering::Relaxed) > before + 100
        })
    }
}

/// Lets this thread run on one processor only.
fn stay_on(processor: usize) {
    // SAFETY: the set is plain data, and this thread's own.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set);
    }
}
