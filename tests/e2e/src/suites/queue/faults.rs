// SPDX-License-Identifier: MIT OR Apache-2.0
//! Jobs that access what they must not: who is told what, who goes on.

use hlrs::BindOp;
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
use crate::suites::reset::inject;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::space::Space;
use crate::system::space::PAGE;
use crate::system::sw_sync::Timeline;
use crate::system::vfs::Vfs;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        addresses_that_are_not_mapped,
        in_the_middle_of_a_job,
        of_a_virtual_function: 180,
        an_error_in_memory,
        what_a_ban_means,
        the_neighbours_go_on,
        contexts_are_used_again: 120,
        the_dump,
    ]
}

/// Everything that a command reads or writes.
fn every_access(space: &Space, good: u64, bad: u64) -> Vec<(Command, bool)> {
    let (size, initial, value, pattern) = (64, 0, 7, 7);
    let (src, dst) = (good, space.result_va(0));
    vec![
        (
            Command::Copy {
                src: bad,
                dst,
                size,
            },
            false,
        ),
        (
            Command::Copy {
                src,
                dst: bad,
                size,
            },
            true,
        ),
        (
            Command::Fill {
                dst: bad,
                size,
                pattern,
            },
            true,
        ),
        (
            Command::Crc32c {
                src: bad,
                size,
                dst,
                initial,
            },
            false,
        ),
        (
            Command::Crc32c {
                src,
                size,
                dst: bad,
                initial,
            },
            true,
        ),
        (Command::Fence { dst: bad, value }, true),
    ]
}

/// Where `command` meets memory at `bad` first: FENCE writes the time, which comes second, before
/// the number.
fn first_access(command: &Command, bad: u64) -> u64 {
    match command {
        Command::Fence { .. } => bad + 8,
        _ => bad,
    }
}

fn addresses_that_are_not_mapped(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Lmem.create(&device, 2 * PAGE)?;
    for bad in [BASE + 2 * PAGE, 1 << 46] {
        for n in 0..6 {
            let space = Space::new(&device)?;
            space.vm.map(BASE, &buffer)?;
            let (command, write) = every_access(&space, BASE, bad)[n];
            let fault = space.fault(command)?;
            let found = (fault.va, fault.write, fault.reason);
            let expected = (first_access(&command, bad), write, FaultReason::NotPresent);
            check_eq!(found, expected, "{command:?}");
        }
    }
    // Writing what may be read.
    for n in [1, 2, 4, 5] {
        let space = Space::new(&device)?;
        let op = BindOp::map(BASE, &buffer).read_only();
        space.vm.bind().op(op).submit()?;
        let (command, _) = every_access(&space, BASE, BASE + PAGE)[n];
        let fault = space.fault(command)?;
        let found = (fault.va, fault.write, fault.reason);
        let va = first_access(&command, BASE + PAGE);
        check_eq!(found, (va, true, FaultReason::ReadOnly), "{command:?}");
    }
    cards::holds_pattern("what may only be read", &buffer, 0)
}

/// What comes before a fault is done, what comes after is not.
fn in_the_middle_of_a_job(_: &Context) -> Outcome {
    let space = Space::first()?;
    let buffer = Place::Lmem.create(&space.device, MIB)?;
    space.vm.map(BASE, &buffer)?;
    let dumps = space.dumps()?;
    let job = space.queue.job().fill(BASE, PAGE, 1);
    // The last page of the range is missing.
    let job = job.fill(BASE + MIB - PAGE, 2 * PAGE, 2);
    let work = job.fill(BASE + PAGE, PAGE, 3).start()?;
    let after = space.queue.job().fill(BASE + PAGE, PAGE, 4).start();
    fails("the job", &work, Errno::FAULT)?;
    match after {
        // It was queued before the ban, or refused after it.
        Ok(after) => fails("the job behind it", &after, Errno::CANCELED)?,
        Err(err) => check!(err.errno() == Some(Errno::CANCELED), "{err}"),
    }
    let fault = space.vm.state()?.fault.map(|fault| fault.va);
    check_eq!(fault, Some(BASE + MIB), "the address");
    check_eq!(cards::read(&buffer, 0, 8)?, 1u64.to_le_bytes(), "before");
    let behind = cards::read(&buffer, PAGE, PAGE)?;
    check!(behind.iter().all(|byte| *byte == 0), "after the fault");
    dumps.wait()?;
    Ok(())
}

