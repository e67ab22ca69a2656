// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exports that are taken back: by their owner, and by a reset.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use hlrs::Access;
use hlrs::Errno;

use super::part;
use super::random_buffer;
use super::touch;
use super::Touched;
use super::PAGE;
use super::PLACES;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::suites::reset::reset;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::wait_until;
use crate::system::JOB;
use crate::system::MIB;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        importers_lose_it_and_get_it_back,
        jobs_in_flight_end_before: 120,
        the_cpu_loses_it_and_gets_it_back,
        only_what_the_caller_has_exported,
        a_revoke_without_importers_is_quick,
        a_reset_takes_it_and_gives_it_back: 120,
        importing_during_resets: 180,
    ]
}

/// Jobs that are in flight at a revoke.
const JOBS: u64 = 24;

const SIGBUS: Touched = Touched::Signal(libc::SIGBUS);

fn importers_lose_it_and_get_it_back(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (buffer, bytes) = random_buffer(&a, place, MIB, &mut random)?;
        let (offset, size) = (7 * PAGE, 30 * PAGE);
        let crc = hlrs::crc32c(0, part(&bytes, offset, size));
        let dmabuf = buffer.dma_buf().range(offset, size).create()?;
        let late = buffer.dma_buf().range(offset, size).create()?;
        let window = b.import(&dmabuf)?;
        // One that has never been used, and so is not mapped.
        let unused = b.import(&late)?;
        for round in context.each(3, 200) {
            let what = format!("{place:?}, round {round}");
            check_eq!(window.crc32c(0, size)?, crc, "{what}");
            buffer.revoke()?;
            buffer.revoke()?;
            for window in [&window, &unused] {
                check_errno!(window.crc32c(0, 8), NODEV, "{what}: revoked");
                check_errno!(window.fill(0, 8, 1), NODEV, "{what}: revoked");
                check_errno!(window.fill_async(0, 8, 1), NODEV, "{what}: revoked");
                let target = Place::Lmem.create(&b, PAGE)?;
                let copy = target.copy_from(0, window, 0, PAGE);
                check_errno!(copy, NODEV, "{what}: revoked");
            }
            let third = cards::two()?.1;
            check_errno!(third.import(&dmabuf), NODEV, "{what}: a late importer");
            let access = dmabuf.begin_cpu_access(Access::Read);
            check_errno!(access, NODEV, "{what}: access by the CPU");
            // Its owner is not affected, and may export it anew.
            check_eq!(buffer.crc32c(0, MIB)?, hlrs::crc32c(0, &bytes), "{what}");
            let new = third.import(&buffer.dma_buf().range(offset, size).create()?)?;
            check_eq!(new.crc32c(0, size)?, crc, "{what}: a new export");
            buffer.undo_revoke()?;
        }
        check_eq!(window.crc32c(0, size)?, crc, "{place:?}: in the end");
        check_eq!(unused.crc32c(0, size)?, crc, "{place:?}: in the end");
    }
    Ok(())
}

/// After a revoke nothing of what the importer was doing comes any more.
fn jobs_in_flight_end_before(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    let size = 16 * MIB;
    let buffer = Place::Visible.create(&a, size)?;
    let map = buffer.map()?;
    let window = b.import(&buffer.dma_buf().create()?)?;
    let mut seen = false;
    let rounds = context.rounds(3, 200);
    // On a busy machine it may take some until a job is still in flight.
    for round in 0..rounds.max(100) {
        if round >= rounds && seen {
            break;
        }
        let jobs = (0..JOBS)
            .map(|n| window.fill_async(0, size, n))
            .collect::<hlrs::Result<Vec<_>>>()?;
        seen |= !jobs[jobs.len() - 1].is_done()?;
        buffer.revoke()?;
        check_eq!(
            map.to_vec(size as usize - 8, 8)?,
            (JOBS - 1).to_le_bytes(),
            "round {round}: the last job before the revoke"
        );
        let pattern = random.next();
        buffer.fill(0, size, pattern)?;
        std::thread::sleep(Duration::from_millis(20));
        cards::holds_pattern(&format!("round {round}"), &buffer, pattern)?;
        for job in jobs {
            job.wait(JOB)?;
        }
        buffer.undo_revoke()?;
    }
    check!(seen, "no job was ever in flight at a revoke");
    Ok(())
}

