// SPDX-License-Identifier: GPL-2.0

//! Mappings that the exporter wants back, and that jobs still use.
//!
//! They are undone when these jobs have ended. Until then there can be no other mapping, and so no
//! further job; it has to wait, but not with the locks that the exporter takes.

use kernel::{
    current,
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
};
use kernel_ext::dma_buf::Deadline;

use super::state::Reason;
use crate::device::HlrsDevice;

/// What mapping fails with meanwhile; no exporter does.
pub(crate) const STALE: Error = EINPROGRESS;

/// How often to try again.
const RETRY: Delta = Delta::from_millis(2);

/// How long, milliseconds. Jobs time out themselves.
const TIMEOUT_MS: u32 = 60_000;

/// The patience of one who wants to map memory for a job.
pub(crate) struct Patience<'a> {
    dev: &'a HlrsDevice,
    deadline: Deadline,
}

impl<'a> Patience<'a> {
    /// All of it. `dev` is the one that maps.
    pub(crate) fn new(dev: &'a HlrsDevice) -> Self {
        Self {
            dev,
            deadline: Deadline::new(TIMEOUT_MS),
        }
    }

    /// Mapping has failed with [`STALE`]: waits before it is tried again. Sleeps; must be called
    /// without reservation locks.
    ///
    /// Fails with `ENODEV` if the driver is being unbound, `ERESTARTSYS` if a signal comes,
    /// `ETIMEDOUT`.
    pub(crate) fn wait(&self) -> Result {
        if self.dev.exports.blocked.has(Reason::Gone) {
            return Err(ENODEV);
        }
        if current!().signal_pending() {
            return Err(ERESTARTSYS);
        }
        if self.deadline.is_over() {
            return Err(ETIMEDOUT);
        }
        fsleep(RETRY);
        Ok(())
    }
}

/// Calls `f`, which maps memory, until that does not fail with [`STALE`]. `error` tells what the
/// error of `f` is. Sleeps; no reservation may be held. Fails as `f` and [`Patience::wait`] do.
pub(crate) fn while_stale<T, E: From<Error>>(
    dev: &HlrsDevice,
    mut f: impl FnMut() -> Result<T, E>,
    error: impl Fn(&E) -> Error,
) -> Result<T, E> {
    let patience = Patience::new(dev);

    loop {
        match f() {
            Err(e) if error(&e) == STALE => patience.wait()?,
            result => return result,
        }
    }
}
