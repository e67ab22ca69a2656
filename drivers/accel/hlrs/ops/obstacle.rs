// SPDX-License-Identifier: GPL-2.0

//! Work of others that has to end first.
//!
//! It ends when its driver says, which may take long, and those who take a buffer back or unplug
//! the device must not have to wait for that: it is waited for with no lock held, outside of the
//! section in which the device cannot be unplugged, and then everything is looked at anew.

use kernel::{
    prelude::*,
    sync::aref::ARef,
    time::msecs_to_jiffies, //
};
use kernel_ext::{
    dma_buf::Deadline,
    dma_fence::Fence,
    dma_resv::{
        Guard,
        Usage, //
    },
};

use crate::device::{
    BoundDevice,
    HlrsDevice, //
};

/// How long is waited with the lock held, milliseconds.
///
/// Nobody adds work meanwhile: otherwise somebody whose jobs follow one another could keep the
/// others out for ever.
const HELD_MS: u32 = 20;

/// How often to look whether the device is still there, milliseconds.
const LOOK_MS: u32 = 100;

/// Why something was not begun.
pub(crate) enum Obstacle {
    /// It fails.
    Error(Error),
    /// Something has to end first.
    Work(ARef<Fence>),
}

impl From<Error> for Obstacle {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Finds out whether there is work of `usage`, or of those before it, whose fence `counts`.
///
/// `guard` is that of the buffer: nothing is added while it is held. Sleeps, but not for long.
/// Fails with the work, and with `ERESTARTSYS` if a signal comes.
pub(crate) fn check_idle(
    guard: &Guard<'_>,
    usage: Usage,
    counts: impl Fn(&Fence) -> bool,
) -> Result<(), Obstacle> {
    let deadline = Deadline::new(HELD_MS);

    while let Some(fence) = guard.find_pending(usage, &counts) {
        if deadline.is_over() {
            return Err(Obstacle::Work(fence));
        }
        match fence.wait_timeout(true, deadline.left_jiffies()) {
            Ok(_) => {}
            Err(e) if e == ETIMEDOUT => return Err(Obstacle::Work(fence)),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Calls `f` with the device until no work is in the way any more, for at most `timeout_ms`
/// milliseconds if that is given. Sleeps; must be called without locks that others wait for.
///
/// Fails as `f` does, with `ENODEV` if the device goes, with `ERESTARTSYS` if a signal comes, with
/// `ETIMEDOUT`.
pub(crate) fn when_clear<R>(
    dev: &HlrsDevice,
    timeout_ms: Option<u32>,
    mut f: impl FnMut(&BoundDevice<'_>) -> Result<R, Obstacle>,
) -> Result<R> {
    let deadline = timeout_ms.map(Deadline::new);

    loop {
        let result = f(&dev.enter().ok_or(ENODEV)?);
        let fence = match result {
            Ok(result) => return Ok(result),
            Err(Obstacle::Error(e)) => return Err(e),
            Err(Obstacle::Work(fence)) => fence,
        };

        // What has come to nothing by then is found by the next call.
        match fence.wait_timeout(true, msecs_to_jiffies(LOOK_MS)) {
            Err(e) if e != ETIMEDOUT => return Err(e),
            // There may be other work by now, again and again.
            _ if deadline.as_ref().is_some_and(Deadline::is_over) => return Err(ETIMEDOUT),
            _ => {}
        }
    }
}
