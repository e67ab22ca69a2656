// SPDX-License-Identifier: GPL-2.0

//! Peers that cannot be made to let go of a BAR.

use kernel::{
    fmt,
    io::PhysAddr,
    prelude::*,
    str::CString,
    sync::global_lock, //
};

use core::ops::Range;

/// One who has a part of a BAR.
struct Entry {
    id: u64,
    bar: Range<PhysAddr>,
    who: CString,
}

struct Registry {
    entries: KVec<Entry>,
    last_id: u64,
}

global_lock! {
    // SAFETY: `init()` is called when the module that has this crate is loaded, and no other
    // module can use the crate earlier.
    unsafe(uninit) static REGISTRY: Mutex<Registry> = Registry {
        entries: KVec::new(),
        last_id: 0,
    };
}

/// Makes the registry ready for use.
///
/// # Safety
///
/// Must be called once, before anything else of this file.
pub(super) unsafe fn init() {
    // SAFETY: By the safety requirements.
    unsafe { REGISTRY.init() };
}

/// Somebody may access a BAR for as long as he likes, until this is dropped.
///
/// It belongs to the addresses, not to the driver: the one that is bound to them next finds it,
/// too.
pub struct Hold {
    id: u64,
}

impl Hold {
    /// Notes that `who`, a text for people, may access the BAR at `bar`: physical addresses, in
    /// bytes. Sleeps (allocates).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(bar: Range<PhysAddr>, who: fmt::Arguments<'_>) -> Result<Self> {
        let who = CString::try_from_fmt(who)?;
        let mut registry = REGISTRY.lock();
        let id = registry.last_id + 1;

        registry.entries.push(Entry { id, bar, who }, GFP_KERNEL)?;
        registry.last_id = id;
        Ok(Self { id })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock();
        let index = registry.entries.iter().position(|e| e.id == self.id);

        if let Some(index) = index {
            let _ = registry.entries.remove(index);
        }
        if registry.entries.is_empty() {
            // A static is not dropped when the module is unloaded.
            registry.entries = KVec::new();
        }
    }
}

/// Calls `f` for each who may access a part of `window`, physical addresses in bytes, with the
/// registry locked; it must not call into this file. Sleeps.
pub fn for_each_hold(window: &Range<PhysAddr>, mut f: impl FnMut(&CStr)) {
    let registry = REGISTRY.lock();

    for entry in registry.entries.iter() {
        if entry.bar.start < window.end && window.start < entry.bar.end {
            f(&entry.who);
        }
    }
}
