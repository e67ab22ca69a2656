// SPDX-License-Identifier: GPL-2.0

//! Data that a reservation object protects.

use super::{
    DmaResv,
    Guard, //
};
use kernel::prelude::*;

use core::cell::UnsafeCell;

/// A value that is accessed with the lock of one reservation object only.
///
/// It takes one word more than the value: the address of the reservation object, which is compared
/// and nothing else, so that the cell may outlive it.
pub struct ResvCell<T> {
    resv: *const DmaResv,
    value: UnsafeCell<T>,
}

// SAFETY: Who has the cell may have the value; the pointer is only compared.
unsafe impl<T: Send> Send for ResvCell<T> {}

// SAFETY: References to the value exist only as long as the lock is held, which one thread does at
// a time: two reservation objects that exist at the same time have different addresses.
unsafe impl<T: Send> Sync for ResvCell<T> {}

impl<T> ResvCell<T> {
    /// A value that is protected by the lock of `resv`.
    #[inline]
    pub fn new(resv: &DmaResv, value: T) -> Self {
        Self {
            resv,
            value: UnsafeCell::new(value),
        }
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `guard` is that of another reservation object.
    #[inline]
    pub fn get_mut<'a>(&'a self, guard: &'a mut Guard<'_>) -> Result<&'a mut T> {
        if !core::ptr::eq(self.resv, guard.resv()) {
            return Err(EINVAL);
        }

        // SAFETY: The lock is held by this thread during `'a`, and its guard is borrowed
        // exclusively. Another guard of the same lock is only ever made for somebody who is called
        // with the lock held, and is called with the first borrowed exclusively, or for as long as
        // the first is lent.
        Ok(unsafe { &mut *self.value.get() })
    }
}
