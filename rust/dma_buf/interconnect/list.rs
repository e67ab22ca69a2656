// SPDX-License-Identifier: GPL-2.0

//! Lists that structures enter and leave in constant time, and that can be static data.
//!
//! C header: [`include/linux/list.h`](srctree/include/linux/list.h): these are its `hlist`s.

use core::{
    cell::UnsafeCell,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};

/// What an element of a list has at offset 0. C: `struct hlist_node`.
#[repr(C)]
pub(super) struct Node {
    next: *mut Node,
    /// What points to this node: the head, or `next` of the one before. Null in no list.
    link: *mut *mut Node,
}

impl Node {
    /// A node that is in no list.
    pub(super) const fn new() -> Self {
        Self {
            next: null_mut(),
            link: null_mut(),
        }
    }
}

/// The head of a list. C: `struct hlist_head`.
///
/// # Invariants
///
/// It is the beginning of a list of valid nodes, which is ended by a null pointer, and each of which
/// knows what points to it. A list that has nodes does not move.
pub(super) struct List {
    first: UnsafeCell<*mut Node>,
}

// SAFETY: The elements belong to no thread; who adds them answers for what else they are.
unsafe impl Send for List {}

impl List {
    pub(super) const fn new() -> Self {
        // INVARIANT: Empty.
        Self {
            first: UnsafeCell::new(null_mut()),
        }
    }

    /// Puts an element in front of the others.
    ///
    /// # Safety
    ///
    /// `node` must be valid, in no list, and stay until it is removed. The list must not move
    /// until then.
    pub(super) unsafe fn add(&mut self, node: NonNull<Node>) {
        let (node, link) = (node.as_ptr(), self.first.get());

        // SAFETY: By the safety requirements and the type invariant. Who has the list exclusively
        // has its nodes.
        // INVARIANT: The node is valid, and the rest of the list follows it.
        unsafe {
            let next = *link;

            *node = Node { next, link };
            if !next.is_null() {
                (*next).link = &raw mut (*node).next;
            }
            *link = node;
        }
    }

    /// Takes an element out. Does nothing if it is in no list.
    ///
    /// # Safety
    ///
    /// `node` must be valid, and in this list if in any.
    pub(super) unsafe fn remove(&mut self, node: NonNull<Node>) {
        let node = node.as_ptr();

        // SAFETY: By the safety requirements and the type invariant. Who has the list exclusively
        // has its nodes.
        // INVARIANT: What follows the node follows what was before it.
        unsafe {
            let Node { next, link } = *node;

            if link.is_null() {
                return;
            }
            *link = next;
            if !next.is_null() {
                (*next).link = link;
            }
            *node = Node::new();
        }
    }

    /// The elements, the youngest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = NonNull<Node>> + '_ {
        // SAFETY: Nobody writes to the list while it is borrowed.
        let mut pos = unsafe { *self.first.get() };

        core::iter::from_fn(move || {
            let node = NonNull::new(pos)?;

            // SAFETY: By the type invariant; as above.
            pos = unsafe { (*node.as_ptr()).next };
            Some(node)
        })
    }
}
