// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to a native mapping when the memory is taken back, or either
//! side goes.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use hlrs::Errno;

use super::crc_of;
use super::has_imports;
use super::is_native;
use super::shared;
use super::Card;
use super::GRANULE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::suites::faults::inject::Injected;
use crate::suites::faults::Injection;
use crate::suites::reset::inject;
use crate::suites::reset::reset;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Parameters;
use crate::system::driver::Unbound;
use crate::system::log::Log;
use crate::system::machine::Slot;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::vfs::Vfs;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        revoked_and_given_again: 120,
        revoked_while_work_keeps_coming: 120,
        resets_of_either_side: 180,
        the_exporters_driver_goes: 120,
        functions_are_disabled: 180,
        a_job_outlives_its_function: 180,
        the_card_is_pulled_out: 180,
        allocations_that_fail: 300,
    ]
}

const QUOTA: u64 = 6 * GRANULE;

/// Timers of the kernel can be early by the length of a tick.
const TICK: Duration = Duration::from_millis(20);

const BASE: u64 = 1 << 40;

/// Work with the window is refused, by handle and by address.
fn is_refused(what: &str, window: &hlrs::Buffer, space: &Space) -> Outcome {
    check_errno!(window.crc32c(0, 4096), NODEV, "{what}, by handle");
    let refused = space.queue.job().fence(space.result_va(9), 1).start();
    check_errno!(refused, FAULT, "{what}, by address");
    check!(!space.vm.state()?.banned, "{what}: the VM is banned");
    Ok(())
}

fn revoked_and_given_again(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let card = Card::scattered(&[QUOTA], &mut random)?;
    let vf = card.vf(1)?;
    let (buffer, window, bytes) = shared(&card, &vf, 3 * MIB, &mut random)?;
    let pieces = is_native(&window, 1)?;
    let space = Space::new(&card.pf)?;
    space.vm.map(BASE, &window)?;
    let crc = crc_of(&bytes, 0, 3 * MIB);
    for round in context.each(3, 100) {
        check_eq!(space.crc(BASE, 3 * MIB)?, crc, "round {round}");
        buffer.revoke()?;
        check_eq!(
            is_native(&window, 1)?,
            (0, 0),
            "what is mapped while it is revoked"
        );
        is_refused("revoked", &window, &space)?;
        // By another file: this one would find the handle that it has.
        let file = card.vfs.node.open()?;
        check_errno!(file.import(&buffer.export()?), NODEV, "imported anew");
        buffer.undo_revoke()?;
        check_eq!(
            window.crc32c(0, 3 * MIB)?,
            crc,
            "given again, round {round}"
        );
        check_eq!(is_native(&window, 1)?, pieces, "given again");
    }
    Ok(())
}

/// Jobs follow one another without a pause, so that the buffer is never idle.
fn revoked_while_work_keeps_coming(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let card = Card::scattered(&[QUOTA], &mut random)?;
    let vf = card.vf(1)?;
    let (buffer, window, _) = shared(&card, &vf, 4 * MIB, &mut random)?;
    let space = Space::new(&card.pf)?;
    space.vm.map(BASE, &window)?;
    let stop = AtomicBool::new(false);
    let queues = [space.vm.queue()?, space.vm.queue()?];
    thread::scope(|scope| -> Outcome {
        for (n, queue) in (1..).zip(&queues) {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let jobs: Vec<_> = (0..4)
                        .filter_map(|_| queue.job().fill(BASE, 4 * MIB, n).start().ok())
                        .collect();
                    for job in jobs {
                        let _ = job.wait(JOB);
                    }
                }
            });
        }
        let mut revoked = || -> Outcome {
            for round in context.each(4, 100) {
                thread::sleep(std::time::Duration::from_millis(random.below(30)));
                buffer.revoke()?;
                let pattern = random.next();
                buffer.fill(0, 4 * MIB, pattern)?;
                thread::sleep(std::time::Duration::from_millis(5));
                cards::holds_pattern(&format!("round {round}, revoked"), &buffer, pattern)?;
                buffer.undo_revoke()?;
            }
            Ok(())
        };
        let result = revoked();
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    check!(!space.vm.state()?.banned, "the VM is banned");
    space.fill(BASE, 4 * MIB, 0x77)?;
    cards::holds_pattern("in the end", &buffer, 0x77)
}

