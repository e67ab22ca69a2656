// SPDX-License-Identifier: GPL-2.0

//! Operations on buffers by the kernel's copy queue: copy, fill, checksum, zero.
//!
//! An operation becomes one job, or several if its buffers are in many pieces. The last fence is
//! what others wait for; the queue runs jobs in order. Fences go into the buffers' reservation
//! objects. Those of other devices that are there have to signal first: as long as they have not,
//! operations fail with an [`Obstacle`], for [`when_clear`].

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use kernel_ext::{
    dma_fence::{
        self,
        Fence, //
    },
    dma_resv::{
        self,
        Guard,
        Usage, //
    },
};

use crate::{
    client::Client,
    device::BoundDevice,
    gem::{
        Buffer,
        Segment, //
    },
    prime,
    queue::{
        Address,
        Command,
        CopyQueue,
        Outcome,
        Parties,
        MAX_JOB_COMMANDS, //
    },
};

mod kernel_jobs;
mod obstacle;

pub(crate) use self::kernel_jobs::{
    copy_lmem,
    zero_lmem, //
};
pub(crate) use self::obstacle::{
    check_idle,
    when_clear,
    Obstacle, //
};

/// Most bytes of one operation, and of one command.
pub(crate) const MAX_BYTES: u64 = hlrs_abi::HLRS_CMD_MAX_BYTES;

/// A range of a buffer, bytes.
pub(crate) struct Target {
    pub(crate) buffer: ARef<Buffer>,
    pub(crate) range: Range<u64>,
}

impl Target {
    /// Checks that the range is within the buffer.
    ///
    /// Fails with `EINVAL` if `size` is 0, `E2BIG` beyond [`MAX_BYTES`], `EOVERFLOW` if the sum
    /// is more than 64 bits, `ERANGE` if the range ends beyond the buffer.
    pub(crate) fn new(buffer: ARef<Buffer>, offset: u64, size: u64) -> Result<Self> {
        if size == 0 {
            return Err(EINVAL);
        }
        let end = offset.checked_add(size).ok_or(EOVERFLOW)?;
        if end > buffer.size() as u64 {
            return Err(ERANGE);
        }
        if size > MAX_BYTES {
            return Err(E2BIG);
        }

        Ok(Self {
            buffer,
            range: offset..end,
        })
    }

    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether both have bytes of the same memory, also by different handles.
    fn overlaps(&self, other: &Self) -> bool {
        let (buffer, offset) = self.buffer.backing.origin(&self.buffer);
        let (other_buffer, other_offset) = other.buffer.backing.origin(&other.buffer);

        core::ptr::eq(buffer, other_buffer)
            && offset + self.range.start < other_offset + other.range.end
            && other_offset + other.range.start < offset + self.range.end
    }

    /// Where the range is. Fails with the jobs whose mapping the exporter wants back, too.
    fn segments(
        &self,
        dev: &BoundDevice<'_>,
        guard: &mut Guard<'_>,
    ) -> Result<KVVec<Segment>, Obstacle> {
        self.buffer
            .backing
            .segments(dev, &self.buffer, guard, self.range.start, self.len())
            .map_err(|e| match e {
                prime::STALE => Obstacle::Work(
                    guard
                        .find_pending(Usage::Bookkeep, |fence| dev.is_own(fence))
                        .unwrap_or_else(Fence::signaled_stub),
                ),
                e => e.into(),
            })
    }

    /// Fails with `EACCES` unless the engine may read the buffer.
    fn check_readable(&self) -> Result {
        if self.buffer.backing.access().read {
            return Ok(());
        }
        Err(EACCES)
    }

    /// Fails with `EACCES` unless the engine may write to the buffer.
    fn check_writable(&self) -> Result {
        if self.buffer.backing.access().write {
            return Ok(());
        }
        Err(EACCES)
    }

    /// Finds the work of others that an access has to wait for; ours is in order anyway.
    fn check_others(
        &self,
        dev: &BoundDevice<'_>,
        guard: &Guard<'_>,
        usage: Usage,
    ) -> Result<(), Obstacle> {
        let context = dev.queue.fence_context();

        check_idle(guard, usage, |fence| fence.context() != context)
    }
}

/// An operation that was submitted.
pub(crate) struct Submitted {
    fence: ARef<Fence>,
    outcome: Arc<Outcome>,
}

impl Submitted {
    /// Waits for the end, which a time-out of the job bounds.
    ///
    /// Returns the checksum, if one was computed. Fails with the error of the job, and with
    /// `ERESTARTSYS` if a signal comes; the operation goes on then.
    pub(crate) fn wait(self) -> Result<u32> {
        self.fence.wait_timeout(true, dma_fence::MAX_TIMEOUT)?;
        self.outcome.result()
    }
}

