// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls about address spaces and queues, with each of their allocations
//! failing once.

use hlrs::BindOp;
use hlrs::Errno;

use super::calls::each;
use super::inject::Injection;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::raw;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::space::Space;
use crate::system::space::PAGE;
use crate::system::wait_until;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        address_spaces_and_queues: 300,
        binding: 300,
        binding_later: 300,
        submission: 300,
    ]
}

const BASE: u64 = 0x40_0000_0000;

fn errno(err: hlrs::Error) -> Errno {
    err.errno().unwrap_or(Errno::IO)
}

fn address_spaces_and_queues(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let device = cards::first()?;
    let before = cards::used(&device)?;
    // What is made although its number cannot be told stays until the file is
    // closed.
    each("creating an address space", &injection, &mut || {
        let file = cards::first().map_err(|_| Errno::NOMEM)?;
        raw::vm_create(&file, &mut Default::default())
    })?;
    {
        let vm = cards::first()?.vm().create()?;
        each("creating a queue", &injection, &mut || {
            vm.queue().map(drop).map_err(errno)
        })?;
        each("asking", &injection, &mut || {
            vm.state().map(drop).map_err(errno)
        })?;
    }
    cards::settles(&device, before)
}

/// After each failure nothing has happened, and after success all.
fn binding(context: &Context) -> Outcome {
    let injection = Injection::new()?;
    let (device, other) = cards::two()?;
    let space = Space::new(&device)?;
    let buffer = Place::Lmem.create(&device, MIB)?;
    buffer.fill(0, MIB, 0x1)?;
    let theirs = Place::Visible.create(&other, MIB)?;
    theirs.fill(0, MIB, 0x2)?;
    let empty = space.vm.state()?;
    for round in context.each(1, 3) {
        // Imported anew, so that it is not mapped for the device yet.
        let window = device.import(&theirs.dma_buf().create()?)?;
        let mut before = space.vm.state()?;
        let vm = &space.vm;
        let mut broken = None;
        each("a bind", &injection, &mut || {
            let hole = BindOp::unmap(BASE + 16 * PAGE, PAGE);
            let bind = vm.bind().map(BASE, &buffer).op(hole);
            let bind = bind.map(2 * BASE, &window).map(BASE + (1 << 41), &buffer);
            let bound = bind.submit().map_err(errno);
            // Copying the answer out may fail after all was done.
            let now = vm.state();
            match (bound, now) {
                (Err(errno), Ok(now)) if errno != Errno::FAULT && now != before => {
                    broken = Some(errno);
                }
                // Again the same is no change.
                (_, Ok(now)) => before = now,
                _ => {}
            }
            bound
        })?;
        check!(
            broken.is_none(),
            "round {round}: a bind that failed with {broken:?} has changed something"
        );
        space.holds("mapped", BASE, 16 * PAGE, 0x1)?;
        space.holds("behind the hole", BASE + 17 * PAGE, 64 * PAGE, 0x1)?;
        space.holds("of another device", 2 * BASE, MIB, 0x2)?;
        each("an unmap", &injection, &mut || {
            vm.unmap(BASE, 1 << 42).map_err(errno)
        })?;
        check_eq!(space.vm.state()?, empty, "after all was unmapped");
    }
    Ok(())
}

fn binding_later(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let device = cards::first()?;
    let space = Space::new(&device)?;
    let buffer = Place::Lmem.create(&device, MIB)?;
    buffer.fill(0, MIB, 0x3)?;
    let (start, done) = (device.signalled_syncobj()?, device.syncobj()?);
    each("a bind that waits", &injection, &mut || {
        let bind = space.vm.bind().map(BASE, &buffer);
        let bind = bind.wait_for(&start).signal(&done);
        bind.submit().map_err(errno)
    })?;
    done.wait(JOB)?;
    space.holds("mapped", BASE, MIB, 0x3)
}

fn submission(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let device = cards::first()?;
    let space = Space::new(&device)?;
    let (start, done) = (device.signalled_syncobj()?, device.syncobj()?);
    for count in [1, 64] {
        each(&format!("{count} commands"), &injection, &mut || {
            let mut job = space.queue.job().wait_for(&start);
            for n in 0..count {
                job = job.fence(space.result_va(n), n as u64 + 1);
            }
            let line = job.signal(&done);
            line.submit().map_err(errno)
        })?;
        done.wait(JOB)?;
        for n in 0..count {
            check_eq!(space.result(n)?.0, n as u64 + 1, "result {n}");
        }
        space.clear_results()?;
    }
    let mut point = 0;
    each("a point of a timeline", &injection, &mut || {
        point += 1;
        let job = space.queue.job().fence(space.result_va(0), point);
        job.signal(done.at(point)).submit().map_err(errno)
    })?;
    done.at(point).wait(JOB)?;
    // They are counted until they are freed.
    let pending = || space.queue.state().map_or(1, |state| state.pending);
    wait_until("the jobs are gone", JOB, || pending() == 0)
}
