// SPDX-License-Identifier: MIT OR Apache-2.0
//! Implicit synchronisation, from outside: the fences of a dma-buf as sync
//! files.

use hlrs::Access;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        a_sync_file_has_the_jobs: 120,
        a_sync_file_for_reading_leaves_readers_out: 120,
        a_job_waits_for_a_sync_file: 120,
    ]
}

const SIZE: u64 = 16 * MIB;

fn a_sync_file_has_the_jobs(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let buffer = Place::Visible.create(&a, SIZE)?;
    let dmabuf = buffer.dma_buf().range(SIZE - MIB, MIB).create()?;
    check!(
        dmabuf.export_sync_file(Access::ReadWrite)?.is_done()?,
        "an idle dma-buf has fences"
    );
    let window = b.import(&dmabuf)?;
    let map = dmabuf.map()?;
    let mut seen = false;
    let rounds = u64::from(context.rounds(4, 500));
    // On a busy machine it may take some until a job is still in flight.
    for round in 0..rounds.max(100) {
        if round >= rounds && seen {
            break;
        }
        // Of the exporter and of the importer.
        for n in 0..8 {
            let _busy = buffer.fill_async(0, SIZE, n)?;
        }
        let _last = match round % 2 {
            0 => buffer.fill_async(0, SIZE, !round)?,
            _ => window.fill_async(0, MIB, !round)?,
        };
        let fence = dmabuf.export_sync_file(Access::Read)?;
        seen |= !fence.is_done()?;
        fence.wait(JOB)?;
        check!(fence.is_done()?, "not done after the wait");
        let end = map.to_vec(MIB as usize - 8, 8)?;
        check_eq!(end, (!round).to_le_bytes(), "round {round}");
    }
    check!(
        seen,
        "no job was ever in flight when the fence was asked for"
    );
    Ok(())
}

fn a_sync_file_for_reading_leaves_readers_out(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let buffer = Place::Visible.create(&a, SIZE)?;
    let dmabuf = buffer.dma_buf().create()?;
    let window = b.import(&dmabuf)?;
    let target = Place::Visible.create(&b, SIZE)?;
    let map = target.map()?;
    buffer.fill(0, SIZE, 0x55)?;
    let mut seen = false;
    for _ in 0..100 {
        target.fill(0, SIZE, 0)?;
        for _ in 0..8 {
            let _read = target.copy_from_async(0, &window, 0, SIZE)?;
        }
        let (read, write) = (
            dmabuf.export_sync_file(Access::Read)?,
            dmabuf.export_sync_file(Access::Write)?,
        );
        check!(read.is_done()?, "who reads waits for readers");
        seen |= !write.is_done()?;
        write.wait(JOB)?;
        let end = map.to_vec(SIZE as usize - 8, 8)?;
        check_eq!(end, 0x55u64.to_le_bytes(), "what the readers have copied");
        if seen {
            return Ok(());
        }
    }
    check!(seen, "no reader was ever in flight");
    Ok(())
}

/// The fence of work on one buffer, added to another one.
fn a_job_waits_for_a_sync_file(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let slow = Place::Visible.create(&b, SIZE)?;
    let slow_dmabuf = slow.dma_buf().create()?;
    let quick = Place::Visible.create(&a, MIB)?;
    let quick_dmabuf = quick.dma_buf().range(0, MIB / 2).create()?;
    let mut seen = [false; 2];
    let rounds = context.rounds(2, 200);
    for round in 0..rounds.max(100) {
        if round >= rounds && seen == [true; 2] {
            break;
        }
        for (n, access) in [Access::Write, Access::Read].into_iter().enumerate() {
            let jobs = (0..16)
                .map(|n| slow.fill_async(0, SIZE, n))
                .collect::<hlrs::Result<Vec<_>>>()?;
            let fence = slow_dmabuf.export_sync_file(Access::Write)?;
            quick_dmabuf.import_sync_file(&fence, access)?;
            seen[n] |= !fence.is_done()?;
            // A job that writes waits for those that read, and for others.
            quick.fill(0, 8, 1)?;
            check!(
                fence.is_done()? && jobs[15].is_done()?,
                "{access:?}: a job did not wait for a fence that was added"
            );
        }
    }
    check!(
        seen == [true; 2],
        "the work was always done at once: {seen:?}"
    );

    // It is one more user of the buffer.
    for n in 0..16 {
        let _job = slow.fill_async(0, SIZE, n)?;
    }
    let fence = slow_dmabuf.export_sync_file(Access::Write)?;
    quick_dmabuf.import_sync_file(&fence, Access::Write)?;
    quick.wait(JOB)?;
    check!(fence.is_done()?, "the wait left out a fence that was added");
    let not_a_fence = hlrs::SyncFile::from(std::os::fd::OwnedFd::from(quick_dmabuf.try_clone()?));
    let refused = quick_dmabuf.import_sync_file(&not_a_fence, Access::Write);
    check_errno!(refused, INVAL);
    Ok(())
}