/// Submits commands in as many jobs as they need.
struct Batch<'a> {
    queue: &'a CopyQueue,
    client: Option<&'a Arc<Client>>,
    reads: Option<&'a ARef<Buffer>>,
    writes: Option<&'a ARef<Buffer>>,
    outcome: Arc<Outcome>,
    commands: KVec<Command>,
    last: Option<ARef<Fence>>,
}

impl<'a> Batch<'a> {
    fn new(
        queue: &'a CopyQueue,
        client: Option<&'a Arc<Client>>,
        reads: Option<&'a ARef<Buffer>>,
        writes: Option<&'a ARef<Buffer>>,
    ) -> Result<Self> {
        Ok(Self {
            queue,
            client,
            reads,
            writes,
            outcome: Outcome::new()?,
            commands: KVec::new(),
            last: None,
        })
    }

    fn add(&mut self, command: Command) -> Result {
        self.commands.push(command, GFP_KERNEL)?;
        if self.commands.len() == MAX_JOB_COMMANDS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result {
        if self.commands.is_empty() {
            return Ok(());
        }

        let parties = Parties {
            _reads: self.reads.cloned(),
            writes: self.writes.cloned(),
            client: self.client.cloned(),
            outcome: self.outcome.clone(),
        };
        // A signal may keep an operation from being begun, but not leave it half done.
        let interruptible = self.last.is_none();
        let commands = core::mem::take(&mut self.commands);

        self.last = Some(self.queue.submit(commands, parties, interruptible)?);
        Ok(())
    }

    /// Ends the operation. `fill` has added all commands, or failed.
    ///
    /// Whatever was submitted is in flight and uses the buffers, so that its fence is told to
    /// `publish` also when something failed.
    fn finish(
        mut self,
        fill: impl FnOnce(&mut Self) -> Result,
        publish: impl FnOnce(&Fence) -> Result,
    ) -> Result<Submitted> {
        let result = fill(&mut self).and_then(|()| self.flush());

        let Some(fence) = self.last else {
            result?;
            return Err(EINVAL);
        };
        publish(&fence)?;
        result?;
        Ok(Submitted {
            fence,
            outcome: self.outcome,
        })
    }
}

/// Copies `src` to `dst`, which have the same length and do not overlap.
///
/// Sleeps. Fails with `EINVAL` if they do overlap or differ in length; other errors as
/// [`CopyQueue::submit`].
pub(crate) fn copy(
    dev: &BoundDevice<'_>,
    client: &Arc<Client>,
    src: &Target,
    dst: &Target,
) -> Result<Submitted, Obstacle> {
    if src.len() != dst.len() {
        return Err(EINVAL.into());
    }
    src.check_readable()?;
    dst.check_writable()?;

    if src.overlaps(dst) {
        return Err(EINVAL.into());
    }

    let (src_resv, dst_resv) = (src.buffer.resv(), dst.buffer.resv());
    if core::ptr::eq(src_resv, dst_resv) {
        let mut guard = src_resv.lock_interruptible()?;
        copy_locked(dev, client, src, dst, Guards::Same(&mut guard))
    } else {
        dma_resv::lock_pair(src_resv, dst_resv, |src_guard, dst_guard| {
            copy_locked(dev, client, src, dst, Guards::Pair(src_guard, dst_guard))
        })?
    }
}

/// The locks of the buffers of a copy, which may share one.
enum Guards<'a, 'g> {
    Same(&'a mut Guard<'g>),
    Pair(&'a mut Guard<'g>, &'a mut Guard<'g>),
}

impl<'g> Guards<'_, 'g> {
    fn src(&mut self) -> &mut Guard<'g> {
        match self {
            Self::Same(guard) | Self::Pair(guard, _) => guard,
        }
    }

    fn dst(&mut self) -> &mut Guard<'g> {
        match self {
            Self::Same(guard) | Self::Pair(_, guard) => guard,
        }
    }

    /// Reserves a slot for each fence of [`Guards::publish`].
    fn reserve(&mut self) -> Result {
        match self {
            Self::Same(guard) => guard.reserve_fences(2),
            Self::Pair(src, dst) => {
                src.reserve_fences(1)?;
                dst.reserve_fences(1)
            }
        }
    }

    fn publish(&mut self, fence: &Fence) -> Result {
        self.src().add_fence(fence, Usage::Read)?;
        self.dst().add_fence(fence, Usage::Write)
    }
}

fn copy_locked(
    dev: &BoundDevice<'_>,
    client: &Arc<Client>,
    src: &Target,
    dst: &Target,
    mut guards: Guards<'_, '_>,
) -> Result<Submitted, Obstacle> {
    src.check_others(dev, guards.src(), Usage::dependencies_of(false))?;
    dst.check_others(dev, guards.dst(), Usage::dependencies_of(true))?;

    let src_segments = src.segments(dev, guards.src())?;
    let dst_segments = dst.segments(dev, guards.dst())?;
    guards.reserve()?;

    Batch::new(
        &dev.queue,
        Some(client),
        Some(&src.buffer),
        Some(&dst.buffer),
    )?
    .finish(
        |batch| {
            for_each_pair(&src_segments, &dst_segments, |src, dst, len| {
                batch.add(Command::copy(src, dst, len))
            })
        },
        |fence| guards.publish(fence),
    )
    .map_err(Obstacle::from)
}

