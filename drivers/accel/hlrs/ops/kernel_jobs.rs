// SPDX-License-Identifier: GPL-2.0

//! Operations of the driver itself on memory that no user has an address of.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};
use kernel_ext::dma_fence;

use super::{
    for_each_pair,
    for_each_piece,
    Batch, //
};
use crate::{
    gem::Segment,
    lmem::Extent,
    queue::{
        Address,
        Command,
        CopyQueue, //
    },
};

/// How often an operation is begun when resets cancel it.
const ATTEMPTS: usize = 4;

/// Zeroes memory that nobody can see yet, and waits for the end. Sleeps.
///
/// When this returns the engine does not write to the memory any more, also after an error. A
/// reset in between is nobody else's business: it is begun again, a few times.
/// Errors as [`CopyQueue::submit`] and [`super::Submitted::wait`].
pub(crate) fn zero_lmem(queue: &CopyQueue, extents: &[Extent]) -> Result {
    run(queue, |batch| {
        extents.iter().try_for_each(|extent| {
            for_each_piece(&segment(extent), |address, len| {
                batch.add(Command::fill(address, len, 0))
            })
        })
    })
}

/// Copies LMEM to other LMEM of the same size, and waits for the end. Sleeps.
///
/// As [`zero_lmem`].
pub(crate) fn copy_lmem(queue: &CopyQueue, from: &[Extent], to: &[Extent]) -> Result {
    let from = segments(from)?;
    let to = segments(to)?;

    run(queue, |batch| {
        for_each_pair(&from, &to, |src, dst, len| {
            batch.add(Command::copy(src, dst, len))
        })
    })
}

fn segments(extents: &[Extent]) -> Result<KVVec<Segment>> {
    let mut segments = KVVec::with_capacity(extents.len(), GFP_KERNEL)?;

    for extent in extents {
        segments.push(segment(extent), GFP_KERNEL)?;
    }
    Ok(segments)
}

fn segment(extent: &Extent) -> Segment {
    Segment {
        address: Address::Lmem(extent.start),
        len: extent.len,
    }
}

/// Runs what `fill` adds, anew when a reset has cancelled it.
fn run(queue: &CopyQueue, fill: impl Fn(&mut Batch<'_>) -> Result) -> Result {
    let mut result = Err(ECANCELED);

    for _ in 0..ATTEMPTS {
        result = try_run(queue, &fill);
        if result != Err(ECANCELED) {
            break;
        }
    }
    result
}

fn try_run(queue: &CopyQueue, fill: impl Fn(&mut Batch<'_>) -> Result) -> Result {
    let mut last = None;

    let result = Batch::new(queue, None, None, None)?.finish(
        |batch| fill(batch),
        |fence| {
            last = Some(ARef::from(fence));
            Ok(())
        },
    );

    if let Some(fence) = last {
        fence.wait_timeout(false, dma_fence::MAX_TIMEOUT)?;
    }
    result?.outcome.result().map(|_| ())
}
