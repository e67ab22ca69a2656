// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests that take long say how far they are.

use std::time::Duration;
use std::time::Instant;

/// How often, so that an ordinary test says nothing.
const PERIOD: Duration = Duration::from_secs(60);

/// Something that is done `total` times.
pub struct Progress {
    total: u32,
    done: u32,
    start: Instant,
    said: Instant,
}

impl Progress {
    pub fn of(total: u32) -> Progress {
        let now = Instant::now();
        Progress {
            total,
            done: 0,
            start: now,
            said: now,
        }
    }

    /// `more` were done.
    pub fn add(&mut self, more: u32) {
        self.done += more;
        if self.said.elapsed() >= PERIOD {
            self.said = Instant::now();
            let seconds = self.start.elapsed().as_secs();
            println!("{} of {} in {seconds} s", self.done, self.total);
        }
    }
}

/// Rounds of a test, counted from 0.
pub struct Rounds {
    progress: Progress,
    next: u32,
}

impl Rounds {
    pub fn new(total: u32) -> Rounds {
        Rounds {
            progress: Progress::of(total),
            next: 0,
        }
    }
}

impl Iterator for Rounds {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.next > 0 {
            self.progress.add(1);
        }
        let round = self.next;
        self.next += 1;
        (round < self.progress.total).then_some(round)
    }
}