/// Fills `dst` with the eight bytes of `pattern`, laid down from the start of the range.
///
/// Sleeps. Errors as [`CopyQueue::submit`].
pub(crate) fn fill(
    dev: &BoundDevice<'_>,
    client: &Arc<Client>,
    dst: &Target,
    pattern: u64,
) -> Result<Submitted, Obstacle> {
    dst.check_writable()?;

    let mut guard = dst.buffer.resv().lock_interruptible()?;
    dst.check_others(dev, &guard, Usage::dependencies_of(true))?;
    let segments = dst.segments(dev, &mut guard)?;
    guard.reserve_fences(1)?;

    Batch::new(&dev.queue, Some(client), None, Some(&dst.buffer))?
        .finish(
            |batch| {
                let mut done = 0u64;

                for segment in &segments {
                    // A segment need not begin where the pattern does.
                    // CAST: Less than 64.
                    let turned = pattern.rotate_right((done % 8 * 8) as u32);

                    for_each_piece(segment, |address, len| {
                        batch.add(Command::fill(address, len, turned))
                    })?;
                    done += segment.len;
                }
                Ok(())
            },
            |fence| guard.add_fence(fence, Usage::Write),
        )
        .map_err(Obstacle::from)
}

/// Computes the CRC-32C of `src`, as if it followed data with the checksum `initial`.
///
/// Sleeps until it is done. Errors as [`CopyQueue::submit`] and [`Submitted::wait`].
pub(crate) fn crc32c(
    dev: &BoundDevice<'_>,
    client: &Arc<Client>,
    src: &Target,
    initial: u32,
) -> Result<u32, Obstacle> {
    src.check_readable()?;

    let mut guard = src.buffer.resv().lock_interruptible()?;
    src.check_others(dev, &guard, Usage::dependencies_of(false))?;
    let segments = src.segments(dev, &mut guard)?;
    guard.reserve_fences(1)?;

    // Each job begins with the result of the one before, which the CPU has to pass on; within a
    // job the engine does it.
    let mut crc = initial;
    let mut pieces = segments.iter().peekable();
    let mut submitted = None;
    while pieces.peek().is_some() {
        if let Some(submitted) = submitted.take() {
            crc = Submitted::wait(submitted)?;
        }

        let batch = Batch::new(&dev.queue, Some(client), Some(&src.buffer), None)?;
        submitted = Some(batch.finish(
            |batch| {
                for (i, piece) in pieces.by_ref().take(MAX_JOB_COMMANDS).enumerate() {
                    batch.add(if i == 0 {
                        Command::crc32c(piece.address, piece.len, crc)
                    } else {
                        Command::crc32c_continued(piece.address, piece.len)
                    })?;
                }
                Ok(())
            },
            |fence| {
                guard.reserve_fences(1)?;
                guard.add_fence(fence, Usage::Read)
            },
        )?);
    }

    drop(guard);
    Ok(submitted.ok_or(EINVAL)?.wait()?)
}

/// Submits a job that never ends by itself; the time-out ends it. For tests. Sleeps.
///
/// Errors as [`CopyQueue::submit`].
pub(crate) fn hang(queue: &CopyQueue) -> Result {
    Batch::new(queue, None, None, None)?
        .finish(|batch| batch.add(Command::hang()), |_| Ok(()))
        .map(|_| ())
}

/// Calls `f` for pieces of a segment that one command can handle.
fn for_each_piece(segment: &Segment, mut f: impl FnMut(Address, u64) -> Result) -> Result {
    let mut done = 0;

    while done < segment.len {
        let len = (segment.len - done).min(MAX_BYTES);
        f(segment.address.add(done), len)?;
        done += len;
    }
    Ok(())
}

/// Calls `f` for pieces that are contiguous on both sides.
fn for_each_pair(
    src: &[Segment],
    dst: &[Segment],
    mut f: impl FnMut(Address, Address, u64) -> Result,
) -> Result {
    let (mut src_index, mut src_done) = (0, 0);
    let (mut dst_index, mut dst_done) = (0, 0);

    while let (Some(s), Some(d)) = (src.get(src_index), dst.get(dst_index)) {
        let len = (s.len - src_done).min(d.len - dst_done).min(MAX_BYTES);

        f(s.address.add(src_done), d.address.add(dst_done), len)?;

        src_done += len;
        if src_done == s.len {
            (src_index, src_done) = (src_index + 1, 0);
        }
        dst_done += len;
        if dst_done == d.len {
            (dst_index, dst_done) = (dst_index + 1, 0);
        }
    }
    Ok(())
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../tests/kunit/hlrs/ops.rs"]
mod tests;
