// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything at the same time.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use hlrs::Errno;

use super::exported;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::raw;
use crate::raw::consumer::LATE;
use crate::system::cards;
use crate::system::consumer::Consumer;
use crate::system::random::Random;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        export_destroy_close_register_and_access: 7200,
        accesses_while_it_is_closed: 7200,
    ]
}

const SHORT: Duration = Duration::from_millis(3);

/// One of the errors that a call may have, or none.
fn may<T>(result: raw::Result<T>, errors: &[Errno]) -> Outcome<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(errno) if errors.contains(&errno) => Ok(None),
        Err(errno) => Err(Stop::failed(format!("{errno}, expected one of {errors:?}"))),
    }
}

fn may_be<T>(result: hlrs::Result<T>, errors: &[Errno]) -> Outcome<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(err) if err.errno().is_some_and(|errno| errors.contains(&errno)) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

fn joined(thread: thread::ScopedJoinHandle<'_, Outcome>) -> Outcome {
    thread
        .join()
        .map_err(|_| Stop::failed("a thread panicked"))?
}

/// Registers, uses and unregisters what is there to be had.
fn uses(consumer: &Consumer, number: i32, stop: &AtomicBool, mut random: Random) -> Outcome {
    const REFUSED: &[Errno] = &[Errno::BADF, Errno::INVAL, Errno::NOENT, Errno::BUSY];
    while !stop.load(Ordering::Relaxed) {
        let flags = if random.below(2) == 0 { 0 } else { LATE };
        let delay = Duration::from_millis(random.below(3));
        let Some(user) = may(consumer.register_number(number, flags, delay), REFUSED)? else {
            thread::yield_now();
            continue;
        };
        for _ in 0..random.below(3) {
            may(user.access(SHORT), &[Errno::STALE])?;
        }
        let state = user.state().map_err(Stop::failed)?;
        check!(state.calls <= 1 && state.returned <= state.calls);
        // Some are left to the open file.
        if random.below(8) != 0 {
            check_eq!(user.unregister(), Ok(()));
        }
    }
    Ok(())
}

fn export_destroy_close_register_and_access(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let stays = node.open()?;
    let before = cards::used(&stays)?;
    let mut random = Random::new(context.seed);
    for _ in context.each(12, 10_000) {
        let consumers = [Consumer::open(&node)?, Consumer::open(&node)?];
        let device = node.open()?;
        let vm = device.vm().create()?;
        let mut doomed = device.vm().create()?;
        let buffer = cards::Place::Lmem.create(&device, 65536)?;
        vm.map(super::BASE, &buffer)?;
        drop(buffer);
        let fd = vm.export()?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&fd));
        let stop = AtomicBool::new(false);
        let start = Barrier::new(4);
        let time = Duration::from_micros(random.below(4000));
        let randoms = [(); 3].map(|()| Random::new(random.next()));
        thread::scope(|scope| -> Outcome {
            let (stop, start, consumers) = (&stop, &start, &consumers);
            let [first, second, mut third] = randoms;
            let threads = [
                scope.spawn(move || {
                    start.wait();
                    uses(&consumers[0], number, stop, first)
                }),
                scope.spawn(move || {
                    start.wait();
                    uses(&consumers[1], number, stop, second)
                }),
                // The same number, of one file after the other.
                scope.spawn(move || {
                    let mut fd = Some(fd);
                    start.wait();
                    for _ in 0..third.below(8) {
                        fd = None;
                        fd = may_be(vm.export(), &[Errno::EXIST, Errno::MFILE])?.or(fd);
                        let other = may_be(doomed.export(), &[Errno::NOENT, Errno::EXIST])?;
                        may_be(doomed.destroy(), &[Errno::BUSY, Errno::NOENT])?;
                        drop(other);
                    }
                    // The descriptor outlives the VM, or the VM the descriptor.
                    if third.below(2) == 0 {
                        drop((vm, doomed, device));
                    } else {
                        drop(fd.take());
                        drop((vm, doomed, device));
                    }
                    drop(fd);
                    Ok(())
                }),
            ];
            start.wait();
            thread::sleep(time);
            // What is closed by then is closed under users.
            let [one, two, owner] = threads;
            let closed = joined(owner);
            stop.store(true, Ordering::Relaxed);
            let used = joined(one).and(joined(two));
            closed.and(used)
        })?;
        drop(consumers);
        cards::settles(&stays, before)?;
    }
    Ok(())
}

/// Whatever has begun is over when the file is closed, and nothing begins then.
fn accesses_while_it_is_closed(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let consumer = Consumer::open(&node)?;
    let stays = node.open()?;
    let before = cards::used(&stays)?;
    let mut random = Random::new(context.seed);
    for _ in context.each(12, 5000) {
        let (space, fd) = exported(&node.open()?)?;
        let flags = if random.below(2) == 0 { 0 } else { LATE };
        let user = consumer
            .register_with(&fd, flags, Duration::ZERO)
            .map_err(Stop::failed)?;
        let begun = AtomicU32::new(0);
        thread::scope(|scope| -> Outcome {
            let accesses = [(); 2].map(|()| {
                scope.spawn(|| -> Outcome {
                    while may(user.access(SHORT), &[Errno::STALE])?.is_some() {
                        begun.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            });
            while begun.load(Ordering::Relaxed) < 2 {
                thread::yield_now();
            }
            thread::sleep(Duration::from_micros(random.below(1000)));
            drop(space);
            let counts = user.counts();
            let [one, two] = accesses;
            joined(one).and(joined(two))?;
            check_eq!(counts?, (1, 1, 0), "when the file was closed");
            Ok(())
        })?;
        check_errno!(user.access(SHORT), STALE, "closed");
        check_eq!(user.unregister(), Ok(()));
        cards::settles(&stays, before)?;
    }
    Ok(())
}
