// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a test is given, and what it returns.

use std::fmt;

use super::progress::Rounds;

/// Why a test stopped early.
#[derive(Debug)]
pub enum Stop {
    /// It failed, for this reason.
    Failed(String),
    /// It cannot run here, for this reason.
    Skipped(String),
}

impl Stop {
    pub fn failed(text: impl fmt::Display) -> Stop {
        Stop::Failed(text.to_string())
    }

    pub fn skipped(text: impl fmt::Display) -> Stop {
        Stop::Skipped(text.to_string())
    }

    /// Says what was going on.
    pub fn during(self, what: impl fmt::Display) -> Stop {
        match self {
            Stop::Failed(text) => Stop::Failed(format!("{what}: {text}")),
            Stop::Skipped(text) => Stop::Skipped(format!("{what}: {text}")),
        }
    }
}

impl From<hlrs::Error> for Stop {
    fn from(err: hlrs::Error) -> Self {
        Stop::Failed(err.to_string())
    }
}

impl From<std::io::Error> for Stop {
    fn from(err: std::io::Error) -> Self {
        Stop::Failed(err.to_string())
    }
}

/// Result of a test and of the steps that it is made of.
pub type Outcome<T = ()> = Result<T, Stop>;

/// What a test is given.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Seed of everything random.
    pub seed: u64,
    /// Rounds asked for, if any.
    pub rounds: Option<u32>,
    /// The long version is wanted.
    pub soak: bool,
}

impl Context {
    /// Rounds of a test that does `short` in an ordinary run and `long` in a
    /// soak run, unless another number was asked for.
    pub fn rounds(&self, short: u32, long: u32) -> u32 {
        self.rounds.unwrap_or(if self.soak { long } else { short })
    }

    /// These rounds, counted from 0; a test that takes long says how far it is.
    pub fn each(&self, short: u32, long: u32) -> Rounds {
        Rounds::new(self.rounds(short, long))
    }
}
