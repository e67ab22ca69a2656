// SPDX-License-Identifier: GPL-2.0

//! Random numbers that can be had again.
//!
//! A module that includes this has the parameters `seed` and `rounds`, see `ext_drm.rs`;
//! `tools/guest/hlrs-kunit` sets them from `SEED=` and `ROUNDS=` of `make test`.

use crate::module_parameters;
use kernel::{
    bindings,
    prelude::*, //
};

/// Numbers of Marsaglia's xorshift generator.
pub(crate) struct Random(u64);

impl Random {
    /// Begins with the seed that the module was given, or with a new one, and says which.
    pub(crate) fn new(test: &str) -> Self {
        let seed = match module_parameters::seed.value() {
            // SAFETY: No requirements.
            0 => u64::from(unsafe { bindings::get_random_u32() }) + 1,
            seed => seed,
        };

        pr_info!("{test}: seed {seed}\n");
        Self::with_seed(seed)
    }

    /// Begins with a seed.
    pub(crate) fn with_seed(seed: u64) -> Self {
        // Close seeds give far sequences, and the state is never 0.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }
}

/// How many rounds a random test does: as many as the module was told, or `default`.
pub(crate) fn rounds(default: u32) -> u32 {
    match module_parameters::rounds.value() {
        0 => default,
        rounds => rounds,
    }
}
