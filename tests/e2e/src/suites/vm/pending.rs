// SPDX-License-Identifier: MIT OR Apache-2.0
//! Binds that wait for fences, and what waits for them.

use std::thread;
use std::time::Duration;

use hlrs::BindOp;
use hlrs::Errno;
use hlrs::FaultReason;
use hlrs::FenceStatus;

use super::contiguous;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::space::Space;
use crate::system::space::LARGE;
use crate::system::space::PAGE;
use crate::system::space::RESULTS_SIZE;
use crate::system::sw_sync::Timeline;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        a_bind_waits_for_its_fence,
        later_jobs_wait_for_the_bind,
        a_bind_without_fences_waits_its_turn,
        binds_run_in_their_order,
        points_of_timelines,
        the_fence_of_a_job_of_another_device,
        what_is_wrong_is_told_at_once,
        a_fence_that_fails,
        the_end_of_a_vm_with_pending_binds,
        memory_that_is_closed_before_it_is_mapped,
    ]
}

/// What must not happen is waited for this long.
const QUIET: Duration = Duration::from_millis(100);

fn a_bind_waits_for_its_fence(_: &Context) -> Outcome {
    let space = Space::first()?;
    let device = space.device.clone();
    let timeline = Timeline::new()?;
    let buffer = contiguous(&device, LARGE)?;
    buffer.fill(0, LARGE, 0x11)?;
    for ops in [1, 20] {
        let (start, done) = (timeline.syncobj(&device)?, device.syncobj()?);
        let maps = (0..ops).map(|n| BindOp::map(BASE + n * LARGE, &buffer));
        space
            .vm
            .bind()
            .ops(maps)
            .wait_for(&start)
            .signal(&done)
            .submit()?;
        check_errno!(done.wait(QUIET), TIME, "a bind before its fence");
        check_eq!(done.status()?, FenceStatus::Pending);
        timeline.advance(1)?;
        done.wait(JOB)?;
        check_eq!(done.status()?, FenceStatus::Done);
        check_eq!(space.vm.state()?.mapped, ops * LARGE + RESULTS_SIZE);
        space.holds("mapped", BASE, ops * LARGE, 0x11)?;
        space.vm.unmap(BASE, ops * LARGE)?;
    }
    // A fence that has signalled already, and one of its own.
    let (start, done) = (device.signalled_syncobj()?, device.syncobj()?);
    let bind = space.vm.bind().map(BASE, &buffer).wait_for(&start);
    bind.signal(&done).submit()?;
    done.wait(JOB)?;
    space.holds("mapped", BASE, LARGE, 0x11)?;
    // Signalled, but without anything to wait for: done at once.
    let done = device.syncobj()?;
    space.vm.bind().unmap(BASE, PAGE).signal(&done).submit()?;
    check_eq!(
        done.status()?,
        FenceStatus::Done,
        "a bind that has returned"
    );
    space.faults_at(BASE, false, FaultReason::NotPresent)
}

/// Jobs see what was bound before them, though it was not bound when they were
/// submitted; earlier jobs do not wait.
fn later_jobs_wait_for_the_bind(_: &Context) -> Outcome {
    let space = Space::first()?;
    let device = space.device.clone();
    let timeline = Timeline::new()?;
    let (old, new) = (
        Place::Lmem.create(&device, MIB)?,
        Place::System.create(&device, MIB)?,
    );
    old.fill(0, MIB, 1)?;
    new.fill(0, MIB, 2)?;
    let other = space.vm.queue()?;
    for _ in 0..3 {
        space.vm.map(BASE, &old)?;
        space.clear_results()?;
        let before = space.crc_job(&[(BASE, MIB)]).start()?;
        let start = timeline.syncobj(&device)?;
        let bind = space.vm.bind().map(BASE, &new);
        bind.map(2 * BASE, &new).wait_for(&start).submit()?;
        before.wait(JOB)?;
        check_eq!(
            space.crc_result(0)?,
            cards::crc_of_pattern(1, MIB),
            "a job from before the bind"
        );
        // In the same queue and in another, at an address that is mapped and at
        // one that is not.
        let same = space
            .queue
            .job()
            .crc32c(2 * BASE, MIB, space.result_va(1))
            .start()?;
        let beside = other.job().crc32c(BASE, MIB, space.result_va(2)).start()?;
        thread::sleep(QUIET);
        check!(
            !same.is_done()? && !beside.is_done()?,
            "a job has not waited"
        );
        timeline.advance(1)?;
        same.wait(JOB)?;
        beside.wait(JOB)?;
        for n in [1, 2] {
            let crc = space.crc_result(n)?;
            check_eq!(crc, cards::crc_of_pattern(2, MIB), "job {n} after the bind");
        }
        space.vm.unmap(2 * BASE, MIB)?;
    }
    Ok(())
}

