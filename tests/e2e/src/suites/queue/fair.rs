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

/// How many of some jobs have not ended.
fn unfinished<'a>(works: impl IntoIterator<Item = &'a Work>) -> Outcome<usize> {
    let mut count = 0;
    for work in works {
        count += usize::from(!work.is_done()?);
    }
    Ok(count)
}

fn a_flood_does_not_drown_another_file(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (many, few) = (Space::first()?, Space::first()?);
    let timeline = Timeline::new()?;
    let (one, two) = (timeline.fence()?, timeline.fence()?);
    let gate = |space: &Space, fence| -> Outcome<_> {
        let syncobj = space.device.syncobj()?;
        syncobj.import_sync_file(fence)?;
        Ok(syncobj)
    };
    let (queues, flood) = flood(&many, &gate(&many, &one)?, 40, 200)?;
    let other = gate(&few, &two)?;
    let works = (0..2)
        .map(|n| {
            few.queue
                .job()
                .fence(few.result_va(n), 1)
                .wait_for(&other)
                .start()
        })
        .collect::<hlrs::Result<Vec<_>>>()?;
    check_eq!(pending(&queues)?, 200, "jobs before the gate opens");
    let _slow = Slow::commands(&node.address, COMMAND)?;
    timeline.advance(1)?;
    // The flood has all engines when the others come.
    wait_until("the first of the flood", JOB, || {
        flood[0].is_done().unwrap_or(false)
    })?;
    timeline.advance(1)?;
    for work in &works {
        work.wait(JOB)?;
    }
    let left = unfinished(&flood)?;
    check!(
        left >= 40,
        "only {left} of 200 jobs of the flood were left when the other file's 2 had ended"
    );
    for work in &flood {
        work.wait(JOB)?;
    }
    Ok(())
}

/// One queue with many jobs, and others with one each.
fn queues_of_a_file_take_turns(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let space = Space::first()?;
    let timeline = Timeline::new()?;
    let gate = timeline.syncobj(&space.device)?;
    // More queues than engines, so that each waits for its turn.
    let (queues, works) = flood(&space, &gate, 40, 200)?;
    let late = timeline.syncobj(&space.device)?;
    let job = space.queue.job().fence(space.result_va(0), 1);
    let single = job.wait_for(&late).start()?;
    let _slow = Slow::commands(&node.address, COMMAND)?;
    timeline.advance(1)?;
    wait_until("the first of the flood", JOB, || {
        works[0].is_done().unwrap_or(false)
    })?;
    timeline.advance(1)?;
    single.wait(JOB)?;
    // In the order of submission: the n-th job is of queue n % 40.
    let open: Vec<_> = (0..queues.len())
        .map(|n| unfinished(works.iter().skip(n).step_by(queues.len())))
        .collect::<Outcome<_>>()?;
    let left: usize = open.iter().sum();
    check!(
        left >= 40,
        "only {left} of 200 jobs were left when the single one of another queue had ended"
    );
    // None of the queues is far behind the others.
    let least = open.iter().min().copied().unwrap_or(0);
    let most = open.iter().max().copied().unwrap_or(0);
    check!(
        most - least <= 3,
        "of 5 jobs some queues have {least} left, others {most}"
    );
    for work in &works {
        work.wait(JOB)?;
    }
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
