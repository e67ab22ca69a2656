// SPDX-License-Identifier: GPL-2.0
//! What of the kernel's prelude the code under test uses. Allocations can be made to fail.

use std::{
    cell::Cell,
    ops::{Deref, DerefMut},
};

/// An error, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(&'static str);

/// As in the kernel.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// Invalid argument.
pub const EINVAL: Error = Error("EINVAL");
/// Out of memory.
pub const ENOMEM: Error = Error("ENOMEM");
/// No space left.
pub const ENOSPC: Error = Error("ENOSPC");
/// Out of range.
pub const ERANGE: Error = Error("ERANGE");
/// Too large.
pub const EOVERFLOW: Error = Error("EOVERFLOW");

/// How to allocate.
#[derive(Clone, Copy)]
pub struct Flags;

/// The only way.
pub const GFP_KERNEL: Flags = Flags;

/// An allocation that failed.
#[derive(Debug)]
pub struct AllocError;

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        ENOMEM
    }
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static FAIL_AT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// The number of allocations of this thread so far.
pub fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Makes the allocation fail that comes after `after` others; [`u64::MAX`] for none.
pub fn fail_allocation(after: u64) {
    FAIL_AT.set(ALLOCATIONS.get().saturating_add(after));
}

fn allocate() -> Result<(), AllocError> {
    let number = ALLOCATIONS.get();

    ALLOCATIONS.set(number + 1);
    if number == FAIL_AT.get() {
        return Err(AllocError);
    }
    Ok(())
}

/// A box.
pub struct KBox<T>(Box<T>);

impl<T> KBox<T> {
    /// Allocates.
    pub fn new(value: T, _flags: Flags) -> Result<Self, AllocError> {
        allocate()?;
        Ok(Self(Box::new(value)))
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A vector.
pub struct KVec<T>(Vec<T>);

/// The same for large ones.
pub type KVVec<T> = KVec<T>;

impl<T> KVec<T> {
    /// Does not allocate.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Allocates room.
    pub fn with_capacity(capacity: usize, _flags: Flags) -> Result<Self, AllocError> {
        allocate()?;
        Ok(Self(Vec::with_capacity(capacity)))
    }

    /// Adds to the end; allocates if there is no room.
    pub fn push(&mut self, value: T, _flags: Flags) -> Result<(), AllocError> {
        if self.0.len() == self.0.capacity() {
            allocate()?;
        }
        self.0.push(value);
        Ok(())
    }

    /// Inserts if there is room.
    pub fn insert_within_capacity(&mut self, index: usize, value: T) -> Result<(), T> {
        if index > self.0.len() || self.0.len() == self.0.capacity() {
            return Err(value);
        }
        self.0.insert(index, value);
        Ok(())
    }

    /// Takes the last.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