fn the_cpu_loses_it_and_gets_it_back(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (buffer, bytes) = random_buffer(&device, place, MIB, &mut random)?;
        let dmabuf = buffer.dma_buf().range(PAGE, 4 * PAGE).create()?;
        let (own, map) = (buffer.map()?, dmabuf.map()?);
        let by_export = Touched::Byte(bytes[PAGE as usize + 5]);
        let by_owner = Touched::Byte(bytes[PAGE as usize + 5]);
        for _ in 0..2 {
            check_eq!(touch(&map, 5)?, by_export, "{place:?}: before");
            // Mapped by this process, too.
            let found = map.to_vec(0, 64)?;
            cards::compare("before", &found, part(&bytes, PAGE, 64))?;
            buffer.revoke()?;
            for at in [5, PAGE as usize, 4 * PAGE as usize - 1] {
                check_eq!(touch(&map, at)?, SIGBUS, "{place:?}: revoked, at {at}");
            }
            check!(dmabuf.map().is_err(), "{place:?}: mapped when revoked");
            // The owner's own mapping goes on, of the same pages.
            check_eq!(touch(&own, PAGE as usize + 5)?, by_owner, "{place:?}: own");
            let found = own.to_vec(0, 8 * PAGE as usize)?;
            cards::compare("the owner's", &found, part(&bytes, 0, 8 * PAGE))?;
            check_eq!(touch(&map, 5)?, SIGBUS, "{place:?}: after the owner's");
            buffer.undo_revoke()?;
        }
        check_eq!(touch(&map, 5)?, by_export, "{place:?}: undone");
        let found = map.to_vec(0, 4 * PAGE as usize)?;
        cards::compare("undone", &found, part(&bytes, PAGE, 4 * PAGE))?;
    }
    Ok(())
}

fn only_what_the_caller_has_exported(_: &Context) -> Outcome {
    let (one, b) = cards::two()?;
    let two = cards::first()?;
    for place in PLACES {
        let buffer = place.create(&one, MIB)?;
        let beside = place.create(&one, MIB)?;
        buffer.fill(0, MIB, 0xaa)?;
        beside.fill(0, MIB, 0xbb)?;
        let first = b.import(&buffer.dma_buf().create()?)?;
        let prime = b.import(&buffer.export()?)?;
        let other = b.import(&beside.dma_buf().create()?)?;
        // The same buffer, exported by another file that was given it.
        let given = two.import(&buffer.export()?)?;
        let second = b.import(&given.dma_buf().create()?)?;
        let holds = |what: &str, window: &hlrs::Buffer, pattern| {
            cards::holds_pattern(&format!("{place:?}: {what}"), window, pattern)
        };

        buffer.revoke()?;
        check_errno!(first.crc32c(0, 8), NODEV, "{place:?}: its own export");
        check_errno!(prime.crc32c(0, 8), NODEV, "{place:?}: its own, by PRIME");
        holds("the other file's export", &second, 0xaa)?;
        holds("another buffer", &other, 0xbb)?;

        // Who has not exported it cannot allow it either.
        given.undo_revoke()?;
        check_errno!(first.crc32c(0, 8), NODEV, "{place:?}: allowed by another");
        given.revoke()?;
        buffer.undo_revoke()?;
        check_errno!(second.crc32c(0, 8), NODEV, "{place:?}: the other file's");
        holds("its own export", &first, 0xaa)?;
        holds("its own export by PRIME", &prime, 0xaa)?;
        given.undo_revoke()?;
        holds("the other file's export", &second, 0xaa)?;
    }
    Ok(())
}

