// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is told of the end of copies, when, and in which order.

use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use hlrs::Errno;
use rustix::event::eventfd;
use rustix::event::EventfdFlags;
use rustix::event::PollFlags;

use super::end;
use super::Pair;
use super::Side;
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
use crate::system::nic;
use crate::system::sw_sync::Timeline;
use crate::system::timing::Slow;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        eventfds,
        waiting_with_a_limit,
        several_who_wait,
        one_after_the_other,
        results_are_remembered,
        as_many_as_can_be_pending,
        after_a_bind_that_waits,
    ]
}

/// What was added to an eventfd; it is 0 then.
fn count(eventfd: &OwnedFd) -> Outcome<u64> {
    let mut bytes = [0; 8];
    match rustix::io::read(eventfd, &mut bytes) {
        Ok(_) => Ok(u64::from_ne_bytes(bytes)),
        Err(Errno::AGAIN) => Ok(0),
        Err(errno) => Err(Stop::failed(format!("reading an eventfd: {errno}"))),
    }
}

fn eventfds(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let pair = Pair::of(&node)?;
    let _src = pair.src.buffer(Place::Lmem, MIB, 1)?;
    let dst = pair.dst.buffer(Place::Lmem, MIB, 2)?;
    let failed = |errno: Errno| Stop::failed(format!("eventfd: {errno}"));
    let own = eventfd(0, EventfdFlags::NONBLOCK).map_err(failed)?;
    let all = eventfd(0, EventfdFlags::NONBLOCK).map_err(failed)?;
    {
        let _slow = Slow::commands(&node.address, Duration::from_millis(40))?;
        let copy = pair.all(MIB).eventfd(own.as_fd()).start()?;
        check_eq!(count(&own)?, 0, "before the end");
        // It can be waited for as everything else.
        let mut fds = [rustix::event::PollFd::new(&own, PollFlags::IN)];
        let limit = rustix::event::Timespec {
            tv_sec: JOB.as_secs() as i64,
            tv_nsec: 0,
        };
        let ready = rustix::event::poll(&mut fds, Some(&limit)).map_err(failed)?;
        check_eq!(ready, 1, "eventfds that are ready");
        check!(copy.is_done()?, "the eventfd was first");
    }
    check_eq!(count(&own)?, 1, "after the end");
    cards::holds_pattern("when the eventfd says so", &dst, 1)?;
    // Also those that fail, of which every third does; those without do not.
    for n in 0..30 {
        let at = if n % 3 == 0 { 3 * BASE } else { BASE };
        let _told = pair.copy(at, BASE, 4096).eventfd(all.as_fd()).start()?;
        let _silent = pair.all(4096).start()?;
    }
    pair.nic.wait_idle(JOB)?;
    // The last is told of after it counts as done.
    let mut found = 0;
    crate::system::wait_until("all are told", JOB, || {
        found += count(&all).unwrap_or(0);
        found >= 30
    })?;
    check_eq!(found, 30, "copies with this eventfd");
    check_eq!((count(&all)?, count(&own)?), (0, 0), "more than there were");
    // The descriptor can be closed while the copy is pending.
    let _slow = Slow::commands(&node.address, Duration::from_millis(20))?;
    let copy = pair.all(MIB).eventfd(own.as_fd()).start()?;
    drop(own);
    Ok(copy.wait(JOB)?)
}

