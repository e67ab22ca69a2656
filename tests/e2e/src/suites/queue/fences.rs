// SPDX-License-Identifier: MIT OR Apache-2.0
//! What jobs wait for and signal: within a queue, across queues, files and
//! devices.

use std::thread;
use std::time::Duration;

use hlrs::FenceStatus;
use hlrs::SyncFile;

use super::empties;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::space::Space;
use crate::system::space::PAGE;
use crate::system::sw_sync::Timeline;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        a_job_waits_for_its_fences,
        other_queues_do_not_wait,
        a_chain_across_queues,
        a_chain_across_devices: 120,
        a_syncobj_of_another_process,
        points_of_timelines,
        as_many_syncobjs_as_a_job_may_have,
        fences_of_dma_bufs,
        others_do_not_wait_for_jobs_unasked,
        a_fence_that_fails,
        binary_syncobjs_are_used_again,
    ]
}

/// What must not happen is waited for this long.
const QUIET: Duration = Duration::from_millis(100);

fn a_job_waits_for_its_fences(_: &Context) -> Outcome {
    let space = Space::first()?;
    let (one, two) = (Timeline::new()?, Timeline::new()?);
    let (first, second) = (one.syncobj(&space.device)?, two.syncobj(&space.device)?);
    let job = space.queue.job().fence(space.result_va(0), 1);
    let work = job.wait_for(&first).wait_for(&second).start()?;
    check_errno!(work.wait(QUIET), TIME, "before its fences");
    check_eq!(work.status()?, FenceStatus::Pending);
    check_eq!(space.queue.state()?.pending, 1, "pending jobs");
    one.advance(1)?;
    check_errno!(work.wait(QUIET), TIME, "before its second fence");
    check_eq!(space.result(0)?, (0, 0), "what it writes");
    two.advance(1)?;
    work.wait(JOB)?;
    check_eq!(work.status()?, FenceStatus::Done);
    check_eq!(space.result(0)?.0, 1, "what it writes");
    empties(&space.queue)?;
    // Whoever waits may be told by a file, too.
    let job = space.queue.job().fence(space.result_va(0), 2);
    let file = job.start()?.sync_file()?;
    file.wait(JOB)?;
    check_eq!(file.status()?, FenceStatus::Done, "of the sync file");
    Ok(())
}

/// Jobs that wait for fences take no engine away: far more than there are.
fn other_queues_do_not_wait(_: &Context) -> Outcome {
    let space = Space::first()?;
    let timeline = Timeline::new()?;
    let gate = timeline.syncobj(&space.device)?;
    let queues = (0..40)
        .map(|_| space.vm.queue())
        .collect::<hlrs::Result<Vec<_>>>()?;
    let mut waiting = Vec::new();
    for queue in &queues {
        let job = queue.job().fence(space.result_va(1), 1);
        waiting.push(job.wait_for(&gate).start()?);
    }
    let behind = queues[0].job().fence(space.result_va(2), 1).start()?;
    space.queue.job().fence(space.result_va(3), 1).run(JOB)?;
    check!(!behind.is_done()?, "it has overtaken the one before");
    timeline.advance(1)?;
    for work in &waiting {
        work.wait(JOB)?;
    }
    behind.wait(JOB)?;
    Ok(())
}

fn a_chain_across_queues(context: &Context) -> Outcome {
    let device = cards::first()?;
    let spaces = [Space::new(&device)?, Space::new(&device)?];
    let buffer = Place::Lmem.create(&device, PAGE)?;
    for space in &spaces {
        space.vm.map(BASE, &buffer)?;
    }
    let queues = [
        spaces[0].vm.queue()?,
        spaces[0].vm.queue()?,
        spaces[1].vm.queue()?,
    ];
    let timeline = Timeline::new()?;
    for _ in context.each(2, 50) {
        spaces[0].clear_results()?;
        spaces[1].clear_results()?;
        let mut before = timeline.syncobj(&device)?;
        let mut last = None;
        for n in 0..60u64 {
            let (queue, space) = (&queues[n as usize % 3], &spaces[n as usize % 3 / 2]);
            let next = device.syncobj()?;
            let job = queue.job().copy(BASE, space.result_va(n as usize), 8);
            let job = job.fill(BASE, 8, n + 1).wait_for(&before).signal(&next);
            last = Some(job.start()?);
            before = next;
        }
        timeline.advance(1)?;
        if let Some(last) = last {
            last.wait(JOB)?;
        }
        for n in 1..60 {
            let seen = spaces[n % 3 / 2].result(n)?.0;
            check_eq!(seen, n as u64, "what job {n} of the chain saw");
        }
    }
    Ok(())
}

