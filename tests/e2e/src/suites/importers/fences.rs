// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who waits for the fences of importers.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use hlrs::Access;
use hlrs::Buffer;

use super::Pair;
use super::BOUND;
use super::LONG;
use super::TICK;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::suites::reset::reset;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::importer::Kind;
use crate::system::importer::Usage;
use crate::system::log::Log;
use crate::system::space::Space;
use crate::system::wait_until;
use crate::system::JOB;
use crate::system::MIB;

/// A job that takes long enough to be noticed, and less than the driver waits.
const SHORT: Duration = Duration::from_millis(1200);

/// How long the driver waits for importers.
const QUICK: Duration = Duration::from_secs(2);

/// How soon an importer is told that somebody takes the memory back; less than a fence takes.
const TOLD: Duration = Duration::from_secs(10);

/// How long a thread may take until it waits.
const BEGIN: Duration = Duration::from_millis(100);

/// The exporter's jobs obey the rules of the reservation object.
pub fn jobs_wait_for_fences_by_their_usage(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let (buffer, dmabuf) = pair.shared(MIB)?;
    let importer = pair
        .importers
        .map(&dmabuf, &pair.importer.address, Kind::Dynamic)?;
    let write = || buffer.fill(0, MIB, 7);
    let read = || buffer.crc32c(0, MIB).map(drop);
    type Job<'a> = &'a dyn Fn() -> hlrs::Result<()>;
    let table: [(Usage, &str, Job<'_>, bool); 6] = [
        (Usage::Bookkeep, "reads", &read, false),
        (Usage::Bookkeep, "writes", &write, false),
        (Usage::Read, "reads", &read, false),
        (Usage::Read, "writes", &write, true),
        (Usage::Write, "reads", &read, true),
        (Usage::Write, "writes", &write, true),
    ];
    for (usage, what, job, waits) in table {
        importer.fence(if waits { SHORT } else { LONG }, usage)?;
        job()?;
        let left = importer.state()?.fences;
        check_eq!(
            left == 0,
            waits,
            "a job that {what} waits for a fence for {usage:?}"
        );
        importer.signal().map_err(Stop::failed)?;
        check_eq!(importer.state()?.fences, 0, "fences after signalling");
    }
    Ok(())
}

/// Also of an importer that has nothing mapped any more.
pub fn unbind_waits_for_fences(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let (_buffer, dmabuf) = pair.shared(MIB)?;
    let importer = pair
        .importers
        .map(&dmabuf, &pair.importer.address, Kind::Dynamic)?;
    let start = importer.fence(SHORT, Usage::Bookkeep)?;
    importer.unmap().map_err(Stop::failed)?;
    let bound = Unbound(&pair.exporter.address);
    driver::unbind(&pair.exporter.address)?;
    let (took, state) = (start.elapsed(), importer.state()?);
    drop(bound);
    driver::wait_node(&pair.exporter.address)?;
    check_eq!(state.fences, 0, "fences that were not waited for");
    check!(took + TICK >= SHORT, "unbinding took {took:?}");
    Ok(())
}

pub fn unbind_does_not_wait_for_ever(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let (buffer, dmabuf) = pair.shared(MIB)?;
    let importer = pair
        .importers
        .map(&dmabuf, &pair.importer.address, Kind::Dynamic)?;
    let start = importer.fence(LONG, Usage::Write)?;
    let bound = Unbound(&pair.exporter.address);
    // Somebody who waits for the fence has the device open, and is in the middle of a call.
    thread::scope(|scope| -> Outcome {
        let filling = scope.spawn(|| buffer.fill(0, MIB, 1));
        thread::sleep(BEGIN);
        driver::unbind(&pair.exporter.address)?;
        let filled = filling
            .join()
            .map_err(|_| Stop::failed("a thread panicked"))?;
        check_errno!(filled, NODEV, "a job that waits when the driver goes");
        Ok(())
    })?;
    let (took, state) = (start.elapsed(), importer.state()?);
    check!(took < BOUND, "unbinding took {took:?}");
    check_eq!(state.fences, 1, "fences that somebody else has signalled");
    check!(
        state.mapped && state.stale,
        "the importer unmaps before its fence: {state:?}"
    );
    importer.signal().map_err(Stop::failed)?;
    importer.wait_unmapped()?;
    drop(bound);
    driver::wait_node(&pair.exporter.address).map(drop)
}

/// A reset waits for both, and the importer may map again.
pub fn an_importer_unmaps_after_its_fences(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    for kind in [Kind::Dynamic, Kind::UnmapInside] {
        let (buffer, dmabuf) = pair.shared(MIB)?;
        buffer.fill(0, MIB, 0x5555)?;
        let importer = pair.importers.map(&dmabuf, &pair.importer.address, kind)?;
        let start = importer.fence(SHORT, Usage::Bookkeep)?;
        reset(&pair.exporter.address)?;
        let (took, state) = (start.elapsed(), importer.state()?);
        check!(took + TICK >= SHORT, "{kind:?}: the reset took {took:?}");
        check_eq!(state.fences, 0, "{kind:?}");
        check!(!state.mapped, "{kind:?}: {state:?}");
        check!(
            state.unmapped_after.is_some(),
            "{kind:?}: unmapped without being told: {state:?}"
        );
        importer.map().map_err(Stop::failed)?;
        cards::holds_pattern("the buffer", &buffer, 0x5555)?;
    }
    Ok(())
}

/// The exporter's own work is nobody else's, also by its queues and in its VMs:
/// who takes a buffer back neither waits for it nor takes it for an importer's.
pub fn jobs_of_the_exporter_are_not_waited_for(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    // What the jobs wait for has to do with the other device only.
    let slow = Place::Visible.create(&pair.importer.open()?, MIB)?;
    let slow_dmabuf = slow.export()?;
    let importer = pair
        .importers
        .map(&slow_dmabuf, &pair.exporter.address, Kind::Dynamic)?;
    importer.fence(LONG, Usage::Write)?;
    let event = pair.device.syncobj()?;
    event.import_sync_file(&slow_dmabuf.export_sync_file(Access::Read)?)?;

    let (buffer, _dmabuf) = pair.shared(MIB)?;
    let space = Space::new(&pair.device)?;
    space.vm.map(1 << 40, &buffer)?;
    let queues = [space.vm.queue()?, space.vm.queue()?];
    let jobs = queues
        .iter()
        .map(|queue| queue.job().fill(1 << 40, MIB, 1).wait_for(&event).start())
        .collect::<hlrs::Result<Vec<_>>>()?;

    let mut log = Log::from_now()?;
    for (what, take_back) in [
        (
            "a revoke",
            &(|| Ok(buffer.revoke()?)) as &dyn Fn() -> Outcome,
        ),
        ("a reset", &|| reset(&pair.exporter.address)),
    ] {
        let start = Instant::now();
        take_back()?;
        let took = start.elapsed();
        check!(took < QUICK, "{what} took {took:?}");
        check_eq!(log.count("set aside"), 0, "importers that {what} blames");
        for job in &jobs {
            check!(!job.is_done()?, "a job was done before what it waits for");
        }
    }
    buffer.undo_revoke()?;
    importer.signal().map_err(Stop::failed)?;
    for job in jobs {
        job.wait(JOB)?;
    }
    Ok(())
}

/// Somebody waits for work of an importer, with the buffer in hand, for as long
/// as that takes: those who take it back begin at once nevertheless.
pub fn nobody_is_kept_from_taking_memory_back(_: &Context) -> Outcome {
    type Taking<'a> = (&'a str, &'a (dyn Fn(&Buffer) -> Outcome + Sync));
    let pair = Pair::new()?;
    let ways: [Taking<'_>; 2] = [
        ("a revoke", &|buffer| Ok(buffer.revoke()?)),
        ("a reset", &|_| reset(&pair.exporter.address)),
    ];
    for (what, take_back) in ways {
        let (buffer, dmabuf) = pair.shared(MIB)?;
        let (other, _other) = pair.shared(MIB)?;
        let importer = pair
            .importers
            .map(&dmabuf, &pair.importer.address, Kind::Dynamic)?;
        importer.fence(LONG, Usage::Write)?;
        thread::scope(|scope| -> Outcome {
            let waiting = [
                scope.spawn(|| buffer.fill(0, MIB, 1)),
                scope.spawn(|| buffer.crc32c(0, MIB).map(drop)),
                scope.spawn(|| other.copy_from(0, &buffer, 0, MIB)),
            ];
            thread::sleep(BEGIN);
            let taking = scope.spawn(|| take_back(&buffer));
            let told = wait_until("the importer is told", TOLD, || {
                importer.state().is_ok_and(|state| state.invalidations > 0)
            });
            let fences = importer.state()?.fences;
            importer.signal().map_err(Stop::failed)?;
            told.map_err(|stop| stop.during(what.to_owned()))?;
            check_eq!(fences, 1, "{what} began after the work had ended");
            taking
                .join()
                .map_err(|_| Stop::failed("a thread panicked"))??;
            // What a reset has met is said.
            for waiting in waiting {
                let result = waiting
                    .join()
                    .map_err(|_| Stop::failed("a thread panicked"))?;
                check!(what == "a reset" || result.is_ok(), "{what}: {result:?}");
            }
            Ok(())
        })?;
    }
    Ok(())
}
