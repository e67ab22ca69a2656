// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies that access what they must not: nobody but they notices.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use hlrs::BindOp;
use hlrs::Errno;

use super::end;
use super::Pair;
use super::Side;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::suites::reset::inject;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::nic;
use crate::system::space::PAGE;
use crate::system::timing::Slow;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        addresses_that_are_not_mapped,
        jobs_of_the_address_space_go_on: 120,
        copies_of_others_go_on: 120,
        an_error_in_memory: 120,
        an_address_space_that_is_banned: 120,
    ]
}

fn addresses_that_are_not_mapped(_: &Context) -> Outcome {
    let pair = Pair::first()?;
    let src = pair.src.buffer(Place::Lmem, MIB, 1)?;
    let dst = pair.dst.buffer(Place::Lmem, MIB, 2)?;
    let last = (1 << 48) - PAGE;
    for (from, to, size, written) in [
        (3 * BASE, BASE, 1, 0),
        (BASE, 3 * BASE, 1, 0),
        (last, BASE, PAGE, 0),
        (BASE, last, PAGE, 0),
        (3 * BASE, 4 * BASE, MIB, 0),
        // The first byte is there, the last is not.
        (BASE + MIB - PAGE, BASE, PAGE + 1, PAGE),
        (BASE, BASE + MIB - PAGE, PAGE + 1, 0),
    ] {
        let bad = pair.copy(from, to, size).start()?;
        // Behind it, and not harmed.
        let good = pair.copy(BASE, BASE + 64 * PAGE, PAGE).start()?;
        let what = format!("{size} bytes from {from:#x} to {to:#x}");
        check_eq!(end(&bad)?, Some(Errno::FAULT), "{what}");
        check_eq!(end(&good)?, None, "behind {what}");
        let there = BASE + 64 * PAGE;
        pair.dst.space.holds(&what, there, PAGE, 1)?;
        // What was not to be written was not.
        let (start, size) = (BASE + written, 32 * PAGE);
        pair.dst.space.holds(&what, start, size, 2)?;
        dst.fill(0, MIB, 2)?;
        pair.nobody_is_banned()?;
    }
    cards::holds_pattern("the source", &src, 1)?;
    pair.works()
}

