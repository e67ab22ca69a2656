// SPDX-License-Identifier: GPL-2.0

//! Time that is cheap to ask for.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use kernel::bindings;

/// When something was, to the second.
///
/// For figures that are shown to people: it takes a load and little room, where
/// [`Instant::now`](kernel::time::Instant::now) reads the clock.
#[derive(Clone, Copy, Debug)]
pub struct Second(u32);

impl Second {
    /// Now. Any context. C: `jiffies`.
    #[inline]
    pub fn now() -> Self {
        // SAFETY: The variable is of the kernel, and only written to elsewhere. A volatile read is
        // what C does with it.
        let jiffies = unsafe { (&raw const bindings::jiffies).read_volatile() };

        // CAST: 136 years fit.
        Self((jiffies / bindings::HZ as usize) as u32)
    }

    /// Seconds since then. Where `unsigned long` has 32 bits it may be that `jiffies` has begun
    /// anew meanwhile: 0 then.
    pub fn elapsed(self) -> u32 {
        Self::now().0.saturating_sub(self.0)
    }
}
