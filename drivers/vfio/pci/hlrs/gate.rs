// SPDX-License-Identifier: GPL-2.0

//! Whether importers get mappings.

use core::sync::atomic::{
    AtomicU32,
    Ordering, //
};

/// Whether the memory of a function can be accessed now.
///
/// The lowest bit says that it is switched off; above it is the number of calls that go on and during
/// which it may be. It is one number, so that there is no moment between the two: a call that switches
/// the memory off ends after the bit was set.
///
/// A call is counted before the reservation lock of a dma-buf is taken for the last time in order to
/// invalidate what is mapped, and mappings are made with that lock held: each mapping either is
/// invalidated or is refused.
pub(crate) struct Gate(AtomicU32);

const DISABLED: u32 = 1;
const CALL: u32 = 2;

impl Gate {
    /// Switched off: nobody has opened the function.
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(DISABLED))
    }

    /// A call begins. Any context.
    pub(crate) fn begin(&self) {
        self.0.fetch_add(CALL, Ordering::SeqCst);
    }

    /// A call ends. Any context.
    pub(crate) fn end(&self) {
        self.0.fetch_sub(CALL, Ordering::SeqCst);
    }

    /// The memory is on or off when there is no call. Any context.
    pub(crate) fn set_enabled(&self, enabled: bool) {
        if enabled {
            self.0.fetch_and(!DISABLED, Ordering::SeqCst);
        } else {
            self.0.fetch_or(DISABLED, Ordering::SeqCst);
        }
    }

    /// Whether the memory can be accessed. Any context.
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}
