// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands of a job and jobs of a queue run in their order, and do what they
//! say.

use std::collections::BTreeSet;

use hlrs::Command;
use hlrs::Errno;

use super::empties;
use super::end;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::space::PAGE;
use crate::system::vfs::Vfs;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        what_each_command_does,
        of_a_virtual_function: 180,
        commands_of_a_job,
        jobs_of_a_queue,
        jobs_of_many_queues: 120,
        as_many_queues_as_a_file_may_have: 120,
        more_jobs_than_a_ring_has_room_for: 120,
        destroying_a_queue_with_jobs,
    ]
}

fn each_command(device: &hlrs::Device, seed: u64) -> Outcome {
    let space = Space::new(device)?;
    let mut random = Random::new(seed);
    let (a, b) = (
        Place::Lmem.create(device, MIB)?,
        Place::System.create(device, MIB)?,
    );
    let bytes = cards::randomize(&a, &mut random)?;
    b.fill(0, MIB, 0)?;
    space.vm.bind().map(BASE, &a).map(2 * BASE, &b).submit()?;
    let part = |at: usize, len: usize| &bytes[at..at + len];

    // Odd addresses and sizes, across pages.
    space
        .queue
        .job()
        .copy(BASE + 1003, 2 * BASE + 5, 70_001)
        .fill(2 * BASE + 100_001, 4999, 0x0807_0605_0403_0201)
        .command(Command::Crc32c {
            src: BASE + 77,
            size: 123_457,
            dst: space.result_va(1),
            initial: hlrs::crc32c(0, part(0, 77)),
        })
        .fence(space.result_va(2), 0x1234_5678_9abc_def0)
        .run(JOB)?;
    let found = cards::read(&b, 0, MIB)?;
    cards::compare("copied", &found[5..5 + 70_001], part(1003, 70_001))?;
    check!(found[..5].iter().all(|byte| *byte == 0), "before the copy");
    let filled: Vec<u8> = (1..=8).cycle().take(4999).collect();
    cards::compare("filled", &found[100_001..105_000], &filled)?;
    let crc = hlrs::crc32c(0, part(0, 77 + 123_457));
    check_eq!(space.crc_result(1)?, crc, "the checksum of both parts");
    let (value, time) = space.result(2)?;
    check_eq!(value, 0x1234_5678_9abc_def0, "the fence's value");
    check!(time > 0, "the fence's time is 0");
    Ok(())
}

fn what_each_command_does(context: &Context) -> Outcome {
    each_command(&cards::first()?, context.seed)
}

fn of_a_virtual_function(context: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    for number in 1..=2 {
        each_command(&vfs.open(number)?, context.seed)?;
    }
    Ok(())
}

fn commands_of_a_job(_: &Context) -> Outcome {
    let space = Space::first()?;
    let buffer = Place::Lmem.create(&space.device, 64 * PAGE)?;
    space.vm.map(BASE, &buffer)?;
    for round in 1..4 {
        // Each page is a copy of the one before.
        let copies = (1..63).map(|n| Command::Copy {
            src: BASE + (n - 1) * PAGE,
            dst: BASE + n * PAGE,
            size: PAGE,
        });
        let job = space.queue.job().fill(BASE, PAGE, round);
        let job = job.commands(copies).fill(BASE, PAGE, 0);
        job.run(JOB)?;
        space.holds("the last page", BASE + 62 * PAGE, PAGE, round)?;
        space.holds("the first page", BASE, PAGE, 0)?;
    }
    let most = hlrs_sys::DRM_HLRS_MAX_COMMANDS as usize;
    let fence = |n: usize| Command::Fence {
        dst: space.result_va(n),
        value: n as u64,
    };
    let job = space.queue.job().commands((0..=most).map(fence));
    check_errno!(job.submit(), TOOBIG, "one command more");
    Ok(())
}

