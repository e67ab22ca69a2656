// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many operations at once.

use std::time::Duration;
use std::time::Instant;

use hlrs::Errno;

use super::content::Model;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        wait_for_a_job,
        wait_gives_up_in_time,
        jobs_on_one_buffer_keep_their_order: 120,
        more_jobs_than_a_ring_holds: 180,
        closing_with_jobs_in_flight: 120,
        operations_under_signals: 120,
        threads: 300,
    ]
}

fn wait_for_a_job(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    for place in Place::ALL {
        let mut model = Model::new(place.create(&device, 2 * MIB)?, &mut random)?;
        let pattern = random.next();
        let job = model.buffer.fill_async(17, MIB, pattern)?;
        model.fill(17, MIB, pattern);
        job.wait(JOB)?;
        check!(model.buffer.fill_async(0, 8, 0)?.buffer().size() == 2 * MIB);
        model.fill(0, 8, 0);
        // Reading through another buffer must wait by itself.
        model.compare(&format!("{place:?}"))?;
    }
    Ok(())
}

fn wait_gives_up_in_time(_: &Context) -> Outcome {
    let device = cards::first()?;
    let size = device.lmem()?.total / 4;
    let buffer = Place::Lmem.create(&device, size)?;
    let mut gave_up = false;
    for _ in 0..20 {
        let jobs = (0..8)
            .map(|n| buffer.fill_async(0, size, n))
            .collect::<hlrs::Result<Vec<_>>>()?;
        let start = Instant::now();
        match buffer.wait(Duration::from_micros(100)) {
            Ok(()) => {}
            Err(err) => {
                check_eq!(err.errno(), Some(Errno::TIME));
                check!(
                    start.elapsed() < Duration::from_secs(10),
                    "gave up much too late"
                );
                gave_up = true;
            }
        }
        let idle = jobs[0].is_done()?;
        buffer.wait(JOB)?;
        check!(jobs[7].is_done()?, "not idle after the wait");
        if gave_up && !idle {
            break;
        }
    }
    check!(
        gave_up,
        "a gigabyte or more was always filled within 100 microseconds"
    );
    cards::holds_pattern("after the wait", &buffer, 7)
}

/// Without waits: each job needs what the one before left.
fn jobs_on_one_buffer_keep_their_order(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    let size = MIB;
    let places = [Place::Lmem, Place::System, Place::Visible, Place::Lmem];
    let chain = places
        .iter()
        .map(|p| p.create(&device, size))
        .collect::<hlrs::Result<Vec<_>>>()?;
    for round in context.each(4, 1000) {
        let pattern = random.next();
        let _fill = chain[0].fill_async(0, size, pattern)?;
        for pair in chain.windows(2) {
            let _copy = pair[1].copy_from_async(0, &pair[0], 0, size)?;
        }
        // Overwritten behind the copies, which must have read it before.
        let _late = chain[0].fill_async(0, size, !pattern)?;
        cards::holds_pattern(
            &format!("round {round}, end of the chain"),
            &chain[3],
            pattern,
        )?;
        cards::holds_pattern(&format!("round {round}, start"), &chain[0], !pattern)?;
    }
    Ok(())
}

fn more_jobs_than_a_ring_holds(context: &Context) -> Outcome {
    let device = cards::first()?;
    let count = u64::from(context.rounds(1100, 100_000));
    let cell = 64;
    let size = (count * cell).next_multiple_of(4096);
    let buffer = Place::Lmem.create(&device, size)?;
    let mut expected = vec![0; size as usize];
    for n in 0..count {
        let _job = buffer.fill_async(n * cell, cell - 1, n + 1)?;
        for (k, byte) in expected[(n * cell) as usize..][..cell as usize - 1]
            .iter_mut()
            .enumerate()
        {
            *byte = (n + 1).to_le_bytes()[k % 8];
        }
    }
    buffer.wait(JOB)?;
    cards::compare("after all jobs", &cards::read(&buffer, 0, size)?, &expected)
}

