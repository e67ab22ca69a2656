// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a cost is measured: in batches, of which the median counts, because
//! interrupts of the guest's timer lengthen a few.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Operations of a batch.
pub const OPERATIONS: u32 = 400;

/// Batches that count. Another one before them warms up.
pub const BATCHES: usize = 15;

/// The cost of one operation of each, in instructions, measured in turn.
pub fn in_turn(
    mut ours: impl FnMut() -> io::Result<f64>,
    mut peer: impl FnMut() -> io::Result<f64>,
) -> io::Result<(f64, f64)> {
    let mut costs = (Vec::new(), Vec::new());

    for batch in 0..=BATCHES {
        let pair = (ours()?, peer()?);
        if batch > 0 {
            costs.0.push(pair.0);
            costs.1.push(pair.1);
        }
    }
    Ok((median(costs.0), median(costs.1)))
}

/// The cost of one operation of one that cannot be there at the same time as
/// the other.
pub fn alone(mut batch: impl FnMut() -> io::Result<f64>) -> io::Result<f64> {
    batch()?;
    let costs: io::Result<Vec<f64>> = (0..BATCHES).map(|_| batch()).collect();

    Ok(median(costs?))
}

/// A batch of operations that leave nothing behind.
pub fn batch(operation: &mut impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let start = Instant::now();

    for _ in 0..OPERATIONS {
        operation()?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(OPERATIONS))
}

/// A batch of operations whose results are dropped when the clock has stopped.
pub fn batch_keeping<T>(operation: &mut impl FnMut() -> io::Result<T>) -> io::Result<f64> {
    batch_over(0..OPERATIONS, &mut |_| operation())
}

/// As [`batch_keeping`], with one operation for each thing that there is.
pub fn batch_over<I, T>(
    things: impl ExactSizeIterator<Item = I>,
    operation: &mut impl FnMut(I) -> io::Result<T>,
) -> io::Result<f64> {
    let count = things.len();
    let mut kept = Vec::with_capacity(count);
    let start = Instant::now();

    for thing in things {
        kept.push(operation(thing)?);
    }
    let cost = start.elapsed().as_nanos() as f64 / count as f64;

    drop(kept);
    settle();
    Ok(cost)
}

/// Waits for what the kernel does later, such as freeing after a grace period.
/// Idle time costs nothing: the guest's clock jumps over it.
pub fn settle() {
    sleep(Duration::from_millis(200));
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}