fn jobs_of_a_queue(context: &Context) -> Outcome {
    let space = Space::first()?;
    let buffer = Place::Lmem.create(&space.device, PAGE)?;
    space.vm.map(BASE, &buffer)?;
    let count = 200usize;
    for _ in context.each(2, 100) {
        space.clear_results()?;
        let mut last = None;
        for n in 0..count {
            // What the job before has left is what this one sees.
            let fence = space.result_va(n);
            let job = space.queue.job().copy(BASE, fence, 8);
            let work = job.fill(BASE, 8, n as u64 + 1).start()?;
            last = Some(work);
        }
        check!(space.queue.state()?.pending <= count as u32, "pending jobs");
        if let Some(last) = last {
            last.wait(JOB)?;
        }
        for n in 1..count {
            check_eq!(space.result(n)?.0, n as u64, "what job {n} saw");
        }
        empties(&space.queue)?;
    }
    Ok(())
}

fn jobs_of_many_queues(context: &Context) -> Outcome {
    let space = Space::first()?;
    let queues = (0..40)
        .map(|_| space.vm.queue())
        .collect::<hlrs::Result<Vec<_>>>()?;
    let ids: BTreeSet<_> = queues.iter().map(hlrs::Queue::id).collect();
    check!(ids.len() == 40 && !ids.contains(&0), "numbers: {ids:?}");
    let buffer = Place::Lmem.create(&space.device, 40 * PAGE)?;
    space.vm.map(BASE, &buffer)?;
    for _ in context.each(2, 100) {
        let mut works = Vec::new();
        for n in 0..5 {
            for (queue, va) in queues.iter().zip((BASE..).step_by(PAGE as usize)) {
                let job = queue.job().fill(va, PAGE, va + n);
                works.push(job.start()?);
            }
        }
        for work in works {
            work.wait(JOB)?;
        }
        for va in (BASE..).step_by(PAGE as usize).take(40) {
            space.holds("a queue's page", va, PAGE, va + 4)?;
        }
    }
    Ok(())
}

fn as_many_queues_as_a_file_may_have(_: &Context) -> Outcome {
    let device = cards::first()?;
    let (one, two) = (device.vm().create()?, device.vm().create()?);
    let mut queues = Vec::new();
    for n in 0..64 {
        queues.push(if n % 2 == 0 { one.queue() } else { two.queue() }?);
    }
    check_errno!(one.queue(), MFILE);
    check_errno!(two.queue(), MFILE);
    drop(cards::first()?.vm().create()?.queue()?);
    queues.swap_remove(7);
    queues.push(two.queue()?);
    check_errno!(one.queue(), MFILE);
    Ok(())
}

fn more_jobs_than_a_ring_has_room_for(_: &Context) -> Outcome {
    let space = Space::first()?;
    let buffer = Place::Lmem.create(&space.device, PAGE)?;
    space.vm.map(BASE, &buffer)?;
    let fill = |n: u64| Command::Fill {
        dst: BASE,
        size: PAGE,
        pattern: n,
    };
    let mut last = None;
    for n in 0..100 {
        let job = space
            .queue
            .job()
            .commands((0..64).map(|m| fill(64 * n + m)));
        last = Some(job.start()?);
    }
    if let Some(last) = last {
        last.wait(JOB)?;
    }
    space.holds("the last of 6400 commands", BASE, PAGE, 64 * 99 + 63)
}

fn destroying_a_queue_with_jobs(context: &Context) -> Outcome {
    let device = cards::first()?;
    let before = cards::used(&device)?;
    for _ in context.each(5, 300) {
        let space = Space::new(&cards::first()?)?;
        let buffer = Place::Lmem.create(&space.device, 8 * MIB)?;
        space.vm.map(BASE, &buffer)?;
        let mut queue = space.vm.queue()?;
        let works = (0..50)
            .map(|n| queue.job().fill(BASE, 8 * MIB, n).start())
            .collect::<hlrs::Result<Vec<_>>>()?;
        queue.destroy()?;
        // Some are done, those after them are cancelled, and all have ended.
        let mut cancelled = false;
        for (n, work) in works.iter().enumerate() {
            match end(work)? {
                hlrs::FenceStatus::Done => check!(!cancelled, "job {n} after a cancelled one"),
                hlrs::FenceStatus::Failed(Errno::CANCELED) => cancelled = true,
                other => check!(false, "job {n} after its queue: {other:?}"),
            }
        }
        // The VM can be used by others, and nothing writes any more.
        space.fill(BASE, 8 * MIB, 0xfff)?;
        space.holds("after all", BASE, 8 * MIB, 0xfff)?;
    }
    cards::settles(&device, before)
}
