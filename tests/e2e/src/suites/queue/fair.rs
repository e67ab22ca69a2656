// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files take turns on the engines, whatever the number of their queues and
//! jobs, and so do the queues of a file.

use std::time::Duration;

use hlrs::Queue;
use hlrs::Work;

use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::space::Space;
use crate::system::sw_sync::Timeline;
use crate::system::timing::Slow;
use crate::system::wait_until;
use crate::system::JOB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        a_flood_does_not_drown_another_file: 120,
        queues_of_a_file_take_turns: 120,
        busy_time_is_its_owners: 120,
    ]
}

/// Time of a command; a job has two, its own and the fence that ends it. Long enough that what the
/// host does beside matters little.
const COMMAND: Duration = Duration::from_millis(30);

/// Jobs in several queues, which begin when the gate opens.
fn flood(
    space: &Space,
    gate: &hlrs::Syncobj,
    queues: usize,
    jobs: usize,
) -> Outcome<(Vec<Queue>, Vec<Work>)> {
    let queues = (0..queues)
        .map(|_| space.vm.queue())
        .collect::<hlrs::Result<Vec<_>>>()?;
    let mut works = Vec::new();
    for n in 0..jobs {
        let queue = &queues[n % queues.len()];
        let job = queue.job().fence(space.result_va(n), n as u64);
        works.push(job.wait_for(gate).start()?);
    }
    Ok((queues, works))
}

fn pending(queues: &[Queue]) -> Outcome<u32> {
    let mut pending = 0;
    for queue in queues {
        pending += queue.state()?.pending;
    }
    Ok(pending)
}

/// When jobs have ended, by the device's clock: whatever the host does beside,
/// this is their order. Waits for them.
fn times(space: &Space, works: &[Work]) -> Outcome<Vec<u64>> {
    let mut times = Vec::new();
    for (n, work) in works.iter().enumerate() {
        work.wait(JOB)?;
        let time = space.result(n)?.1;
        check!(time > 0, "job {n} has ended without its fence");
        times.push(time);
    }
    Ok(times)
}

fn a_flood_does_not_drown_another_file(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (many, few) = (Space::first()?, Space::first()?);
    let timeline = Timeline::new()?;
    let gate = timeline.fence()?;
    let open = |space: &Space| -> Outcome<_> {
        let syncobj = space.device.syncobj()?;
        syncobj.import_sync_file(&gate)?;
        Ok(syncobj)
    };
    let (queues, flood) = flood(&many, &open(&many)?, 40, 200)?;
    // One after the other, since they are of one queue: each has to come before
    // most of what waits there.
    let other = open(&few)?;
    let works = (0..6)
        .map(|n| {
            let job = few.queue.job().fence(few.result_va(n), 1);
            job.wait_for(&other).start()
        })
        .collect::<hlrs::Result<Vec<_>>>()?;
    check_eq!(pending(&queues)?, 200, "jobs before the gate opens");
    let _slow = Slow::commands(&node.address, COMMAND)?;
    timeline.advance(1)?;
    let last = times(&few, &works)?.into_iter().max().unwrap_or(0);
    let flood = times(&many, &flood)?;
    let left = flood.iter().filter(|time| **time > last).count();
    // If it were queues that took turns and not files, six rounds of 41 queues would leave none. The
    // time between two of the six is the guest's, which a busy host makes longer.
    check!(
        left >= 20,
        "only {left} of 200 jobs of the flood were left when the other file's 6 had ended"
    );
    Ok(())
}

/// Many queues with some jobs, and another with one.
fn queues_of_a_file_take_turns(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let space = Space::first()?;
    let timeline = Timeline::new()?;
    let gate = timeline.syncobj(&space.device)?;
    // More queues than engines, so that each waits for its turn.
    let (queues, mut works) = flood(&space, &gate, 40, 200)?;
    let job = space.queue.job().fence(space.result_va(works.len()), 1);
    works.push(job.wait_for(&gate).start()?);
    let _slow = Slow::commands(&node.address, COMMAND)?;
    timeline.advance(1)?;
    let mut times = times(&space, &works)?;
    let single = times.pop().unwrap_or(0);
    let left = times.iter().filter(|time| **time > single).count();
    check!(
        left >= 40,
        "only {left} of 200 jobs were left when the single one of another queue had ended"
    );
    // None of the queues is far behind the others when half of all is done. In
    // the order of submission: the n-th job is of queue n % 40.
    let mut sorted = times.clone();
    sorted.sort_unstable();
    let half = sorted[sorted.len() / 2];
    let open: Vec<_> = (0..queues.len())
        .map(|n| {
            let jobs = times.iter().skip(n).step_by(queues.len());
            jobs.filter(|time| **time > half).count()
        })
        .collect();
    let least = open.iter().min().copied().unwrap_or(0);
    let most = open.iter().max().copied().unwrap_or(0);
    check!(
        most - least <= 3,
        "of 5 jobs some queues have {least} left, others {most}"
    );
    Ok(())
}

fn busy_time_is_its_owners(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (space, other) = (Space::first()?, Space::first()?);
    let busy = |space: &Space| -> Outcome<u64> {
        let usage = space.device.usage()?;
        Ok(usage.engine_ns.get("copy").copied().unwrap_or(0))
    };
    let (before, idle) = (busy(&space)?, busy(&other)?);
    let count = 10;
    {
        let _slow = Slow::commands(&node.address, COMMAND)?;
        for n in 0..count {
            let job = space.queue.job().fence(space.result_va(n), 1);
            job.run(JOB)?;
        }
    }
    let least = COMMAND.as_nanos() as u64 * count as u64;
    wait_until("the busy time of the jobs", JOB, || {
        busy(&space).is_ok_and(|now| now - before >= least)
    })?;
    let now = busy(&space)? - before;
    check!(
        now <= 20 * least,
        "busy for {now} ns, with jobs of {least} ns"
    );
    check_eq!(busy(&other)?, idle, "busy time of a file that does nothing");
    Ok(())
}
