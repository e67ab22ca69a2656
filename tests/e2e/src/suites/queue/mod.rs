// SPDX-License-Identifier: MIT OR Apache-2.0
//! Queues of jobs: order, fences, fairness, faults, and all the ways in which
//! jobs do not come to their end.

mod ended;
mod fair;
mod faults;
mod fences;
mod hang;
mod order;

pub use ended::labour;
pub use ended::stuck;

use hlrs::FenceStatus;
use hlrs::Queue;
use hlrs::Work;

use crate::check;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::wait_until;
use crate::system::JOB;
use crate::system::REACTION;

pub fn tests() -> Vec<Test> {
    let mut tests = order::tests();
    tests.extend(fences::tests());
    tests.extend(fair::tests());
    tests.extend(faults::tests());
    tests.extend(hang::tests());
    tests.extend(ended::tests());
    tests
}

/// Where tests map what they look at.
const BASE: u64 = 0x40_0000_0000;

/// Waits for the end of a job, and says how it has ended.
fn end(work: &Work) -> Outcome<FenceStatus> {
    work.syncobj().wait(JOB)?;
    Ok(work.status()?)
}

/// The queue has no jobs left. Those that have ended may be counted for a moment
/// more.
fn empties(queue: &Queue) -> Outcome {
    wait_until("a queue without jobs", REACTION, || {
        queue.state().is_ok_and(|state| state.pending == 0)
    })
}

/// The job ends with this error.
fn fails(what: &str, work: &Work, errno: hlrs::Errno) -> Outcome {
    let status = end(work)?;
    check!(
        status == FenceStatus::Failed(errno),
        "{what}: {status:?}, expected {errno:?}"
    );
    Ok(())
}
