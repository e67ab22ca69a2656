// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that moves, is taken back, or goes through a reset, under an address
//! space in which it is mapped.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use hlrs::BindOp;
use hlrs::Errno;

use super::contiguous;
use super::crc_of;
use super::foreign;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::skip;
use crate::suites::reset::reset;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::space::LARGE;
use crate::system::space::PAGE;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        what_is_taken_back_and_given_again,
        what_is_taken_back_for_good,
        taken_back_while_jobs_use_it: 120,
        a_reset_of_its_device: 120,
        a_reset_of_the_exporter: 120,
        the_exporter_goes: 120,
    ]
}

/// For machines whose aperture shows a part of LMEM.
pub fn aperture_tests() -> Vec<Test> {
    tests![
        memory_moves_into_the_aperture: 120,
        memory_moves_while_jobs_use_it: 120,
    ]
}

/// The submission is refused, and names one of the addresses.
fn refused_at(space: &Space, what: &str, vas: &[u64]) -> Outcome {
    // A job that has nothing to do with it: what it might access nobody knows.
    let refused = space.queue.job().fence(space.result_va(9), 1).start();
    check_errno!(refused, FAULT, "{what}");
    let va = refused.err().and_then(|err| err.fault_va());
    check!(
        va.is_some_and(|va| vas.contains(&va)),
        "{what}: the address is {va:x?}, not one of {vas:x?}"
    );
    check!(!space.vm.state()?.banned, "{what}: the VM is banned");
    Ok(())
}

fn what_is_taken_back_and_given_again(context: &Context) -> Outcome {
    let (device, other) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in [Place::Visible, Place::System] {
        let space = Space::new(&device)?;
        let (exported, window) = foreign(&device, &other, place, MIB)?;
        let bytes = cards::randomize(&exported, &mut random)?;
        // In two places, one of them a part.
        let part = BindOp::map_range(2 * BASE, &window, 16 * PAGE, 8 * PAGE);
        space.vm.bind().map(BASE, &window).op(part).submit()?;
        for round in context.each(3, 100) {
            let what = format!("{place:?}, round {round}");
            check_eq!(space.crc(BASE, MIB)?, crc_of(&bytes, 0, MIB), "{what}");
            let crc = crc_of(&bytes, 16 * PAGE, 8 * PAGE);
            check_eq!(space.crc(2 * BASE, 8 * PAGE)?, crc, "{what}");
            exported.revoke()?;
            for _ in 0..2 {
                refused_at(&space, &what, &[BASE, 2 * BASE])?;
            }
            exported.undo_revoke()?;
        }
        check_eq!(space.crc(BASE, MIB)?, crc_of(&bytes, 0, MIB), "in the end");
        space.fill(BASE, MIB, 0x2323)?;
        cards::holds_pattern("what the VM has written", &exported, 0x2323)?;
    }
    Ok(())
}

/// Unmapping what is gone makes the VM usable again.
fn what_is_taken_back_for_good(_: &Context) -> Outcome {
    let (device, other) = cards::two()?;
    let space = Space::new(&device)?;
    let own = Place::Lmem.create(&device, MIB)?;
    own.fill(0, MIB, 0x31)?;
    let (exported, window) = foreign(&device, &other, Place::Visible, MIB)?;
    space
        .vm
        .bind()
        .map(BASE, &own)
        .map(2 * BASE, &window)
        .submit()?;
    space.fill(2 * BASE, MIB, 0x32)?;
    exported.revoke()?;
    exported.fill(0, MIB, 0x33)?;
    refused_at(&space, "revoked", &[2 * BASE])?;
    // What is left of it after a part was unmapped is still in the way.
    space.vm.unmap(2 * BASE, PAGE)?;
    refused_at(&space, "partly unmapped", &[2 * BASE + PAGE])?;
    space.vm.unmap(2 * BASE, MIB)?;
    space.holds("the others", BASE, MIB, 0x31)?;
    cards::holds_pattern("what was taken back", &exported, 0x33)?;
    check_errno!(space.vm.map(2 * BASE, &window), NODEV);
    exported.undo_revoke()?;
    space.vm.map(2 * BASE, &window)?;
    space.holds("given again", 2 * BASE, MIB, 0x33)
}

