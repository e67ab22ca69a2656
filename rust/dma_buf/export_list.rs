// SPDX-License-Identifier: GPL-2.0

//! What a device has exported, so that all of it can be revoked.

use super::DmaBuf;
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
};

use core::ptr::NonNull;

/// A place in a list.
///
/// # Invariants
///
/// If there is a dma-buf, its private data, which contains the [`Listed`] of this entry, has not
/// been dropped.
struct Entry {
    token: u64,
    dma_buf: Option<NonNull<bindings::dma_buf>>,
}

// SAFETY: The pointer is used only to take a reference, under the lock of the list.
unsafe impl Send for Entry {}

struct Entries {
    next_token: u64,
    entries: KVec<Entry>,
}

/// The dma-bufs that somebody has exported by [`DmaBuf::export_listed`] and that still exist.
///
/// The list does not keep them alive.
#[pin_data]
pub struct ExportList {
    #[pin]
    entries: Mutex<Entries>,
}

/// Gives a place in a list back when it is dropped; part of the private data of a dma-buf.
pub(super) struct Listed {
    list: Arc<ExportList>,
    token: u64,
}

/// A place in a list that has no dma-buf yet.
pub(super) struct Vacancy {
    list: Arc<ExportList>,
    token: u64,
}

impl ExportList {
    /// Creates an empty list. Sleeps (allocates). Fails with `ENOMEM`.
    pub fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                entries <- new_mutex!(
                    Entries {
                        next_token: 0,
                        entries: KVec::new(),
                    },
                    "ExportList"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes a place in the list, so that filling it cannot fail. Sleeps (allocates).
    ///
    /// Fails with `ENOMEM`.
    pub(super) fn prepare(self: &Arc<Self>) -> Result<Vacancy> {
        let mut entries = self.entries.lock();
        let token = entries.next_token;

        entries.next_token += 1;
        entries.entries.push(
            Entry {
                token,
                dma_buf: None,
            },
            GFP_KERNEL,
        )?;
        Ok(Vacancy {
            list: self.clone(),
            token,
        })
    }

    /// Returns the dma-bufs that exist now. Sleeps (allocates). Fails with `ENOMEM`.
    pub fn get_all(&self) -> Result<KVec<ARef<DmaBuf>>> {
        let entries = self.entries.lock();
        let mut all = KVec::with_capacity(entries.entries.len(), GFP_KERNEL)?;

        for dma_buf in entries.entries.iter().filter_map(|entry| entry.dma_buf) {
            // SAFETY: By the invariant of the entry, which holds while the list is locked.
            if let Some(dma_buf) = unsafe { DmaBuf::try_get(dma_buf) } {
                all.push(dma_buf, GFP_KERNEL)?;
            }
        }
        Ok(all)
    }
}

impl Vacancy {
    /// Returns what gives the place back when it is dropped.
    pub(super) fn listed(&self) -> Listed {
        Listed {
            list: self.list.clone(),
            token: self.token,
        }
    }

    /// Puts a dma-buf into the place, unless that was given back meanwhile.
    ///
    /// # Safety
    ///
    /// The private data of `dma_buf` must own the [`Listed`] of this place.
    pub(super) unsafe fn fill(self, dma_buf: &DmaBuf) {
        let mut entries = self.list.entries.lock();

        if let Some(entry) = entries
            .entries
            .iter_mut()
            .find(|entry| entry.token == self.token)
        {
            // INVARIANT: By the safety requirements; `Listed::drop` removes the entry.
            entry.dma_buf = NonNull::new(dma_buf.as_raw());
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.list
            .entries
            .lock()
            .entries
            .retain(|entry| entry.token != self.token);
    }
}