fn resets_of_either_side(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let card = Card::scattered(&[QUOTA], &mut random)?;
    let vf = card.vf(1)?;
    let address = card.vfs.vf_node(1)?.address;
    let (buffer, window, _) = shared(&card, &vf, 4 * MIB, &mut random)?;
    let space = Space::new(&card.pf)?;
    space.vm.map(BASE, &window)?;
    for round in context.each(2, 50) {
        // With work in flight: what became of it is told, and then it is over.
        for n in 0..8 {
            let _job = window.fill_async(0, 4 * MIB, n)?;
            let _job = space.queue.job().fill(BASE, 4 * MIB, n).start()?;
        }
        reset(&address)?;
        let _ = window.wait(JOB);
        let pattern = random.next();
        buffer.fill(0, 4 * MIB, pattern)?;
        space.holds("after a reset of the VF", BASE, 4 * MIB, pattern)?;
        check!(is_native(&window, 1)?.0 > 0, "round {round}: not mapped");
    }
    // It takes the functions along, and the memory is whose it was.
    buffer.fill(0, 4 * MIB, 0x99)?;
    reset(&card.vfs.node.address)?;
    cards::holds_pattern("after a reset of the PF, for the VF", &buffer, 0x99)?;
    space.holds("after a reset of the PF", BASE, 4 * MIB, 0x99)?;
    cards::holds_pattern("after a reset of the PF", &window, 0x99)?;
    check!(is_native(&window, 1)?.0 > 0, "not mapped after a reset");
    Ok(())
}

fn the_exporters_driver_goes(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let card = Card::scattered(&[QUOTA], &mut random)?;
    let address = card.vfs.vf_node(1)?.address;
    let space = Space::new(&card.pf)?;
    let (window, bytes) = {
        let vf = card.vf(1)?;
        let (_, window, bytes) = shared(&card, &vf, MIB, &mut random)?;
        (window, bytes)
    };
    space.vm.map(BASE, &window)?;
    check_eq!(
        space.crc(BASE, MIB)?,
        crc_of(&bytes, 0, MIB),
        "exporter closed"
    );
    check!(
        driver::unload_now().is_err(),
        "the driver was unloaded while it was in use"
    );
    let _job = space.queue.job().fill(BASE, MIB, 1).start()?;
    let bound = Unbound(&address);
    driver::unbind(&address)?;
    is_refused("without a driver", &window, &space)?;
    drop(bound);
    card.vfs.vf_node(1)?;
    is_refused("with the driver back", &window, &space)?;
    drop(window);
    drop(space);
    has_imports(&card.vfs.node, &[])?;
    Ok(())
}

/// And enabled again with other quotas, while the old imports exist.
fn functions_are_disabled(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let card = Card::scattered(&[QUOTA, QUOTA], &mut random)?;
    let mut old = Vec::new();
    for round in context.each(1, 20) {
        let before = cards::used(&card.pf)?;
        for number in [1, 2] {
            let vf = card.vf(number)?;
            let (_, window, bytes) = shared(&card, &vf, 3 * MIB, &mut random)?;
            check_eq!(window.crc32c(0, 3 * MIB)?, crc_of(&bytes, 0, 3 * MIB));
            let space = Space::new(&card.pf)?;
            space.vm.map(BASE, &window)?;
            let _job = space.queue.job().fill(BASE, 3 * MIB, 1).start()?;
            old.push((window, space));
        }
        card.vfs.clear()?;
        check!(
            cards::used(&card.pf)? < before,
            "the memory of the functions is still in use"
        );
        for (window, space) in &old {
            is_refused("of a function that is gone", window, space)?;
        }
        for number in [1, 2] {
            let quota = (1 + random.below(5)) * GRANULE;
            card.vfs.pf.set_quota(number, QUOTA.max(quota))?;
        }
        card.vfs.set(2)?;
        // The PF has left nothing in what they get, and gets at nothing.
        let vf = card.vf(1)?;
        let all = Place::Lmem.create(&vf, vf.lmem()?.total)?;
        cards::holds_pattern("new memory", &all, 0)?;
        for (window, space) in &old {
            is_refused(&format!("round {round}"), window, space)?;
        }
        cards::holds_pattern("new memory, later", &all, 0)?;
    }
    Ok(())
}

/// Longest time of a job, and the time that importers get, in a test.
const JOB_TIMEOUT: Duration = Duration::from_secs(60);
const REVOKE_TIMEOUT: Duration = Duration::from_millis(300);