/// After a revoke nothing of what the jobs were doing comes any more.
fn taken_back_while_jobs_use_it(context: &Context) -> Outcome {
    let (device, other) = cards::two()?;
    let mut random = Random::new(context.seed);
    let space = Space::new(&device)?;
    let (exported, window) = foreign(&device, &other, Place::Visible, 8 * MIB)?;
    space.vm.map(BASE, &window)?;
    let mut seen = false;
    let rounds = context.rounds(3, 200);
    // On a busy machine it may take some until a job is still in flight.
    for round in 0..rounds.max(100) {
        if round >= rounds && seen {
            break;
        }
        let jobs = (0..16)
            .map(|n| space.queue.job().fill(BASE, 8 * MIB, n).start())
            .collect::<hlrs::Result<Vec<_>>>()?;
        seen |= !jobs[15].is_done()?;
        exported.revoke()?;
        let pattern = random.next();
        exported.fill(0, 8 * MIB, pattern)?;
        for job in jobs {
            job.wait(crate::system::JOB)?;
        }
        cards::holds_pattern("after a revoke", &exported, pattern)?;
        refused_at(&space, "revoked", &[BASE])?;
        exported.undo_revoke()?;
        space.holds("given again", BASE, 8 * MIB, pattern)?;
    }
    check!(seen, "no job was ever in flight at a revoke");
    Ok(())
}

/// Contexts are set up again; what was mapped is.
fn a_reset_of_its_device(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (device, other) = cards::two()?;
    let mut random = Random::new(context.seed);
    let space = Space::new(&device)?;
    let own = contiguous(&device, 2 * LARGE)?;
    let system = Place::System.create(&device, MIB)?;
    let (exported, window) = foreign(&device, &other, Place::Visible, MIB)?;
    let bytes = cards::randomize(&own, &mut random)?;
    system.fill(0, MIB, 0x41)?;
    exported.fill(0, MIB, 0x42)?;
    let bind = space.vm.bind().map(BASE, &own).map(2 * BASE, &system);
    bind.map(3 * BASE, &window).submit()?;
    let mapped = space.vm.state()?;
    for _ in context.each(2, 50) {
        reset(&node.address)?;
        check_eq!(space.vm.state()?, mapped, "the VM after a reset");
        check_eq!(
            space.crc(BASE, 2 * LARGE)?,
            crc_of(&bytes, 0, 2 * LARGE),
            "its own LMEM"
        );
        space.holds("system memory", 2 * BASE, MIB, 0x41)?;
        space.holds("the other's", 3 * BASE, MIB, 0x42)?;
        // Translations from before the reset are not used.
        space.vm.map(2 * BASE, &window)?;
        space.holds("mapped anew", 2 * BASE, MIB, 0x42)?;
        space.vm.map(2 * BASE, &system)?;
    }
    space.faults_at(4 * BASE, false, hlrs::FaultReason::NotPresent)
}

fn a_reset_of_the_exporter(context: &Context) -> Outcome {
    let (device, other) = cards::two()?;
    let theirs = cards::nodes()?[1].address.clone();
    let space = Space::new(&device)?;
    let (exported, window) = foreign(&device, &other, Place::Visible, MIB)?;
    exported.fill(0, MIB, 0x51)?;
    space.vm.map(BASE, &window)?;
    for _ in context.each(2, 50) {
        space.holds("the other's memory", BASE, MIB, 0x51)?;
        reset(&theirs)?;
    }
    space.holds("after the last reset", BASE, MIB, 0x51)?;
    // While jobs come, and some of them are refused.
    let stop = AtomicBool::new(false);
    let queue = space.vm.queue()?;
    thread::scope(|scope| -> Outcome {
        let jobs = scope.spawn(|| -> Outcome {
            while !stop.load(Ordering::Relaxed) {
                let ran = queue.job().fill(BASE, MIB, 0x52).run(crate::system::JOB);
                check!(
                    ran.is_ok() || ran.as_ref().is_err_and(|e| e.errno() == Some(Errno::FAULT)),
                    "a job during a reset of the exporter: {ran:?}"
                );
            }
            Ok(())
        });
        for _ in context.each(2, 50) {
            reset(&theirs)?;
        }
        stop.store(true, Ordering::Relaxed);
        jobs.join().map_err(|_| Stop::failed("the jobs panicked"))?
    })?;
    check!(!space.vm.state()?.banned, "the VM is banned");
    space.fill(BASE, MIB, 0x53)?;
    cards::holds_pattern("in the end", &exported, 0x53)
}

