// SPDX-License-Identifier: GPL-2.0

//! What a device has exported, so that all of it can be revoked.

use super::{
    export::header_of,
    DmaBuf, //
};
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

use core::ptr::{
    null_mut,
    NonNull, //
};

/// The dma-bufs that somebody has exported by [`ExportPlace::export_listed`](super::ExportPlace::export_listed) and that still exist.
///
/// The list does not keep them alive. Adding and removing take constant time and no memory.
///
/// # Invariants
///
/// `head` is the head of a list of [`Link`]s, protected by `lock`. The private data of the dma-buf
/// of each has not been dropped.
#[pin_data]
pub struct ExportList {
    #[pin]
    lock: Mutex<()>,
    #[pin]
    head: Opaque<bindings::list_head>,
}

// SAFETY: The list is protected by its lock.
unsafe impl Send for ExportList {}

// SAFETY: As above.
unsafe impl Sync for ExportList {}

/// A place in a list; part of the private data of a dma-buf. Dropping it gives the place back.
///
/// # Invariants
///
/// If there is a list, then `node` is on it, `dma_buf` is the dma-buf whose private data contains
/// this, and nothing but `node` is written to any more. The list is valid until this is dropped.
pub(super) struct Link {
    node: Opaque<bindings::list_head>,
    list: Option<NonNull<ExportList>>,
    dma_buf: *mut bindings::dma_buf,
}

// SAFETY: The pointer to the dma-buf is used only to take a reference, under the lock of the list,
// and that to the list as a shared reference to it.
unsafe impl Send for Link {}

// SAFETY: As above.
unsafe impl Sync for Link {}

impl Link {
    pub(super) fn new() -> Self {
        // INVARIANT: There is no list.
        Self {
            node: Opaque::uninit(),
            list: None,
            dma_buf: null_mut(),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(list) = self.list {
            // SAFETY: By the type invariants the list is valid.
            let list = unsafe { list.as_ref() };
            let _lock = list.lock.lock();

            // SAFETY: By the type invariants the node is on the list, which is locked.
            unsafe {
                let node = *self.node.get();

                (*node.next).prev = node.prev;
                (*node.prev).next = node.next;
            }
        }
    }
}

impl ExportList {
    /// Creates an empty list. Sleeps (allocates).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                lock <- new_mutex!((), "ExportList"),
                // INVARIANT: Empty.
                head <- Opaque::ffi_init(|head| {
                    // SAFETY: `head` is a place to be initialised, and does not move.
                    unsafe { bindings::INIT_LIST_HEAD(head) };
                }),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds a dma-buf.
    ///
    /// # Safety
    ///
    /// `dma_buf` must have been made by `ExportPlace::export_with()`, and be on no list. `this` must be
    /// valid until its [`Link`] is dropped.
    #[inline]
    pub(super) unsafe fn add(this: NonNull<Self>, dma_buf: &DmaBuf) {
        // SAFETY: By the safety requirements there is a header. Nobody else looks at the link:
        // it is on no list, and the caller's reference keeps it from being dropped.
        let link = unsafe {
            let header = header_of(NonNull::from(dma_buf).cast());
            let link = &raw mut (*header.as_ptr()).link;

            (*link).dma_buf = dma_buf.as_raw();
            (*link).list = Some(this);
            link
        };
        // SAFETY: By the safety requirements.
        let this = unsafe { this.as_ref() };
        let _lock = this.lock.lock();

        // SAFETY: The list is locked, and the node stays until it is removed by `Link::drop`.
        // INVARIANT: The dma-buf exists.
        unsafe { bindings::list_add_tail((*link).node.get(), this.head.get()) };
    }

    /// The dma-bufs that exist, each with a reference, in the order in which they were exported.
    ///
    /// The list is not locked while the caller looks at one, so it may do anything; what is added
    /// meanwhile is found too. Needs no memory.
    pub fn iter(&self) -> Exports<'_> {
        Exports {
            list: self,
            current: None,
        }
    }
}

/// An iterator over the dma-bufs in a list; from [`ExportList::iter`].
///
/// # Invariants
///
/// `current` is on the list, and stays there because there is a reference on it.
pub struct Exports<'a> {
    list: &'a ExportList,
    current: Option<ARef<DmaBuf>>,
}

impl Iterator for Exports<'_> {
    type Item = ARef<DmaBuf>;

    fn next(&mut self) -> Option<ARef<DmaBuf>> {
        let found = {
            let _lock = self.list.lock.lock();
            let head = self.list.head.get();
            let mut pos = match &self.current {
                // SAFETY: By the type invariant there is a header with a link on the list.
                Some(current) => unsafe {
                    let header = header_of(NonNull::from(&**current).cast());

                    (*header.as_ptr()).link.node.get()
                },
                None => head,
            };

            loop {
                // SAFETY: `pos` is a node of the list, or its head, and the list is locked.
                pos = unsafe { (*pos).next };
                if pos == head {
                    break None;
                }

                // SAFETY: By the invariant of the list `pos` is the node of a link, whose dma-buf
                // has not been released entirely: that needs the lock.
                let found = unsafe {
                    let link = kernel::container_of!(Opaque::cast_from(pos), Link, node);

                    DmaBuf::try_get(NonNull::new_unchecked((*link).dma_buf))
                };
                if found.is_some() {
                    break found;
                }
            }
        };

        // The reference on the one before is dropped here, without the lock, since that may be
        // the last and take the lock.
        //
        // INVARIANT: Found on the list.
        self.current = found;
        self.current.clone()
    }
}