/// The jobs of both address spaces are stopped by the faults of copies, again
/// and again, and begun again.
fn jobs_of_the_address_space_go_on(context: &Context) -> Outcome {
    const SIZE: u64 = 2 * MIB;
    let pair = Pair::first()?;
    let sides = [&pair.src, &pair.dst];
    let buffers = [
        pair.src.buffer(Place::Lmem, 2 * SIZE, 0)?,
        pair.dst.buffer(Place::Lmem, 2 * SIZE, 0)?,
    ];
    let stop = AtomicBool::new(false);
    let (mut faults, mut jobs) = (0, 0);
    thread::scope(|scope| -> Outcome {
        let working: Vec<_> = sides
            .iter()
            .map(|side| {
                let (space, stop) = (&side.space, &stop);
                scope.spawn(move || -> Outcome<u64> {
                    let mut round = 0;
                    // Every kind of command, also those that must not be done
                    // twice for the result to be right.
                    while !stop.load(Ordering::Relaxed) || round < 3 {
                        round += 1;
                        space.clear_results()?;
                        let pattern = round % 4;
                        let job = space.queue.job().fill(BASE, SIZE, pattern);
                        let job = job.copy(BASE, BASE + SIZE, SIZE);
                        let job = job.crc32c(BASE + SIZE, SIZE, space.result_va(0));
                        let job = job.fence(space.result_va(1), round);
                        job.run(JOB)?;
                        let expected = cards::crc_of_pattern(pattern, SIZE);
                        check_eq!(space.crc_result(0)?, expected, "round {round}");
                        check_eq!(space.result(1)?.0, round, "fence of round {round}");
                    }
                    Ok(round)
                })
            })
            .collect();
        let result = (|| -> Outcome {
            for n in context.each(40, 20_000) {
                let (src, dst) = match n % 2 {
                    0 => (3 * BASE, BASE),
                    _ => (BASE, 3 * BASE),
                };
                let copy = pair.copy(src, dst, 8).start()?;
                check_eq!(end(&copy)?, Some(Errno::FAULT), "fault {n}");
                faults += 1;
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        for thread in working {
            jobs += thread.join().map_err(|_| Stop::failed("a panic"))??;
        }
        result
    })?;
    println!("{faults} faults, {jobs} jobs");
    pair.nobody_is_banned()?;
    for (side, buffer) in sides.iter().zip(&buffers) {
        check!(!side.space.queue.state()?.banned, "the queue is banned");
        side.space.fill(BASE, 2 * SIZE, 0x77)?;
        cards::holds_pattern("in the end", buffer, 0x77)?;
    }
    pair.works()
}

/// Copies of another open file, which the other queue of the engine makes in the
/// same address spaces.
fn copies_of_others_go_on(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let pair = Pair::of(&node)?;
    let _src = pair.src.buffer(Place::Lmem, 2 * MIB, 0x21)?;
    let dst = pair.dst.buffer(Place::Lmem, 2 * MIB, 0)?;
    // Two more: one of them has the other queue.
    let others = [nic::nic(&node)?, nic::nic(&node)?];
    // One after the other: a VM has one descriptor at a time.
    let vms = others
        .iter()
        .map(|nic| {
            let src = nic.register(pair.src.space.vm.export()?)?;
            let dst = nic.register(pair.dst.space.vm.export()?)?;
            Ok((nic, src, dst))
        })
        .collect::<Outcome<Vec<_>>>()?;
    // Each copy takes long enough to be stopped now and then.
    let _slow = Slow::lmem(&node.address, std::time::Duration::from_nanos(1500))?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| -> Outcome {
        let copying: Vec<_> = vms
            .iter()
            .map(|(nic, src, dst)| {
                let stop = &stop;
                scope.spawn(move || -> Outcome<u32> {
                    let mut copies = 0;
                    while !stop.load(Ordering::Relaxed) || copies < 3 {
                        let size = 2 * MIB;
                        nic.copy(src, BASE, dst, BASE, size).run(JOB)?;
                        copies += 1;
                    }
                    Ok(copies)
                })
            })
            .collect();
        let result = (|| -> Outcome {
            for n in context.each(60, 10_000) {
                let (src, dst) = match n % 2 {
                    0 => (3 * BASE, BASE),
                    _ => (BASE, 3 * BASE),
                };
                let bad = pair.copy(src, dst, 8).start()?;
                check_eq!(end(&bad)?, Some(Errno::FAULT), "fault {n}");
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        for thread in copying {
            let copies = thread.join().map_err(|_| Stop::failed("a panic"))??;
            println!("{copies} copies went on");
        }
        result
    })?;
    cards::holds_pattern("what others have copied", &dst, 0x21)?;
    pair.nobody_is_banned()
}

fn an_error_in_memory(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let pair = Pair::of(&node)?;
    let device = &pair.src.space.device;
    let lmem = device.lmem()?;
    // What is bad lies in it, since hardly anything else is in use.
    let most = Place::Lmem.create(device, lmem.total - lmem.used - 8 * MIB)?;
    pair.src.space.vm.map(2 * BASE, &most)?;
    let null = BindOp::map_null(2 * BASE, 1 << 30);
    pair.dst.space.vm.bind().op(null).submit()?;
    let half = lmem.total / 2;
    inject(&node, &format!("lmem-error {half:#x}"))?;
    let copied = pair.copy(2 * BASE, 2 * BASE, most.size()).run(JOB);
    let again = pair.copy(2 * BASE, 2 * BASE, 4096).run(JOB);
    inject(&node, "clear")?;
    check_errno!(copied, IO, "reading memory with an uncorrectable error");
    again?;
    pair.copy(2 * BASE, 2 * BASE, most.size()).run(JOB)?;
    pair.nobody_is_banned()?;
    drop(most);
    pair.works()
}

/// By a job of its own, with copies pending.
fn an_address_space_that_is_banned(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let nic = nic::nic(&node)?;
    let stays = Side::new(&nic, &node.open()?)?;
    let stays_too = Side::new(&nic, &node.open()?)?;
    let _a = stays.buffer(Place::Lmem, MIB, 0x41)?;
    let b = stays_too.buffer(Place::Lmem, MIB, 0x42)?;
    for round in context.each(3, 100) {
        let bad = Side::new(&nic, &node.open()?)?;
        let _c = bad.buffer(Place::Lmem, MIB, 0x43)?;
        let mut copies = Vec::new();
        let dumps = bad.space.dumps()?;
        {
            let _slow = Slow::commands(&node.address, std::time::Duration::from_millis(10))?;
            for _ in 0..2 {
                copies.push(nic.copy(&bad.vm, BASE, &stays.vm, BASE, MIB).start()?);
                copies.push(nic.copy(&stays.vm, BASE, &bad.vm, BASE, MIB).start()?);
            }
            let between = nic
                .copy(&stays.vm, BASE, &stays_too.vm, BASE, MIB)
                .start()?;
            let job = bad.space.queue.job().fill(3 * BASE, 8, 1).run(JOB);
            check_errno!(job, FAULT, "a job of its own");
            between.wait(JOB)?;
        }
        for copy in &copies {
            super::done_or("of a banned address space", copy, Errno::CANCELED)?;
        }
        let what = format!("round {round}");
        let refused = nic.copy(&bad.vm, BASE, &stays.vm, BASE, 8).start();
        check_errno!(refused, STALE, "{what}: from it");
        let refused = nic.copy(&stays.vm, BASE, &bad.vm, BASE, 8).start();
        check_errno!(refused, STALE, "{what}: to it");
        dumps.wait()?;
        stays.space.fill(BASE, MIB, 0x44)?;
        nic.copy(&stays.vm, BASE, &stays_too.vm, BASE, MIB)
            .run(JOB)?;
        cards::holds_pattern("of the others", &b, 0x44)?;
    }
    for side in [&stays, &stays_too] {
        check!(!side.space.vm.state()?.banned, "another one is banned");
    }
    Ok(())
}