fn of_a_virtual_function(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let (one, two) = (vfs.open(1)?, vfs.open(2)?);
    let (pf, neighbour) = (Space::first()?, Space::new(&two)?);
    let buffer = Place::Lmem.create(&two, MIB)?;
    neighbour.vm.map(BASE, &buffer)?;
    for write in [false, true] {
        let space = Space::new(&one)?;
        space.faults_at(BASE, write, FaultReason::NotPresent)?;
        neighbour.fill(BASE, MIB, 5)?;
        neighbour.holds("the neighbour's memory", BASE, MIB, 5)?;
        pf.queue.job().fence(pf.result_va(0), 1).run(JOB)?;
    }
    Ok(())
}

fn an_error_in_memory(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let space = Space::new(&device)?;
    let lmem = device.lmem()?;
    // What is bad lies in it, since hardly anything else is in use.
    let most = Place::Lmem.create(&device, lmem.total - lmem.used - 4 * MIB)?;
    space.vm.map(BASE, &most)?;
    let dumps = space.dumps()?;
    let (half, size) = (lmem.total / 2, 64 * MIB);
    inject(&node, &format!("lmem-error {half:#x}"))?;
    let commands = (0..most.size() / size).map(|n| Command::Crc32c {
        src: BASE + n * size,
        size,
        dst: space.result_va(0),
        initial: 0,
    });
    let ran = space.queue.job().commands(commands).run(JOB);
    inject(&node, "clear")?;
    check_errno!(ran, FAULT, "reading memory with an uncorrectable error");
    let fault = space.vm.state()?.fault;
    let reason = fault.map(|fault| (fault.reason, fault.write));
    check_eq!(reason, Some((FaultReason::LmemError, false)));
    dumps.wait()?;
    drop((space, most));
    let space = Space::new(&device)?;
    space.queue.job().fence(space.result_va(0), 1).run(JOB)?;
    Ok(())
}

fn what_a_ban_means(_: &Context) -> Outcome {
    let device = cards::first()?;
    let before = cards::used(&device)?;
    {
        let mut space = Space::new(&device)?;
        let dumps = space.dumps()?;
        let timeline = Timeline::new()?;
        let gate = timeline.syncobj(&device)?;
        let buffer = Place::Lmem.create(&device, MIB)?;
        space.vm.map(BASE, &buffer)?;
        let other = space.vm.queue()?;
        // Jobs that wait: behind the bad one, and in another queue.
        let bad = space.queue.job().fill(2 * BASE, 8, 1).start()?;
        let waiting = other.job().fill(BASE, MIB, 2).wait_for(&gate).start();
        fails("the bad job", &bad, Errno::FAULT)?;
        let state = space.vm.state()?;
        check!(state.banned && state.fault.is_some(), "{state:?}");
        for queue in [&space.queue, &other] {
            check!(queue.state()?.banned, "a queue of a banned VM is not");
            let refused = queue.job().fill(BASE, 8, 1).submit();
            check_errno!(refused, CANCELED, "a job for a banned VM");
        }
        timeline.advance(1)?;
        match waiting {
            Ok(waiting) => fails("a job of another queue", &waiting, Errno::CANCELED)?,
            Err(err) => check!(err.errno() == Some(Errno::CANCELED), "{err}"),
        }
        cards::holds_pattern("what it would have written", &buffer, 0)?;
        check_errno!(space.vm.map(3 * BASE, &buffer), CANCELED);
        check_errno!(space.vm.unmap(BASE, MIB), CANCELED);
        check_errno!(space.vm.queue(), CANCELED);
        check_errno!(space.vm.export(), NOENT, "of a banned VM");
        check_eq!(space.vm.state()?.fault, state.fault, "the reason");
        check_errno!(space.vm.destroy(), BUSY, "with its queues");
        space.queue.destroy()?;
        drop(other);
        space.vm.destroy()?;
        dumps.wait()?;
    }
    cards::settles(&device, before)
}