/// Memory of one is filled there, copied by the other, and copied back.
fn a_chain_across_devices(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let (here, there) = (Space::new(&a)?, Space::new(&b)?);
    let (own, theirs) = (
        Place::Visible.create(&a, MIB)?,
        Place::Visible.create(&b, MIB)?,
    );
    let window = b.import(&own.dma_buf().create()?)?;
    here.vm.map(BASE, &own)?;
    there
        .vm
        .bind()
        .map(BASE, &window)
        .map(2 * BASE, &theirs)
        .submit()?;
    let over = |device: &hlrs::Device, file: SyncFile| -> Outcome<_> {
        let syncobj = device.syncobj()?;
        syncobj.import_sync_file(&file)?;
        Ok(syncobj)
    };
    let timeline = Timeline::new()?;
    for n in 1..=u64::from(context.rounds(5, 300)) {
        let gate = timeline.syncobj(&a)?;
        let filled = here
            .queue
            .job()
            .fill(BASE, MIB, n)
            .wait_for(&gate)
            .start()?;
        let at_b = over(&b, filled.sync_file()?)?;
        let copied = there.queue.job().copy(BASE, 2 * BASE, MIB);
        let copied = copied.wait_for(&at_b).start()?;
        let at_a = over(&a, copied.sync_file()?)?;
        let cleared = here.queue.job().fill(BASE, MIB, 0);
        let cleared = cleared.wait_for(&at_a).start()?;
        let at_b = over(&b, cleared.sync_file()?)?;
        let back = there.queue.job().copy(2 * BASE, BASE, MIB);
        let back = back.wait_for(&at_b).start()?;
        timeline.advance(1)?;
        back.wait(JOB)?;
        cards::holds_pattern("there and back", &own, n)?;
    }
    Ok(())
}

/// A syncobj in a descriptor is the same for both files.
fn a_syncobj_of_another_process(_: &Context) -> Outcome {
    let (one, two) = (Space::first()?, Space::first()?);
    let timeline = Timeline::new()?;
    let shared = one.device.syncobj()?;
    let same = two.device.import_syncobj(shared.export()?)?;
    let gate = timeline.syncobj(&one.device)?;
    let job = one.queue.job().fence(one.result_va(0), 1);
    job.wait_for(&gate).signal(&shared).submit()?;
    let job = two.queue.job().fence(two.result_va(0), 1);
    let work = job.wait_for(&same).start()?;
    check_errno!(work.wait(QUIET), TIME, "before the other file's job");
    timeline.advance(1)?;
    work.wait(JOB)?;
    check_eq!(one.result(0)?.0, 1, "what the other's job writes");
    Ok(())
}

fn points_of_timelines(_: &Context) -> Outcome {
    let space = Space::first()?;
    let device = &space.device;
    let gates = Timeline::new()?;
    let line = device.syncobj()?;
    let job = |n: u64| space.queue.job().fence(space.result_va(n as usize), n);
    check_errno!(
        job(1).wait_for(line.at(5)).submit(),
        INVAL,
        "a point that nobody has submitted"
    );
    // Of two queues, in the order of the points.
    let other = space.vm.queue()?;
    for n in 1..=10u64 {
        let queue = if n % 2 == 0 { &other } else { &space.queue };
        let gate = gates.syncobj(device)?;
        let job = queue.job().fence(space.result_va(n as usize), n);
        job.wait_for(&gate).signal(line.at(10 * n)).submit()?;
    }
    let after = job(20).wait_for(line.at(55)).start()?;
    gates.advance(5)?;
    line.at(50).wait(JOB)?;
    check!(line.reached()? >= 50, "the point is {}", line.reached()?);
    check_errno!(line.at(51).wait(QUIET), TIME, "a point between two");
    check!(!after.is_done()?, "a job before its point");
    gates.advance(1)?;
    line.at(60).wait(JOB)?;
    gates.advance(4)?;
    after.wait(JOB)?;
    line.at(100).wait(JOB)?;
    check_eq!(line.reached()?, 100, "the last point");
    for n in 1..=10usize {
        check_eq!(space.result(n)?.0, n as u64, "what job {n} writes");
    }
    Ok(())
}

fn as_many_syncobjs_as_a_job_may_have(_: &Context) -> Outcome {
    let space = Space::first()?;
    let device = &space.device;
    let timeline = Timeline::new()?;
    let mut ins = Vec::new();
    let mut outs = Vec::new();
    for _ in 0..32 {
        ins.push(timeline.syncobj(device)?);
        outs.push(device.syncobj()?);
    }
    let mut job = space.queue.job().fence(space.result_va(0), 1);
    for (wait, signal) in ins.iter().zip(&outs) {
        job = job.wait_for(wait).signal(signal);
    }
    check_errno!(job.clone().signal(&ins[0]).submit(), TOOBIG, "one more");
    for signal in &outs {
        check_errno!(signal.binary().sync_file(), INVAL, "of a refused job");
    }
    job.submit()?;
    timeline.advance(31)?;
    check_errno!(outs[0].wait(QUIET), TIME, "before the last fence");
    timeline.advance(1)?;
    for signal in &outs {
        signal.wait(JOB)?;
        check_eq!(signal.status()?, FenceStatus::Done);
    }
    Ok(())
}

