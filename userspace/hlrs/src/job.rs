// SPDX-License-Identifier: MIT OR Apache-2.0
//! Work in flight.

use std::time::Duration;

use crate::buffer::Buffer;
use crate::error::Result;

/// Work that the device was given, on the buffer that it writes.
///
/// The kernel keeps the buffers of a job until it has ended, and orders later
/// users of them after it. A job may therefore be dropped without waiting; its
/// failure is then reported by the next wait for the buffer.
#[derive(Debug, Clone)]
#[must_use = "wait() tells whether the job succeeded"]
pub struct Job {
    writes: Buffer,
}

impl Job {
    pub(crate) fn new(writes: Buffer) -> Self {
        Job { writes }
    }

    /// The buffer that the job writes.
    pub fn buffer(&self) -> &Buffer {
        &self.writes
    }

    /// Waits for the job, and for everything else that uses its buffer; see
    /// [`Buffer::wait`].
    pub fn wait(self, timeout: Duration) -> Result<()> {
        self.writes.wait(timeout)
    }

    /// Asks whether the buffer is idle, without waiting.
    pub fn is_done(&self) -> Result<bool> {
        match self.writes.wait(Duration::ZERO) {
            Ok(()) => Ok(true),
            Err(err) if err.errno() == Some(crate::Errno::TIME) => Ok(false),
            Err(err) => Err(err),
        }
    }
}