/// A job keeps its buffers until it has ended: what is created meanwhile gets
/// other memory, and stays zero.
fn closing_with_jobs_in_flight(context: &Context) -> Outcome {
    let device = cards::first()?;
    let size = 8 * MIB;
    for _ in context.each(4, 1000) {
        let source = Place::Lmem.create(&device, size)?;
        source.fill(0, size, u64::MAX)?;
        let target = Place::Lmem.create(&device, size)?;
        for _ in 0..4 {
            let _job = target.copy_from_async(0, &source, 0, size)?;
        }
        drop((source, target));
        let fresh = Place::Lmem.create(&device, size)?;
        let second = Place::Lmem.create(&device, size)?;
        cards::holds_pattern("new memory", &fresh, 0)?;
        cards::holds_pattern("more new memory", &second, 0)?;
    }
    Ok(())
}

extern "C" fn ignore(_: i32) {}

/// Has this process get a signal after a while.
fn signal_after(microseconds: u64) {
    let value = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: libc::timeval {
            tv_sec: 0,
            tv_usec: microseconds as i64,
        },
    };
    // SAFETY: the structure lives for the call, and the old value is not asked
    // for.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &value, std::ptr::null_mut()) };
}

/// A signal somewhere in each call: it is interrupted, made again, and gives
/// the same result.
fn operations_under_signals(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    let mut a = Model::new(Place::Lmem.create(&device, 4 * MIB)?, &mut random)?;
    let mut b = Model::new(Place::System.create(&device, 4 * MIB)?, &mut random)?;
    // SAFETY: the handler does nothing. Without SA_RESTART, so that calls that
    // sleep return to the program.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(i32) as usize;
        libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut());
    }
    for _ in context.each(8, 1000) {
        let pattern = random.next();
        signal_after(1 + random.below(5000));
        a.buffer.fill(0, a.buffer.size(), pattern)?;
        a.fill(0, a.buffer.size(), pattern);
        signal_after(1 + random.below(5000));
        let job = b.buffer.copy_from_async(0, &a.buffer, 4096, 2 * MIB)?;
        job.wait(JOB)?;
        let moved = a.slice(4096, 2 * MIB).to_vec();
        b.bytes[..moved.len()].copy_from_slice(&moved);
        signal_after(1 + random.below(5000));
        let crc = b.buffer.crc32c(0, b.buffer.size())?;
        check_eq!(crc, hlrs::crc32c(0, &b.bytes), "under signals");
        signal_after(1 + random.below(5000));
        drop(Place::Visible.create(&device, MIB)?);
    }
    a.compare("the first")?;
    b.compare("the second")
}

fn threads(context: &Context) -> Outcome {
    let device = cards::first()?;
    let rounds = context.rounds(6, 3000);
    std::thread::scope(|scope| {
        let work = |thread: u64| -> Outcome {
            let mut random = Random::new(context.seed.wrapping_add(thread));
            let device = if thread % 2 == 0 {
                device.clone()
            } else {
                cards::first()?
            };
            let mut a = Model::new(Place::Lmem.create(&device, MIB)?, &mut random)?;
            let mut b = Model::new(Place::System.create(&device, MIB)?, &mut random)?;
            for _ in 0..rounds {
                let (offset, size) = random.range(MIB);
                let pattern = random.next();
                let _fill = a.buffer.fill_async(offset, size, pattern)?;
                a.fill(offset, size, pattern);
                let (offset, size) = random.range(MIB);
                let _copy = b.buffer.copy_from_async(offset, &a.buffer, offset, size)?;
                let moved = a.slice(offset, size).to_vec();
                b.bytes[offset as usize..(offset + size) as usize].copy_from_slice(&moved);
                let (offset, size) = random.range(MIB);
                let expected = hlrs::crc32c(0, b.slice(offset, size));
                check_eq!(b.buffer.crc32c(offset, size)?, expected, "thread {thread}");
            }
            a.compare("a thread's first buffer")?;
            b.compare("a thread's second buffer")
        };
        let threads: Vec<_> = (1..=4).map(|n| scope.spawn(move || work(n))).collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| Stop::failed("a thread panicked"))??;
        }
        Ok(())
    })
}
