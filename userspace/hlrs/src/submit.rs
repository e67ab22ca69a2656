// SPDX-License-Identifier: MIT OR Apache-2.0
//! Jobs: what commands are made of, and submitting them.

use std::sync::Arc;
use std::time::Duration;

use hlrs_sys as sys;

use crate::error::Cause;
use crate::error::Detail;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;
use crate::queue::Work;
use crate::syncobj::SyncPoint;
use crate::vm::Shared;

/// Something for the engine to do. Addresses are those of the address space that
/// the queue belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Copies bytes; the ranges must not overlap.
    Copy {
        /// Where from.
        src: u64,
        /// Where to.
        dst: u64,
        /// Bytes, 1 to 2^32.
        size: u64,
    },
    /// Repeats eight bytes, little-endian.
    Fill {
        /// Where.
        dst: u64,
        /// Bytes, 1 to 2^32.
        size: u64,
        /// What is repeated.
        pattern: u64,
    },
    /// Writes the CRC-32C of a range as two 32-bit words, the checksum and 1.
    Crc32c {
        /// The range.
        src: u64,
        /// Bytes, 1 to 2^32.
        size: u64,
        /// Where the result goes.
        dst: u64,
        /// The checksum of what comes before the range, or 0.
        initial: u32,
    },
    /// Writes a value and the device time in nanoseconds, 64 bits each.
    Fence {
        /// Where; a multiple of 16.
        dst: u64,
        /// The value.
        value: u64,
    },
    /// Never ends; for tests, and for the administrator only.
    Hang,
}

impl Command {
    /// The structure that the kernel is given.
    pub fn raw(&self) -> sys::drm_hlrs_command {
        let (op, src, dst, size, data) = match *self {
            Command::Copy { src, dst, size } => (sys::DRM_HLRS_COMMAND_COPY, src, dst, size, 0),
            Command::Fill { dst, size, pattern } => {
                (sys::DRM_HLRS_COMMAND_FILL, 0, dst, size, pattern)
            }
            Command::Crc32c {
                src,
                size,
                dst,
                initial,
            } => (
                sys::DRM_HLRS_COMMAND_CRC32C,
                src,
                dst,
                size,
                u64::from(initial),
            ),
            Command::Fence { dst, value } => (sys::DRM_HLRS_COMMAND_FENCE, 0, dst, 0, value),
            Command::Hang => (sys::DRM_HLRS_COMMAND_HANG, 0, 0, 0, 0),
        };
        sys::drm_hlrs_command {
            op,
            src,
            dst,
            size,
            data,
            ..Default::default()
        }
    }
}

/// A job to be: commands that run in their order; from
/// [`Queue::job`](crate::Queue::job).
#[derive(Clone)]
#[must_use = "nothing runs before submit(), start() or run()"]
pub struct Submission<'a> {
    vm: &'a Arc<Shared>,
    queue: u32,
    commands: Vec<Command>,
    syncs: Vec<(SyncPoint<'a>, bool)>,
}

impl<'a> Submission<'a> {
    pub(crate) fn new(vm: &'a Arc<Shared>, queue: u32) -> Self {
        Submission {
            vm,
            queue,
            commands: Vec::new(),
            syncs: Vec::new(),
        }
    }

    /// Adds a command.
    pub fn command(mut self, command: Command) -> Self {
        self.commands.push(command);
        self
    }

    /// Adds commands.
    pub fn commands(mut self, commands: impl IntoIterator<Item = Command>) -> Self {
        self.commands.extend(commands);
        self
    }

    /// Adds [`Command::Copy`].
    pub fn copy(self, src: u64, dst: u64, size: u64) -> Self {
        self.command(Command::Copy { src, dst, size })
    }

    /// Adds [`Command::Fill`].
    pub fn fill(self, dst: u64, size: u64, pattern: u64) -> Self {
        self.command(Command::Fill { dst, size, pattern })
    }

    /// Adds [`Command::Crc32c`] of a range by itself.
    pub fn crc32c(self, src: u64, size: u64, dst: u64) -> Self {
        self.command(Command::Crc32c {
            src,
            size,
            dst,
            initial: 0,
        })
    }

    /// Adds [`Command::Fence`].
    pub fn fence(self, dst: u64, value: u64) -> Self {
        self.command(Command::Fence { dst, value })
    }

    /// Begins after a fence.
    pub fn wait_for(mut self, point: impl Into<SyncPoint<'a>>) -> Self {
        self.syncs.push((point.into(), false));
        self
    }

    /// Gives a syncobj the fence of the job.
    pub fn signal(mut self, point: impl Into<SyncPoint<'a>>) -> Self {
        self.syncs.push((point.into(), true));
        self
    }

    /// Queues the job.
    ///
    /// When a buffer that was taken out of the address space cannot be mapped
    /// again this fails with `EFAULT`, and [`Error::fault_va`] is where it was.
    pub fn submit(self) -> Result<()> {
        let syncs = self.syncs.iter();
        let syncs = syncs
            .map(|(point, signal)| point.raw(&self.vm.device, *signal))
            .collect::<std::result::Result<Vec<_>, _>>();
        let syncs = syncs.map_err(|cause| self.failed(None, cause))?;
        let commands: Vec<_> = self.commands.iter().map(Command::raw).collect();
        let mut arg = sys::drm_hlrs_queue_submit {
            queue_id: self.queue,
            commands: commands.as_ptr() as u64,
            syncs: syncs.as_ptr() as u64,
            // Those that do not fit into 32 bits do not fit into memory.
            num_commands: u32::try_from(commands.len()).unwrap_or(u32::MAX),
            num_syncs: u32::try_from(syncs.len()).unwrap_or(u32::MAX),
            fault_va: u64::MAX,
            ..Default::default()
        };
        // SAFETY: `commands` and `syncs` designate as many elements as are told,
        // and are read only.
        unsafe { ioctl::call(self.vm.fd(), &mut arg) }.map_err(|errno| {
            let va = (arg.fault_va != u64::MAX).then_some(arg.fault_va);
            self.failed(va, Cause::System(errno))
        })
    }

    /// Queues the job and returns its fence.
    pub fn start(self) -> Result<Work> {
        let done = self.vm.device.syncobj()?;
        self.signal(&done).submit()?;
        Ok(Work::new(done))
    }

    /// Queues the job, waits for its end, and tells if it failed.
    pub fn run(self, timeout: Duration) -> Result<()> {
        self.start()?.wait(timeout)
    }

    fn failed(&self, va: Option<u64>, cause: Cause) -> Error {
        let mut what = format!("{} commands", self.commands.len());
        if let Some(va) = va {
            what += &format!(", a buffer at {va:#x}");
        }
        let err = Error::new(Operation::Submit, what, cause);
        match va {
            Some(va) => err.with_detail(Detail::Va(va)),
            None => err,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command does not name is zero, as the interface demands.
    #[test]
    fn commands_name_what_they_use() {
        let raw = Command::Fence { dst: 32, value: 7 }.raw();
        assert_eq!(raw.op, sys::DRM_HLRS_COMMAND_FENCE);
        assert_eq!((raw.src, raw.dst, raw.size, raw.data), (0, 32, 0, 7));
        let raw = Command::Fill {
            dst: 1,
            size: 2,
            pattern: 3,
        }
        .raw();
        assert_eq!((raw.src, raw.dst, raw.size, raw.data), (0, 1, 2, 3));
        let raw = Command::Hang.raw();
        assert_eq!((raw.src, raw.dst, raw.size, raw.data), (0, 0, 0, 0));
    }
}
