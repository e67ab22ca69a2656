// SPDX-License-Identifier: MIT OR Apache-2.0
//! Jobs that do not end in time.

use std::time::Duration;
use std::time::Instant;

use hlrs::Command;
use hlrs::Errno;
use hlrs::FaultReason;

use super::fails;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver::Parameters;
use crate::system::space::Space;
use crate::system::sw_sync::Timeline;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        a_job_that_hangs: 180,
        jobs_that_hang_at_the_same_time: 180,
        waiting_is_not_hanging: 120,
    ]
}

/// Time that a job has got.
const LIMIT: Duration = Duration::from_millis(400);

fn impatient() -> Outcome<Parameters> {
    Parameters::load(&[&format!("job_timeout_ms={}", LIMIT.as_millis())])
}

fn a_job_that_hangs(context: &Context) -> Outcome {
    let _loaded = impatient()?;
    let device = cards::first()?;
    let (beside, elsewhere) = (Space::new(&device)?, Space::first()?);
    let buffer = Place::Lmem.create(&device, MIB)?;
    beside.vm.map(BASE, &buffer)?;
    for _ in context.each(2, 30) {
        let space = Space::new(&device)?;
        let dumps = space.dumps()?;
        space.vm.map(BASE, &buffer)?;
        let start = Instant::now();
        let job = space.queue.job().fill(BASE, MIB, 1).command(Command::Hang);
        let work = job.fill(BASE, MIB, 2).start()?;
        let behind = space.queue.job().fill(BASE, MIB, 3).start()?;
        // Others are not held up.
        for n in 0..5 {
            beside.queue.job().fence(beside.result_va(0), n).run(JOB)?;
            elsewhere
                .queue
                .job()
                .fence(elsewhere.result_va(0), n)
                .run(JOB)?;
        }
        fails("the job", &work, Errno::TIMEDOUT)?;
        check!(
            start.elapsed() >= LIMIT,
            "after {:?} already",
            start.elapsed()
        );
        fails("the job behind it", &behind, Errno::CANCELED)?;
        let state = space.vm.state()?;
        check!(state.banned, "the VM is not banned");
        let fault = state
            .fault
            .map(|fault| (fault.reason, fault.va, fault.queue));
        let queue = space.queue.id();
        check_eq!(fault, Some((FaultReason::TimedOut, 0, queue)));
        check_errno!(space.queue.job().fill(BASE, 8, 1).submit(), CANCELED);
        let text = dumps.read()?.to_lowercase();
        check!(
            text.contains("queue"),
            "the dump of a job that hangs:\n{text}"
        );
        // Nothing of the rest of it happens any more.
        beside.holds("what came before", BASE, MIB, 1)?;
    }
    Ok(())
}

/// Of as many queues as there are engines, and more.
fn jobs_that_hang_at_the_same_time(_: &Context) -> Outcome {
    let _loaded = impatient()?;
    let devices = [cards::first()?, cards::first()?, cards::first()?];
    let dumps = Space::new(&devices[0])?.dumps()?;
    let mut spaces = Vec::new();
    for n in 0..18 {
        spaces.push(Space::new(&devices[n % 3])?);
    }
    let works = spaces
        .iter()
        .map(|space| space.queue.job().command(Command::Hang).start())
        .collect::<hlrs::Result<Vec<_>>>()?;
    for work in &works {
        fails("one of many", work, Errno::TIMEDOUT)?;
    }
    dumps.wait()?;
    drop(spaces);
    for device in &devices {
        let space = Space::new(device)?;
        space.queue.job().fence(space.result_va(0), 1).run(JOB)?;
    }
    Ok(())
}

/// The time of a job begins when it has an engine and its fences.
fn waiting_is_not_hanging(_: &Context) -> Outcome {
    let _loaded = impatient()?;
    let space = Space::first()?;
    let timeline = Timeline::new()?;
    let gate = timeline.syncobj(&space.device)?;
    let job = space.queue.job().fence(space.result_va(0), 1);
    let first = job.wait_for(&gate).start()?;
    let behind = space.queue.job().fence(space.result_va(1), 1).start()?;
    std::thread::sleep(3 * LIMIT);
    check!(
        !first.is_done()? && !behind.is_done()?,
        "they have not waited"
    );
    timeline.advance(1)?;
    first.wait(JOB)?;
    behind.wait(JOB)?;
    // Many that take longer together than one may.
    let slow = crate::system::timing::Slow::commands(&cards::first_node()?.address, LIMIT / 10)?;
    let works = (0..12)
        .map(|n| space.queue.job().fence(space.result_va(n), 1).start())
        .collect::<hlrs::Result<Vec<_>>>()?;
    for work in works {
        work.wait(JOB)?;
    }
    drop(slow);
    check!(!space.vm.state()?.banned, "the VM is banned");
    Ok(())
}