/// The file that has exported it, and then the driver of its device.
fn the_exporter_goes(_: &Context) -> Outcome {
    let (device, other) = cards::two()?;
    let theirs = cards::nodes()?[1].address.clone();
    let space = Space::new(&device)?;
    let own = Place::Lmem.create(&device, MIB)?;
    own.fill(0, MIB, 0x61)?;
    {
        let (exported, window) = foreign(&device, &other, Place::Visible, MIB)?;
        exported.fill(0, MIB, 0x62)?;
        space
            .vm
            .bind()
            .map(BASE, &window)
            .map(2 * BASE, &own)
            .submit()?;
    }
    drop(other);
    space.holds("a buffer whose exporter has closed it", BASE, MIB, 0x62)?;
    let bound = crate::system::driver::Unbound(&theirs);
    crate::system::driver::unbind(&theirs)?;
    refused_at(&space, "the exporter's driver is gone", &[BASE])?;
    space.vm.unmap(BASE, MIB)?;
    space.holds("its own memory", 2 * BASE, MIB, 0x61)?;
    drop(bound);
    crate::system::driver::wait_node(&theirs)?;
    Ok(())
}

/// Two accelerators of which part of the memory is invisible.
fn small_aperture() -> Outcome<(hlrs::Device, hlrs::Device)> {
    let (a, b) = cards::two()?;
    let lmem = a.lmem()?;
    if lmem.cpu_visible == lmem.total {
        skip!("the aperture shows all of LMEM; this is for the machine with a small one");
    }
    Ok((a, b))
}

fn memory_moves_into_the_aperture(context: &Context) -> Outcome {
    let (device, other) = small_aperture()?;
    let mut random = Random::new(context.seed);
    let (space, second) = (Space::new(&device)?, Space::new(&device)?);
    for _ in context.each(2, 50) {
        let buffer = Place::Lmem.create(&device, 4 * MIB)?;
        let bytes = cards::randomize(&buffer, &mut random)?;
        let part = BindOp::map_range(2 * BASE, &buffer, MIB, 2 * MIB).read_only();
        space.vm.bind().map(BASE, &buffer).op(part).submit()?;
        second.vm.map(BASE, &buffer)?;
        check_errno!(buffer.map(), NXIO, "before it is moved");
        let crc = crc_of(&bytes, 0, 4 * MIB);
        check_eq!(space.crc(BASE, 4 * MIB)?, crc, "before it is moved");
        check_eq!(second.crc(BASE, 4 * MIB)?, crc, "before it is moved");

        let window = other.import(&buffer.dma_buf().create()?)?;
        // What it has left somebody else gets, who must not be seen.
        let strangers = Place::Lmem.create(&device, 8 * MIB)?;
        strangers.fill(0, 8 * MIB, 0xbad)?;
        check_eq!(space.crc(BASE, 4 * MIB)?, crc, "after it was moved");
        check_eq!(
            space.crc(2 * BASE, 2 * MIB)?,
            crc_of(&bytes, MIB, 2 * MIB),
            "a part, after it was moved"
        );
        check_eq!(second.crc(BASE, 4 * MIB)?, crc, "by another VM");
        space.fill(BASE, 4 * MIB, 0x72)?;
        cards::holds_pattern("what the VM has written", &window, 0x72)?;
        cards::holds_pattern("somebody else's memory", &strangers, 0xbad)?;
        for space in [&space, &second] {
            space.vm.unmap(BASE, 2 * BASE)?;
        }
    }
    Ok(())
}

fn memory_moves_while_jobs_use_it(context: &Context) -> Outcome {
    let (device, other) = small_aperture()?;
    let space = Space::new(&device)?;
    for round in context.each(3, 100) {
        let buffer = Place::Lmem.create(&device, 8 * MIB)?;
        space.vm.map(BASE, &buffer)?;
        let jobs = (0..16)
            .map(|n| space.queue.job().fill(BASE, 8 * MIB, n).start())
            .collect::<hlrs::Result<Vec<_>>>()?;
        let window = other.import(&buffer.dma_buf().create()?)?;
        // The move has waited for them.
        check!(jobs[15].is_done()?, "round {round}: it was moved too early");
        cards::holds_pattern("what the peer sees", &window, 15)?;
        space.fill(BASE, 8 * MIB, 0x99)?;
        cards::holds_pattern("after the move", &window, 0x99)?;
        space.vm.unmap(BASE, 8 * MIB)?;
    }
    Ok(())
}