/// Jobs wait for what a dma-buf is used for when they are told to.
fn fences_of_dma_bufs(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let space = Space::new(&b)?;
    let own = Place::Visible.create(&a, 8 * MIB)?;
    let dmabuf = own.dma_buf().create()?;
    let window = b.import(&dmabuf)?;
    space.vm.map(BASE, &window)?;
    for n in 1..20 {
        for m in 0..8 {
            let _job = own.fill_async(0, 8 * MIB, 100 * n + m)?;
        }
        let syncobj = b.syncobj()?;
        syncobj.import_sync_file(&dmabuf.export_sync_file(hlrs::Access::Read)?)?;
        let (crc, size) = (space.result_va(0), 8 * MIB);
        let job = space.queue.job().crc32c(BASE, size, crc);
        job.wait_for(&syncobj).run(JOB)?;
        let expected = cards::crc_of_pattern(100 * n + 7, size);
        check_eq!(space.crc_result(0)?, expected, "after the last fill");
    }
    Ok(())
}

/// Synchronisation is explicit both ways: what a job may use others can use at
/// the same time, unless they were given its fence.
fn others_do_not_wait_for_jobs_unasked(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let space = Space::new(&b)?;
    let own = Place::Visible.create(&a, MIB)?;
    let dmabuf = own.dma_buf().create()?;
    let window = b.import(&dmabuf)?;
    space.vm.map(BASE, &window)?;
    let timeline = Timeline::new()?;
    let job = space.queue.job().fill(BASE, MIB, 1);
    let work = job.wait_for(&timeline.syncobj(&b)?).start()?;
    for access in [hlrs::Access::Read, hlrs::Access::Write] {
        let fence = dmabuf.export_sync_file(access)?;
        check!(fence.is_done()?, "{access:?} waits for the job");
    }
    own.fill(0, MIB, 2)?;
    cards::holds_pattern("before the job", &own, 2)?;
    timeline.advance(1)?;
    work.wait(JOB)?;
    cards::holds_pattern("after the job", &own, 1)
}

/// The fence is over, though not as it should be. That is enough.
fn a_fence_that_fails(_: &Context) -> Outcome {
    let space = Space::first()?;
    let timeline = Timeline::new()?;
    let gate = timeline.syncobj(&space.device)?;
    let job = space.queue.job().fence(space.result_va(0), 1);
    let work = job.wait_for(&gate).start()?;
    drop(timeline);
    check_eq!(super::end(&work)?, FenceStatus::Done, "a job after it");
    check_eq!(space.result(0)?.0, 1, "what it writes");
    check!(!space.vm.state()?.banned, "the VM is banned");
    space.queue.job().fence(space.result_va(1), 2).run(JOB)?;
    Ok(())
}

fn binary_syncobjs_are_used_again(_: &Context) -> Outcome {
    let space = Space::first()?;
    let timeline = Timeline::new()?;
    let syncobj = timeline.syncobj(&space.device)?;
    // Waits for what it has and gives it something else.
    let job = space.queue.job().fence(space.result_va(0), 1);
    job.wait_for(&syncobj).signal(&syncobj).submit()?;
    check_errno!(syncobj.wait(QUIET), TIME, "the job's fence");
    timeline.advance(1)?;
    syncobj.wait(JOB)?;
    check_eq!(space.result(0)?.0, 1, "what the job writes");
    syncobj.reset()?;
    let refused = space.queue.job().fence(space.result_va(0), 2);
    check_errno!(refused.wait_for(&syncobj).submit(), INVAL, "after a reset");
    // Waiting for a job that comes later.
    thread::scope(|scope| -> Outcome {
        let waits = scope.spawn(|| syncobj.binary().wait_for_submit(JOB));
        thread::sleep(QUIET);
        check!(!waits.is_finished(), "it waits for nothing");
        let job = space.queue.job().fence(space.result_va(0), 3);
        job.signal(&syncobj).submit()?;
        let ended = waits.join();
        Ok(ended.map_err(|_| crate::harness::Stop::failed("the thread panicked"))??)
    })?;
    check_eq!(space.result(0)?.0, 3, "what the job writes");
    Ok(())
}
