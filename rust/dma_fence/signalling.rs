// SPDX-License-Identifier: GPL-2.0

//! Code on which the signalling of fences depends.

use kernel::types::NotThreadSafe;

/// A section in which a task does what some pending fence needs in order to signal.
///
/// In it, the task must not wait for what may in turn wait for a fence: not for fences, not for
/// memory (`GFP_KERNEL` waits for the reclaim of memory, and that for fences), not for locks that
/// others hold while they do so; reservation locks are such. The section does nothing but tell
/// lockdep, which then reports code that breaks these rules on its first run, not when it happens
/// to deadlock.
///
/// Sections may be nested. C: `dma_fence_begin_signalling()`, `dma_fence_end_signalling()`.
#[must_use = "the section ends at once when the value is not used"]
pub struct Signalling {
    cookie: bool,
    _not_send: NotThreadSafe,
}

impl Signalling {
    /// Begins a section, which ends when the value is dropped. Any context.
    #[inline]
    pub fn begin() -> Self {
        Self {
            // SAFETY: No requirements.
            cookie: unsafe { ext_bindings::dma_fence_begin_signalling() },
            _not_send: NotThreadSafe,
        }
    }
}

impl Drop for Signalling {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The section was begun by this task, as the value cannot be sent to another.
        unsafe { ext_bindings::dma_fence_end_signalling(self.cookie) };
    }
}
