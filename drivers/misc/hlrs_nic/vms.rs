// SPDX-License-Identifier: GPL-2.0

//! The VMs that were registered.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

use hlrs::vm_api::{
    Revoked,
    VmUser,
    Vms, //
};

use crate::engine::Engine;

/// VMs that can be registered at a time, by all open files of a device: twice the contexts that a
/// function has, since a VM can be registered in several files.
pub(crate) const MAX_VMS: usize = 64;

/// Whether the engine may still access a VM for a registration.
///
/// The VM has a reference, to tell of its end: hence this has none to the VM.
pub(crate) struct Access {
    ended: AtomicFlag,
    engine: Arc<Engine>,
}

impl Access {
    /// Whether new accesses are refused.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Refuses new accesses, cancels copies that have not ended, and stops the one that runs. Sleeps.
    fn end(&self) {
        // Before the engine is asked: it looks at this, under its locks, when it takes a copy.
        self.ended.xchg(true, Full);
        self.engine.cancel(self);
    }
}

impl Revoked for Access {
    fn revoked(&self) {
        self.end();
    }

    fn has_given_up(&self) -> bool {
        self.is_ended() || self.engine.why_dead().is_some()
    }
}

/// A VM that the engine may access.
///
/// Copies that were cancelled keep it for a moment.
pub(crate) struct Registered {
    pub(crate) user: Arc<dyn VmUser>,
    pub(crate) access: Arc<Access>,
}

impl Registered {
    /// Registers the VM behind a descriptor of the current process. Sleeps. Errors are those of
    /// [`Vms::register`].
    pub(crate) fn new(vms: &dyn Vms, engine: &Arc<Engine>, fd: i32) -> Result<Arc<Self>> {
        let access = Arc::new(
            Access {
                ended: AtomicFlag::new(false),
                engine: engine.clone(),
            },
            GFP_KERNEL,
        )?;
        let user = vms.register(fd, access.clone())?;

        Ok(Arc::new(Self { user, access }, GFP_KERNEL)?)
    }

    /// Gives the VM up. The engine does not access it for this registration when this returns, and
    /// the VM can be destroyed. Sleeps.
    fn end(&self) {
        self.access.end();
        self.user.unregister();
    }
}

struct Entry {
    client: u64,
    vm: Arc<Registered>,
}

/// The VMs of a device, by the numbers that user space has for them.
///
/// A number is good in the open file in which it was given out.
#[pin_data]
pub(crate) struct VmTable {
    #[pin]
    entries: Mutex<KVec<Option<Entry>>>,
}

impl VmTable {
    /// An empty table.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            entries <- {
                let mut entries = KVec::with_capacity(MAX_VMS, GFP_KERNEL)?;

                for _ in 0..MAX_VMS {
                    entries.push(None, GFP_KERNEL)?;
                }
                new_mutex!(entries, "hlrs_nic::VmTable")
            },
        })
    }

    /// Adds a VM for the open file `client`; returns its number.
    ///
    /// Sleeps. Fails with `EEXIST` if the file has the VM, `ENOSPC` if the table is full.
    pub(crate) fn insert(&self, client: u64, vm: Arc<Registered>) -> Result<u32> {
        let mut entries = self.entries.lock();

        if entries
            .iter()
            .flatten()
            .any(|entry| entry.client == client && entry.vm.user.is_same_vm(&*vm.user))
        {
            return Err(EEXIST);
        }

        let index = entries.iter().position(Option::is_none).ok_or(ENOSPC)?;
        entries[index] = Some(Entry { client, vm });

        // CAST: Smaller than `MAX_VMS`.
        Ok(index as u32 + 1)
    }

    /// The VM with the number `vm` of the open file `client`; `ENOENT` if there is none. Sleeps.
    pub(crate) fn get(&self, client: u64, vm: u32) -> Result<Arc<Registered>> {
        let entries = self.entries.lock();

        match Self::slot(vm).and_then(|index| entries.get(index)?.as_ref()) {
            Some(entry) if entry.client == client => Ok(entry.vm.clone()),
            _ => Err(ENOENT),
        }
    }

    /// Number of VMs of an open file. Sleeps.
    pub(crate) fn count(&self, client: u64) -> usize {
        let entries = self.entries.lock();

        entries
            .iter()
            .flatten()
            .filter(|entry| entry.client == client)
            .count()
    }

    /// Removes a VM; the engine does not access it for this file any more when this returns.
    ///
    /// Sleeps. Fails with `ENOENT` if there is none.
    pub(crate) fn remove(&self, client: u64, vm: u32) -> Result {
        let mut entries = self.entries.lock();
        let entry = Self::slot(vm)
            .and_then(|index| entries.get_mut(index)?.take_if(|e| e.client == client))
            .ok_or(ENOENT)?;

        drop(entries);
        entry.vm.end();
        Ok(())
    }

    /// Removes all VMs of an open file. Sleeps.
    pub(crate) fn remove_all(&self, client: u64) {
        self.remove_if(|entry| entry.client == client);
    }

    /// Removes all VMs. Sleeps.
    pub(crate) fn clear(&self) {
        self.remove_if(|_| true);
    }

    /// Removes one after the other: giving up a VM takes locks that this one must not be outside of.
    fn remove_if(&self, which: impl Fn(&Entry) -> bool) {
        loop {
            let mut entries = self.entries.lock();
            let found = entries
                .iter_mut()
                .find_map(|slot| slot.take_if(|e| which(e)));
            drop(entries);

            match found {
                Some(entry) => entry.vm.end(),
                None => break,
            }
        }
    }

    fn slot(vm: u32) -> Option<usize> {
        Some(vm.checked_sub(1)? as usize)
    }
}
