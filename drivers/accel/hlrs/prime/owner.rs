// SPDX-License-Identifier: GPL-2.0

//! Having a device to oneself, for importers that cannot be revoked.
//!
//! Such an importer keeps the memory for as long as it likes. It may attach only to what the file
//! has exported that owns the device, so that nobody else suffers; and as long as it is attached
//! the device cannot be owned by the next one, who would find memory missing.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use crate::client::Client;

#[derive(Default)]
struct State {
    open_files: usize,
    owner: Option<Arc<Client>>,
    pinned: usize,
}

/// Who may open the device, and who owns it.
#[pin_data]
pub(crate) struct Ownership {
    #[pin]
    state: Mutex<State>,
}

impl Ownership {
    /// Nobody has the device open. Sleeps (allocates).
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(State::default(), "hlrs::Ownership"),
            }),
            GFP_KERNEL,
        )
    }

    /// Counts a file that is opened, until the result is dropped. Sleeps.
    ///
    /// Fails with `EBUSY` if another file owns the device.
    pub(crate) fn open(self: &Arc<Self>) -> Result<OpenFile> {
        let mut state = self.state.lock();

        if state.owner.is_some() {
            return Err(EBUSY);
        }
        state.open_files += 1;
        Ok(OpenFile(self.clone()))
    }

    /// Makes the file of `client` the owner. Sleeps.
    ///
    /// Fails with `EBUSY` if it is not the only open file, or owns the device already, or if an
    /// importer that cannot be revoked is attached.
    pub(crate) fn acquire(&self, client: &Arc<Client>) -> Result {
        let mut state = self.state.lock();

        if state.owner.is_some() || state.open_files != 1 || state.pinned > 0 {
            return Err(EBUSY);
        }
        state.owner = Some(client.clone());
        Ok(())
    }

    /// Ends the ownership of the file of `client`. Sleeps. Fails with `EPERM` if it has none.
    pub(crate) fn release(&self, client: &Arc<Client>) -> Result {
        let mut state = self.state.lock();

        if !owns(&state, client) {
            return Err(EPERM);
        }
        state.owner = None;
        Ok(())
    }

    /// Whether the file of `client` owns the device. Sleeps.
    pub(super) fn is_owned_by(&self, client: &Arc<Client>) -> bool {
        owns(&self.state.lock(), client)
    }

    /// Lets an importer that cannot be revoked attach to what `client` has exported, if its file
    /// owns the device. Sleeps.
    pub(super) fn pin(self: &Arc<Self>, client: &Arc<Client>) -> Option<Pinned> {
        let mut state = self.state.lock();

        if !owns(&state, client) {
            return None;
        }
        state.pinned += 1;
        Some(Pinned(self.clone()))
    }

    /// The process that owns the device, and the number of importers that cannot be revoked.
    pub(super) fn report(&self) -> (Option<Arc<Client>>, usize) {
        let state = self.state.lock();

        (state.owner.clone(), state.pinned)
    }
}

fn owns(state: &State, client: &Arc<Client>) -> bool {
    state
        .owner
        .as_ref()
        .is_some_and(|owner| Arc::ptr_eq(owner, client))
}

/// An open file; from [`Ownership::open`].
pub(crate) struct OpenFile(Arc<Ownership>);

impl OpenFile {
    /// The file of `client`, which this is, is closed. Sleeps.
    pub(crate) fn close(&self, client: &Arc<Client>) {
        let _ = self.0.release(client);
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.0.state.lock().open_files -= 1;
    }
}

/// An importer that cannot be revoked, as long as it is attached; from [`Ownership::pin`].
pub(super) struct Pinned(Arc<Ownership>);

impl Drop for Pinned {
    fn drop(&mut self) {
        self.0.state.lock().pinned -= 1;
    }
}
