// SPDX-License-Identifier: GPL-2.0

//! Tables of structures that are found by an address.

use kernel::ffi::c_void;

use core::ptr::{
    null_mut,
    NonNull, //
};

/// Number of chains; a power of two.
const CHAINS: usize = 64;

/// What an entry of a table begins with.
#[repr(C)]
pub(super) struct Node {
    next: *mut Node,
    key: *const c_void,
}

impl Node {
    /// A node that is in no table yet.
    pub(super) const fn new(key: *const c_void) -> Self {
        Self {
            next: null_mut(),
            key,
        }
    }
}

/// Entries, each with a [`Node`] at offset 0, found by the address that is their key.
///
/// # Invariants
///
/// Each chain is a list of valid nodes, which is ended by a null pointer.
pub(super) struct Table {
    chains: [*mut Node; CHAINS],
}

// SAFETY: The entries belong to no thread; who adds them answers for what else they are.
unsafe impl Send for Table {}

impl Table {
    pub(super) const fn new() -> Self {
        // INVARIANT: All chains are empty.
        Self {
            chains: [null_mut(); CHAINS],
        }
    }

    fn chain(key: *const c_void) -> usize {
        // Addresses of a slab differ from bit 5 on, those of static data in all.
        let address = key as usize;

        (address >> 5 ^ address >> 11) % CHAINS
    }

    /// Adds an entry.
    ///
    /// # Safety
    ///
    /// `node` must be valid, in no table, and stay until it is removed.
    pub(super) unsafe fn add(&mut self, node: NonNull<Node>) {
        // SAFETY: By the safety requirements the node is valid, and nobody else has it.
        let node = unsafe { &mut *node.as_ptr() };
        let chain = &mut self.chains[Self::chain(node.key)];

        node.next = *chain;
        // INVARIANT: The node is valid, and the rest of the chain follows it.
        *chain = node;
    }

    /// The entry whose key is `key`.
    #[inline]
    pub(super) fn find(&self, key: *const c_void) -> Option<NonNull<Node>> {
        let mut pos = self.chains[Self::chain(key)];

        while let Some(node) = NonNull::new(pos) {
            // SAFETY: By the type invariant.
            let Node { next, key: found } = unsafe { node.as_ref() };

            if *found == key {
                return Some(node);
            }
            pos = *next;
        }
        None
    }

    /// Takes the entry whose key is `key` out of the table.
    pub(super) fn remove(&mut self, key: *const c_void) -> Option<NonNull<Node>> {
        let mut link: *mut *mut Node = &mut self.chains[Self::chain(key)];

        loop {
            // SAFETY: It points to the head of the chain or into a node of it.
            let node = NonNull::new(unsafe { *link })?;

            // SAFETY: By the type invariant.
            if unsafe { node.as_ref() }.key == key {
                // SAFETY: As above.
                // INVARIANT: What follows the node follows what was before it.
                unsafe { *link = node.as_ref().next };
                return Some(node);
            }
            // SAFETY: As above.
            link = unsafe { &raw mut (*node.as_ptr()).next };
        }
    }
}