fn waiting_with_a_limit(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let pair = Pair::of(&node)?;
    let _src = pair.src.buffer(Place::Lmem, MIB, 3)?;
    let _dst = pair.dst.buffer(Place::Lmem, MIB, 4)?;
    let _slow = Slow::commands(&node.address, Duration::from_millis(150))?;
    let copy = pair.all(MIB).start()?;
    check_errno!(copy.wait(Duration::ZERO), TIME);
    check!(!copy.is_done()?, "it takes longer");
    check_eq!(nic::readiness(&pair.nic)?, PollFlags::OUT, "readiness");
    check_errno!(pair.nic.wait_idle(Duration::from_millis(5)), TIME);
    let start = Instant::now();
    check_errno!(copy.wait(Duration::from_millis(30)), TIME);
    let waited = start.elapsed();
    check!(waited >= Duration::from_millis(30), "only {waited:?}");
    copy.wait(JOB)?;
    let total = start.elapsed();
    check!(
        total >= Duration::from_millis(100),
        "{total:?} for two commands"
    );
    for _ in 0..3 {
        copy.wait(Duration::ZERO)?;
    }
    check!(copy.is_done()?, "it is not done any more");
    check_errno!(pair.nic.pending(copy.seqno() + 1).wait(JOB), INVAL);
    pair.nic.wait_idle(Duration::ZERO)?;
    let ready = PollFlags::IN | PollFlags::OUT;
    check_eq!(nic::readiness(&pair.nic)?, ready, "readiness");
    Ok(())
}

fn several_who_wait(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let pair = Pair::of(&node)?;
    let _src = pair.src.buffer(Place::Lmem, MIB, 5)?;
    let dst = pair.dst.buffer(Place::Lmem, MIB, 6)?;
    let _slow = Slow::commands(&node.address, Duration::from_millis(50))?;
    for (src, expected) in [(BASE, None), (3 * BASE, Some(Errno::FAULT))] {
        let copy = pair.copy(src, BASE, MIB).start()?;
        thread::scope(|scope| -> Outcome {
            let (copy, nic) = (&copy, &pair.nic);
            let idle = scope.spawn(move || nic.wait_idle(JOB));
            let waiting: Vec<_> = (0..8).map(|_| scope.spawn(move || end(copy))).collect();
            for thread in waiting {
                let found = thread.join().map_err(|_| Stop::failed("a panic"))??;
                check_eq!(found, expected, "what one of them is told");
            }
            Ok(idle.join().map_err(|_| Stop::failed("a panic"))??)
        })?;
        check_eq!(end(&copy)?, expected, "what is told later");
    }
    cards::holds_pattern("in the end", &dst, 5)
}

/// Each copy takes from where the one before has put it, through both address
/// spaces and back.
fn one_after_the_other(context: &Context) -> Outcome {
    const STEP: u64 = 64 * 1024;
    const STEPS: u64 = 20;
    let pair = Pair::first()?;
    let a = pair.src.buffer(Place::Lmem, STEP * (STEPS + 1), 0)?;
    let b = pair.dst.buffer(Place::System, STEP * (STEPS + 1), 0)?;
    for round in 1..=u64::from(context.rounds(1, 500)) {
        a.fill(0, STEP, round)?;
        let mut copies = Vec::new();
        for n in 0..STEPS {
            let (here, there) = (BASE + n * STEP, BASE + (n + 1) * STEP);
            let (src, dst) = (&pair.src.vm, &pair.dst.vm);
            copies.push(pair.nic.copy(src, here, dst, here, STEP).start()?);
            copies.push(pair.nic.copy(dst, here, src, there, STEP).start()?);
        }
        for (n, copies) in copies.windows(2).enumerate() {
            let (one, two) = (copies[0].seqno(), copies[1].seqno());
            check_eq!(two, one + 1, "number after copy {n}");
        }
        // What is behind a copy that is done is done.
        let middle = copies.len() / 2;
        copies[middle].wait(JOB)?;
        for copy in &copies[..middle] {
            check!(copy.is_done()?, "copy {}, before one", copy.seqno());
        }
        for copy in &copies {
            copy.wait(JOB)?;
        }
        pair.src
            .space
            .holds("at the end", BASE, STEP * (STEPS + 1), round)?;
        cards::holds_pattern("at the end", &a, round)?;
        let there = b.crc32c(0, STEP * STEPS)?;
        check_eq!(there, cards::crc_of_pattern(round, STEP * STEPS), "between");
    }
    Ok(())
}

