// SPDX-License-Identifier: GPL-2.0

//! Queues of user space, and the engines that do their work.
//!
//! - [`queue`]: a queue: DRM scheduler, submission.
//! - [`work`]: what a job asks of an engine.
//! - [`engines`], [`engine`]: the hardware queues, completion, faults, time-outs, resets.
//! - [`turns`]: whose turn it is.
//! - [`timelines`]: whose fences are those of the device.
//! - [`crash`]: what is kept of a job that failed.

mod crash;
mod engine;
mod engines;
mod queue;
mod timelines;
mod turns;
mod work;

pub(crate) use self::engines::Engines;
pub(crate) use self::queue::Queue;
pub(crate) use self::timelines::{
    Timeline,
    Timelines, //
};
pub(crate) use self::turns::Turn;

/// Most commands of a job.
pub(crate) const MAX_COMMANDS: usize = hlrs_abi::DRM_HLRS_MAX_COMMANDS as usize;

/// MSI-X vector of the fences of user space's work.
pub(crate) const VECTOR: u32 = crate::queue::VECTOR + 1;

/// Bits of the hardware queues that work for user space in `QUEUE_IRQ`.
pub(crate) const QUEUE_BITS: u32 =
    ((1 << hlrs_abi::HLRS_NR_COPY_QUEUES) - 1) & !crate::queue::QUEUE_BIT;
