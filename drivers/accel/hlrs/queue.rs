// SPDX-License-Identifier: GPL-2.0

//! The kernel's own copy queue.
//!
//! - [`command`]: the commands of the engine, as values.
//! - [`ring`]: the ring that the engine reads them from, and the memory it answers to.
//! - [`job`]: some commands, and what is to happen when they are done.
//! - [`state`]: the jobs in flight.
//! - [`copy_queue`]: submission, completion, time-outs, faults, resets.

mod command;
mod copy_queue;
mod job;
mod ring;
mod state;

pub(crate) use self::command::{
    Address,
    Command, //
};
pub(crate) use self::copy_queue::{
    CopyQueue,
    MAX_JOB_COMMANDS,
    QUEUE_BIT,
    VECTOR, //
};
pub(crate) use self::job::{
    Outcome,
    Parties, //
};
pub(crate) use self::ring::{
    Config,
    Fault,
    Ring,
    FRAME, //
};