fn results_are_remembered(context: &Context) -> Outcome {
    let pair = Pair::first()?;
    let _src = pair.src.buffer(Place::Lmem, MIB, 7)?;
    let _dst = pair.dst.buffer(Place::Lmem, MIB, 8)?;
    let keeps = pair.nic.info()?.max_results;
    let bad = pair.copy(3 * BASE, BASE, 1).start()?;
    check_errno!(bad.wait(JOB), FAULT);
    let more = match context.soak {
        true => keeps - 1,
        false => 12,
    };
    for _ in 0..more {
        let _copy = pair.all(1).start()?;
    }
    pair.nic.wait_idle(JOB)?;
    check_errno!(bad.wait(JOB), FAULT, "after {more} others");
    pair.nic.pending(bad.seqno() + 1).wait(JOB)?;
    if context.soak {
        pair.all(1).run(JOB)?;
        check_errno!(bad.wait(JOB), STALE);
        pair.nic.pending(bad.seqno() + 1).wait(JOB)?;
    }
    Ok(())
}

fn as_many_as_can_be_pending(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let pair = Pair::of(&node)?;
    drop(pair.src.buffer(Place::Lmem, MIB, 9)?);
    let device = &pair.dst.space.device;
    let options = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .clone();
    let impatient = hlrs::Nic::from_fd(nic::open_with(&node, &options)?.into())?;
    let (src, dst) = (
        Side::new(&impatient, device)?,
        Side::new(&impatient, device)?,
    );
    let _one = src.buffer(Place::Lmem, MIB, 9)?;
    let two = dst.buffer(Place::Lmem, MIB, 0)?;
    let most = impatient.info()?.max_pending;
    let slow = Slow::commands(&node.address, Duration::from_secs(1))?;
    let copy = |at: u64| {
        impatient
            .copy(&src.vm, BASE, &dst.vm, BASE + at, 4096)
            .start()
    };
    for n in 0..most {
        check!(
            copy(u64::from(n % 256) * 4096).is_ok(),
            "copy {n} of {most}"
        );
    }
    check_errno!(copy(0), AGAIN, "one too many");
    let ready = nic::readiness(&impatient)?;
    check!(!ready.contains(PollFlags::OUT), "there is room: {ready:?}");
    drop(slow);
    impatient.wait_idle(JOB)?;
    let copied = u64::from(most).min(256) * 4096;
    check_eq!(two.crc32c(0, copied)?, cards::crc_of_pattern(9, copied));
    // Who may wait waits.
    let dst = Side::new(&pair.nic, device)?;
    let three = dst.buffer(Place::Lmem, MIB, 0)?;
    let src = Side::new(&pair.nic, device)?;
    let _four = src.buffer(Place::Lmem, MIB, 10)?;
    let _slow = Slow::commands(&node.address, Duration::from_millis(1))?;
    for n in 0..u64::from(most) + 6 {
        let at = BASE + n % 256 * 4096;
        let _copy = pair.nic.copy(&src.vm, BASE, &dst.vm, at, 4096).start()?;
    }
    pair.nic.wait_idle(JOB)?;
    let copied = copied.min(MIB);
    check_eq!(three.crc32c(0, copied)?, cards::crc_of_pattern(10, copied));
    Ok(())
}

/// As jobs do: a bind comes first that was submitted before.
fn after_a_bind_that_waits(_: &Context) -> Outcome {
    let pair = Pair::first()?;
    let timeline = Timeline::new()?;
    let _src = pair.src.buffer(Place::Lmem, MIB, 0x51)?;
    let old = pair.dst.buffer(Place::Lmem, MIB, 0x52)?;
    let new = Place::Lmem.create(&pair.dst.space.device, MIB)?;
    let gate = timeline.syncobj(&pair.dst.space.device)?;
    let bind = pair.dst.space.vm.bind().map(BASE, &new);
    bind.wait_for(&gate).submit()?;
    thread::scope(|scope| -> Outcome {
        let copied = scope.spawn(|| pair.all(MIB).run(JOB));
        thread::sleep(Duration::from_millis(30));
        check!(!copied.is_finished(), "the copy has not waited");
        timeline.advance(1)?;
        Ok(copied.join().map_err(|_| Stop::failed("a panic"))??)
    })?;
    cards::holds_pattern("what was mapped before", &old, 0x52)?;
    cards::holds_pattern("what is mapped now", &new, 0x51)
}