/// It does not wait for jobs that have nothing to do with an importer, and not
/// for the time that importers may take.
fn a_revoke_without_importers_is_quick(_: &Context) -> Outcome {
    let a = cards::first()?;
    let buffer = Place::Visible.create(&a, MIB)?;
    let _dmabuf = buffer.dma_buf().create()?;
    let start = Instant::now();
    for _ in 0..5 {
        buffer.revoke()?;
        buffer.undo_revoke()?;
    }
    let took = start.elapsed();
    check!(took < Duration::from_secs(2), "five revokes took {took:?}");
    Ok(())
}

fn a_reset_takes_it_and_gives_it_back(context: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let (buffer, bytes) = random_buffer(&a, place, MIB, &mut random)?;
        let revoked = Place::Visible.create(&a, MIB)?;
        let (offset, size) = (PAGE, 9 * PAGE);
        let crc = hlrs::crc32c(0, part(&bytes, offset, size));
        let dmabuf = buffer.dma_buf().range(offset, size).create()?;
        let window = b.import(&dmabuf)?;
        let taken = b.import(&revoked.dma_buf().create()?)?;
        check_eq!(window.crc32c(0, size)?, crc, "{place:?}: before");
        taken.fill(0, 8, 1)?;
        revoked.revoke()?;
        for _ in context.each(2, 50) {
            reset(&nodes[0].address)?;
            check_eq!(window.crc32c(0, size)?, crc, "{place:?}: after a reset");
            let late = cards::two()?.1.import(&dmabuf)?;
            check_eq!(late.crc32c(0, size)?, crc, "{place:?}: a late importer");
            // What its owner has taken back does not come back by a reset.
            check_errno!(taken.fill(0, 8, 1), NODEV, "{place:?}: revoked before");
        }
        revoked.undo_revoke()?;
        taken.fill(0, 8, 1)?;
        // A reset of the importer does not concern the exporter.
        reset(&nodes[1].address)?;
        check_eq!(
            window.crc32c(0, size)?,
            crc,
            "{place:?}: after the importer's"
        );
    }
    Ok(())
}

/// Importers that come while the exporter is being reset are told so, or come
/// before or after it.
fn importing_during_resets(context: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let (a, b) = cards::two()?;
    let (buffer, bytes) = random_buffer(&a, Place::Visible, MIB, &mut Random::new(context.seed))?;
    let crc = hlrs::crc32c(0, &bytes);
    let dmabuf = buffer.dma_buf().create()?;
    let kept = b.import(&dmabuf)?;
    let done = AtomicBool::new(false);
    let (served, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| -> Outcome {
        let importer = scope.spawn(|| -> Outcome {
            while !done.load(Ordering::Relaxed) {
                let device = cards::two()?.1;
                let results = [
                    device.import(&dmabuf).and_then(|w| w.crc32c(0, MIB)),
                    kept.crc32c(0, MIB),
                ];
                for result in results {
                    match result {
                        Ok(found) => {
                            check_eq!(found, crc, "contents seen between resets");
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(err) if err.errno() == Some(Errno::NODEV) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(err) => return Err(err.into()),
                    }
                }
            }
            Ok(())
        });
        let mut result = Ok(());
        for _ in context.each(4, 200) {
            // Between two resets everything goes on.
            let before = served.load(Ordering::Relaxed);
            result = reset(&nodes[0].address).and_then(|()| {
                wait_until("an importer is served after a reset", REACTION, || {
                    served.load(Ordering::Relaxed) > before + 1 || importer.is_finished()
                })
            });
            if result.is_err() {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        let imported = importer
            .join()
            .map_err(|_| Stop::failed("the importing thread panicked"))?;
        imported.and(result)
    })?;
    println!("{served:?} served, {refused:?} refused");
    check_eq!(kept.crc32c(0, MIB)?, crc, "in the end");
    Ok(())
}