/// A job of the PF on memory of a function that is disabled: nobody waits for it any longer than
/// for importers, and nobody gets the memory before it has ended.
fn a_job_outlives_its_function(context: &Context) -> Outcome {
    let _loaded = Parameters::load(&[
        &format!("job_timeout_ms={}", JOB_TIMEOUT.as_millis()),
        &format!("revoke_timeout_ms={}", REVOKE_TIMEOUT.as_millis()),
    ])?;
    let card = Card::new(&[QUOTA])?;
    let vf = card.vf(1)?;
    let (_, window, _) = shared(&card, &vf, MIB, &mut Random::new(context.seed))?;
    window.fill(0, MIB, 1)?;
    let before = cards::used(&card.pf)?;

    let mut log = Log::from_now()?;
    let start = Instant::now();
    inject(&card.vfs.node, "hang")?;
    let _job = window.fill_async(0, MIB, 2)?;
    drop(vf);
    card.vfs.clear()?;
    let took = start.elapsed();
    // The driver of the function has waited, and then that of the PF.
    check!(
        took + TICK >= REVOKE_TIMEOUT && took < JOB_TIMEOUT / 4,
        "disabling the function took {took:?}"
    );
    check_eq!(
        log.count("is set aside until they do"),
        1,
        "reports that the memory is set aside"
    );
    check_eq!(cards::used(&card.pf)?, before, "in use");
    let lmem = card.pf.lmem()?;
    let more = Place::Lmem.create(&card.pf, lmem.total - lmem.used + GRANULE);
    check_errno!(more, NOSPC, "more than there is while it is set aside");
    // This ends the job, and long before its time.
    reset(&card.vfs.node.address)?;
    cards::settles(&card.pf, before - QUOTA)?;
    check!(start.elapsed() < JOB_TIMEOUT, "the job has timed out");
    Ok(())
}

fn the_card_is_pulled_out(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    for orderly in [false, true] {
        let vfs = Vfs::none()?;
        let node = vfs.node.clone();
        let slot = Slot::of(&node)?;
        let card = Card {
            pf: node.open()?,
            vfs,
        };
        card.enable(&[QUOTA])?;
        let vf = card.vf(1)?;
        let (_, window, _) = shared(&card, &vf, 4 * MIB, &mut random)?;
        let space = Space::new(&card.pf)?;
        space.vm.map(BASE, &window)?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| -> Outcome {
            scope.spawn(|| {
                // Pulling a card takes seconds: there is work at any time, not all the time.
                while !stop.load(Ordering::Relaxed) {
                    let _ = window.fill(0, 4 * MIB, 1);
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let gone = if orderly { slot.unplug() } else { slot.yank() };
            stop.store(true, Ordering::Relaxed);
            gone
        })?;
        check_errno!(window.fill(0, 4096, 2), NODEV);
        check_errno!(window.path(), NODEV);
        drop((window, space, vf, card));
        slot.plug()?;
    }
    Ok(())
}

/// Importing and mapping with each allocation failing once, and without a trace.
fn allocations_that_fail(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let card = Card::scattered(&[QUOTA], &mut random)?;
    let vf = card.vf(1)?;
    let buffer = Place::Visible.create(&vf, 3 * MIB)?;
    let bytes = cards::randomize(&buffer, &mut random)?;
    let crc = crc_of(&bytes, 0, 3 * MIB);
    let dmabuf = buffer.export()?;
    // What is allocated once and kept.
    check_eq!(card.pf.import(&dmabuf)?.crc32c(0, 3 * MIB)?, crc);
    let used = cards::used(&card.pf)?;

    let injection = Injection::new()?;
    let mut failures = 0;
    for n in 1..1000 {
        let (result, injected) = injection.run(n, || card.pf.import(&dmabuf))?;
        match result {
            Err(err) => {
                check!(
                    matches!(err.errno(), Some(Errno::NOMEM | Errno::FAULT)),
                    "import, allocation {n}: {err}"
                );
                failures += 1;
                // If it is the result that could not be told, there is a handle, which is
                // found by the next import.
                if err.errno() == Some(Errno::FAULT) {
                    drop(card.pf.import(&dmabuf)?);
                }
                has_imports(&card.vfs.node, &[])
                    .map_err(|stop| stop.during(format!("import, allocation {n}: {err}")))?;
            }
            Ok(window) => check_eq!(window.crc32c(0, 3 * MIB)?, crc, "allocation {n}"),
        }
        if injected != Injected::Yes {
            break;
        }
    }
    check!(failures > 5, "only {failures} allocations failed");

    // A mapping anew.
    let window = card.pf.import(&dmabuf)?;
    let mut failures = 0;
    for n in 1..1000 {
        buffer.revoke()?;
        buffer.undo_revoke()?;
        let (result, injected) = injection.run(n, || window.crc32c(0, 3 * MIB))?;
        match result {
            Err(err) => {
                check!(
                    matches!(err.errno(), Some(Errno::NOMEM | Errno::FAULT)),
                    "a job, allocation {n}: {err}"
                );
                failures += 1;
                // Nothing is left half done.
                check_eq!(window.crc32c(0, 3 * MIB)?, crc, "after allocation {n}");
            }
            Ok(found) => check_eq!(found, crc, "allocation {n}"),
        }
        if injected != Injected::Yes {
            break;
        }
    }
    check!(failures > 3, "only {failures} allocations failed");
    drop(injection);
    check_eq!(window.crc32c(0, 3 * MIB)?, crc, "in the end");
    drop(window);
    cards::settles(&card.pf, used)
}
