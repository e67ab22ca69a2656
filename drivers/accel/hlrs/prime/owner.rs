// SPDX-License-Identifier: GPL-2.0

//! Having a device to oneself, for importers that cannot be revoked.
//!
//! Such an importer keeps the memory for as long as it likes. It may attach only to what the file
//! has exported that owns the device, so that nobody else suffers; and as long as it is attached
//! the device cannot be owned by the next one, who would find memory missing. That holds also when
//! the driver has been unbound meanwhile, and bound again.

use core::ops::Range;

use kernel::{
    fmt,
    io::PhysAddr,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use kernel_ext::p2pdma;

use crate::client::Client;

#[derive(Default)]
struct State {
    open_files: usize,
    owner: Option<Arc<Client>>,
}

/// Who may open the device, and who owns it.
#[pin_data]
pub(crate) struct Ownership {
    /// The physical addresses of LMEM.
    window: Range<PhysAddr>,
    #[pin]
    state: Mutex<State>,
}

impl Ownership {
    /// Nobody has the device open. Sleeps (allocates).
    ///
    /// `window` are the physical addresses at which peers access LMEM.
    pub(crate) fn new(window: Range<PhysAddr>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                window,
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

        if state.owner.is_some() || state.open_files != 1 || self.pinned() > 0 {
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
    /// owns the device: `None` if not. Sleeps (allocates). Fails with `ENOMEM`.
    ///
    /// `who` describes the importer.
    pub(super) fn pin(
        &self,
        client: &Arc<Client>,
        who: fmt::Arguments<'_>,
    ) -> Result<Option<Pinned>> {
        let state = self.state.lock();

        if !owns(&state, client) {
            return Ok(None);
        }
        let hold = p2pdma::Hold::new(self.window.clone(), who)?;

        Ok(Some(Pinned { _hold: hold }))
    }

    /// Number of importers that cannot be revoked. Sleeps.
    fn pinned(&self) -> usize {
        let mut count = 0;

        p2pdma::for_each_hold(&self.window, |_| count += 1);
        count
    }

    /// Writes who owns the device, and who keeps others from owning it. Sleeps.
    pub(crate) fn report(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = self.state.lock().owner.clone();

        match owner {
            Some(owner) => f.write_fmt(fmt!("owner {}\n", owner.process()))?,
            None => f.write_fmt(fmt!("owner none\n"))?,
        }
        f.write_fmt(fmt!("pinned importers {}\n", self.pinned()))?;

        let mut result = Ok(());

        p2pdma::for_each_hold(&self.window, |who| {
            if result.is_ok() {
                result = f.write_fmt(fmt!("  {who}\n"));
            }
        });
        result
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
pub(super) struct Pinned {
    _hold: p2pdma::Hold,
}