fn the_neighbours_go_on(context: &Context) -> Outcome {
    let device = cards::first()?;
    let (beside, elsewhere) = (Space::new(&device)?, Space::first()?);
    for space in [&beside, &elsewhere] {
        let buffer = Place::Lmem.create(&space.device, 4 * MIB)?;
        space.vm.map(BASE, &buffer)?;
    }
    for round in 0..u64::from(context.rounds(4, 200)) {
        let works = [&beside, &elsewhere].map(|space| {
            let jobs = (0..20).map(|n| space.queue.job().fill(BASE, 4 * MIB, 100 * round + n));
            jobs.map(hlrs::Submission::start)
                .collect::<hlrs::Result<Vec<_>>>()
        });
        let space = Space::new(&device)?;
        space.faults_at(BASE, round % 2 == 0, FaultReason::NotPresent)?;
        for (works, space) in works.into_iter().zip([&beside, &elsewhere]) {
            for work in works? {
                work.wait(JOB)?;
            }
            space.holds("a neighbour's memory", BASE, 4 * MIB, 100 * round + 19)?;
            let state = space.vm.state()?;
            check!(!state.banned && state.fault.is_none(), "{state:?}");
        }
        // The engine of the kernel's own jobs, too.
        let buffer = Place::Lmem.create(&device, MIB)?;
        buffer.fill(0, MIB, round)?;
        cards::holds_pattern("by the kernel's queue", &buffer, round)?;
    }
    Ok(())
}

/// More faults than the device has contexts and engines.
fn contexts_are_used_again(context: &Context) -> Outcome {
    let device = cards::first()?;
    let before = cards::used(&device)?;
    for n in context.each(40, 1000) {
        let space = Space::new(&device)?;
        space.faults_at(BASE + u64::from(n) * PAGE, false, FaultReason::NotPresent)?;
    }
    let space = Space::new(&device)?;
    let buffer = Place::Lmem.create(&device, MIB)?;
    space.vm.map(BASE, &buffer)?;
    space.fill(BASE, MIB, 3)?;
    space.holds("after many faults", BASE, MIB, 3)?;
    drop((space, buffer));
    cards::settles(&device, before)
}

fn the_dump(_: &Context) -> Outcome {
    let space = Space::first()?;
    let buffer = Place::Lmem.create(&space.device, 4 * PAGE)?;
    space.vm.map(BASE, &buffer)?;
    let va = BASE + 4 * PAGE;
    let dumps = space.dumps()?;
    check!(!dumps.exists(), "a dump before the fault");
    let fill = Command::Fill {
        dst: va,
        size: 8,
        pattern: 1,
    };
    space.fault_with_dump(fill)?;
    let text = dumps.read()?;
    let line = |key: &str| {
        let values = text.lines().filter_map(|line| line.split_once(": "));
        values
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| value.to_owned())
            .collect::<Vec<_>>()
    };
    for (key, value) in [
        ("driver", "hlrs".to_owned()),
        ("vm", space.vm.id().to_string()),
        ("queue", space.queue.id().to_string()),
        ("fault-va", format!("{va:#x}")),
        ("fault-access", "write".to_owned()),
    ] {
        check_eq!(line(key), [value], "{key} in the dump:\n{text}");
    }
    // From the root to the table of pages, where the entry is missing.
    let walk = line("walk");
    let levels = walk.iter().map(|step| step.split(' ').nth(1).unwrap_or(""));
    check!(levels.eq(["3", "2", "1", "0"]), "the walk:\n{text}");
    check!(
        walk[3].ends_with("entry 0x0"),
        "the last step of the walk:\n{text}"
    );
    for key in [
        "context",
        "reason",
        "queue-head",
        "queue-tail",
        "queue-status",
        "command",
    ] {
        check!(!line(key).is_empty(), "the dump has no {key}:\n{text}");
    }
    // Addresses of the kernel it does not tell.
    check!(!text.contains("0xffff8"), "the dump:\n{text}");
    dumps.clear();
    check!(!dumps.exists(), "the dump is still there");
    Ok(())
}