fn a_bind_without_fences_waits_its_turn(_: &Context) -> Outcome {
    let space = Space::first()?;
    let device = space.device.clone();
    let timeline = Timeline::new()?;
    let (first, second) = (
        Place::Lmem.create(&device, PAGE)?,
        Place::Lmem.create(&device, PAGE)?,
    );
    first.fill(0, PAGE, 1)?;
    second.fill(0, PAGE, 2)?;
    let start = timeline.syncobj(&device)?;
    let pending = space.vm.bind().map(BASE, &first).wait_for(&start);
    pending.submit()?;
    thread::scope(|scope| -> Outcome {
        let vm = &space.vm;
        let inline = scope.spawn(|| vm.map(BASE, &second));
        thread::sleep(QUIET);
        check!(!inline.is_finished(), "it has overtaken the pending bind");
        timeline.advance(1)?;
        let ended = inline.join();
        Ok(ended.map_err(|_| Stop::failed("the thread panicked"))??)
    })?;
    space.holds("what was mapped last", BASE, PAGE, 2)
}

fn binds_run_in_their_order(context: &Context) -> Outcome {
    let space = Space::first()?;
    let device = space.device.clone();
    let timeline = Timeline::new()?;
    let buffers = (0..8)
        .map(|n| -> Outcome<_> {
            let buffer = Place::Lmem.create(&device, 4 * PAGE)?;
            buffer.fill(0, 4 * PAGE, n)?;
            Ok(buffer)
        })
        .collect::<Outcome<Vec<_>>>()?;
    let count = u64::from(context.rounds(60, 2000));
    let mut done = Vec::new();
    let mut jobs = Vec::new();
    for n in 0..count {
        // Those that need no fence come after those that do.
        let fence = match n % 3 {
            0 => timeline.syncobj(&device)?,
            _ => device.signalled_syncobj()?,
        };
        let end = device.syncobj()?;
        let buffer = &buffers[n as usize % buffers.len()];
        let bind = space.vm.bind().map(BASE + n % 3 * PAGE, buffer);
        bind.wait_for(&fence).signal(&end).submit()?;
        if n < 60 {
            let result = space.result_va(n as usize);
            let job = space.queue.job().crc32c(BASE + n % 3 * PAGE, PAGE, result);
            jobs.push(job.start()?);
        }
        done.push(end);
    }
    let pending = |from: usize| -> Outcome<bool> {
        for end in &done[from..] {
            if end.binary().is_done()? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    thread::sleep(QUIET);
    check!(pending(0)?, "a bind was done before its fence");
    timeline.advance(1)?;
    done[2].wait(JOB)?;
    thread::sleep(QUIET);
    check!(pending(3)?, "a bind was done before its fence");
    // A job sees what its bind has mapped, unless a later bind has replaced that.
    let steps = jobs.len() / 3;
    for (n, job) in jobs.into_iter().enumerate() {
        if n % 3 == 0 && n > 0 {
            timeline.advance(1)?;
        }
        job.wait(JOB)?;
        let last = n % 3 == 2;
        if last {
            let expected = cards::crc_of_pattern(n as u64 % 8, PAGE);
            check_eq!(space.crc_result(n)?, expected, "the job after bind {n}");
        }
    }
    timeline.advance((count.div_ceil(3) as usize - steps) as u32)?;
    for end in &done {
        end.wait(JOB)?;
    }
    Ok(())
}

fn points_of_timelines(_: &Context) -> Outcome {
    let space = Space::first()?;
    let device = space.device.clone();
    let fences = Timeline::new()?;
    let buffer = Place::Lmem.create(&device, PAGE)?;
    buffer.fill(0, PAGE, 0x77)?;
    let (line, ends) = (device.syncobj()?, device.syncobj()?);
    let bind = |point| {
        let bind = space.vm.bind().map(BASE + point * PAGE, &buffer);
        bind.wait_for(line.at(point))
            .signal(ends.at(point))
            .submit()
    };
    check_errno!(bind(1), INVAL, "a point that nobody has submitted");
    for point in 1..=3 {
        line.at(point).transfer_from(&fences.syncobj(&device)?)?;
    }
    for point in 1..=3 {
        bind(point)?;
    }
    check_errno!(bind(4), INVAL, "a point that nobody has submitted");
    check_errno!(ends.at(1).wait(QUIET), TIME, "before the first point");
    fences.advance(2)?;
    ends.at(2).wait(JOB)?;
    check_errno!(ends.at(3).wait(QUIET), TIME, "before the last point");
    check_eq!(ends.reached()?, 2, "the last point of the binds");
    // A job after a point that a bind will reach.
    let queue = space.vm.queue()?;
    let job = queue
        .job()
        .crc32c(BASE + 3 * PAGE, PAGE, space.result_va(5));
    let job = job.wait_for(ends.at(3)).start()?;
    fences.advance(1)?;
    job.wait(JOB)?;
    let crc = space.crc_result(5)?;
    check_eq!(crc, cards::crc_of_pattern(0x77, PAGE), "the job at the end");
    check_eq!(ends.reached()?, 3, "the last point of the binds");
    space.holds("the others", BASE + PAGE, PAGE, 0x77)
}

/// Memory that another accelerator fills is mapped when it is full.
fn the_fence_of_a_job_of_another_device(_: &Context) -> Outcome {
    let (device, other) = cards::two()?;
    let space = Space::new(&device)?;
    let (source, theirs) = (Space::new(&other)?, Place::Visible.create(&other, MIB)?);
    let window = device.import(&theirs.dma_buf().create()?)?;
    source.vm.map(BASE, &theirs)?;
    let timeline = Timeline::new()?;
    let gate = timeline.syncobj(&other)?;
    let filled = source.queue.job().fill(BASE, MIB, 0x4444);
    let filled = filled.wait_for(&gate).start()?;
    let (start, done) = (device.syncobj()?, device.syncobj()?);
    start.import_sync_file(&filled.sync_file()?)?;
    let bind = space.vm.bind().map(BASE, &window);
    bind.wait_for(&start).signal(&done).submit()?;
    check_errno!(done.wait(QUIET), TIME, "before the other's job");
    timeline.advance(1)?;
    space.holds("what the other has filled", BASE, MIB, 0x4444)
}

fn what_is_wrong_is_told_at_once(_: &Context) -> Outcome {
    let space = Space::first()?;
    let device = space.device.clone();
    let timeline = Timeline::new()?;
    let buffer = Place::Lmem.create(&device, PAGE)?;
    let before = space.vm.state()?;
    let (start, done) = (timeline.syncobj(&device)?, device.syncobj()?);
    let refused = space
        .vm
        .bind()
        .map(BASE, &buffer)
        .op(BindOp::map_range(2 * BASE, &buffer, PAGE, PAGE))
        .wait_for(&start)
        .signal(&done)
        .submit();
    check_errno!(refused, RANGE);
    check_eq!(refused.err().and_then(|err| err.failed_op()), Some(1));
    check_errno!(done.binary().sync_file(), INVAL, "a fence of what failed");
    timeline.advance(1)?;
    check_eq!(space.vm.state()?, before, "the VM");
    // A syncobj without a fence, and one of another file.
    let empty = device.syncobj()?;
    let refused = space.vm.bind().map(BASE, &buffer).wait_for(&empty).submit();
    check_errno!(refused, INVAL, "to wait for nothing");
    check_eq!(space.vm.state()?, before, "the VM");
    Ok(())
}

/// The fence is over, though not as it should be. That is enough.
fn a_fence_that_fails(_: &Context) -> Outcome {
    let space = Space::first()?;
    let device = space.device.clone();
    let buffer = Place::Lmem.create(&device, PAGE)?;
    buffer.fill(0, PAGE, 9)?;
    let timeline = Timeline::new()?;
    let (start, done) = (timeline.syncobj(&device)?, device.syncobj()?);
    let bind = space.vm.bind().map(BASE, &buffer);
    bind.wait_for(&start).signal(&done).submit()?;
    drop(timeline);
    done.wait(JOB)?;
    check_eq!(done.status()?, FenceStatus::Done, "a bind after it");
    space.holds("mapped", BASE, PAGE, 9)?;
    check!(!space.vm.state()?.banned, "the VM is banned");
    space.vm.map(BASE, &buffer)?;
    space.holds("mapped again", BASE, PAGE, 9)
}

fn the_end_of_a_vm_with_pending_binds(context: &Context) -> Outcome {
    let device = cards::first()?;
    let before = cards::used(&device)?;
    for round in context.each(4, 200) {
        let file = cards::first()?;
        let timeline = Timeline::new()?;
        let buffer = contiguous(&file, LARGE)?;
        let mut vm = file.vm().create()?;
        vm.map(BASE, &buffer)?;
        let start = timeline.syncobj(&file)?;
        for n in 0..10 {
            let bind = vm.bind().map(BASE + n * PAGE, &buffer);
            bind.wait_for(&start).submit()?;
        }
        let done = file.syncobj()?;
        let last = vm.bind().map(BASE, &buffer);
        last.wait_for(&start).signal(&done).submit()?;
        let done = done.binary().sync_file()?;
        match round % 3 {
            // In a thread, because it may wait for the binds.
            0 => thread::scope(|scope| -> Outcome {
                let destroyed = scope.spawn(|| vm.destroy());
                thread::sleep(QUIET);
                timeline.advance(1)?;
                let ended = destroyed.join();
                ended.map_err(|_| Stop::failed("the thread panicked"))??;
                done.wait(JOB)?;
                // Not carried out, and that is told.
                check_eq!(
                    done.status()?,
                    FenceStatus::Failed(Errno::CANCELED),
                    "the bind"
                );
                Ok(())
            })?,
            1 => {
                timeline.advance(1)?;
                drop(vm);
            }
            // With the file, and the fence never signals by itself.
            _ => {
                drop(timeline);
                drop((vm, start));
            }
        }
        drop((buffer, file));
        cards::settles(&device, before)?;
    }
    Ok(())
}

fn memory_that_is_closed_before_it_is_mapped(_: &Context) -> Outcome {
    let space = Space::first()?;
    let device = space.device.clone();
    let before = cards::used(&device)?;
    let timeline = Timeline::new()?;
    let start = timeline.syncobj(&device)?;
    for n in 0..4 {
        let buffer = Place::Lmem.create(&device, MIB)?;
        buffer.fill(0, MIB, n)?;
        let bind = space.vm.bind().map(BASE + n * MIB, &buffer);
        bind.wait_for(&start).submit()?;
    }
    let strangers = Place::Lmem.create(&device, 8 * MIB)?;
    strangers.fill(0, 8 * MIB, 0xdead)?;
    timeline.advance(1)?;
    for n in 0..4 {
        space.holds("memory without a handle", BASE + n * MIB, MIB, n)?;
    }
    drop(strangers);
    space.vm.unmap(BASE, 4 * MIB)?;
    cards::settles(&device, before)
}
