// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why the demonstration did not succeed.

use std::fmt;

/// Result of the demonstration's steps.
pub type Result<T> = std::result::Result<T, Failure>;

/// One sentence for the person who ran it.
#[derive(Debug)]
pub struct Failure(pub String);

impl Failure {
    /// Puts the step that failed before the reason.
    pub fn during(step: impl fmt::Display) -> impl FnOnce(hlrs::Error) -> Failure {
        move |err| Failure(format!("{step}: {err}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<hlrs::Error> for Failure {
    fn from(err: hlrs::Error) -> Self {
        Failure(err.to_string())
    }
}
