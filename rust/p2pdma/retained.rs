// SPDX-License-Identifier: GPL-2.0

//! Memory that peers may still access although its driver is gone.

use kernel::{
    fmt,
    io::PhysAddr,
    prelude::*,
    str::CString,
    sync::{
        global_lock,
        Arc, //
    },
};

use core::ops::Range;

/// An object of which nothing matters but that it is not dropped yet.
type Keep = KBox<dyn Send>;

/// One range of physical addresses.
struct Entry {
    /// Which [`Retained`] it belongs to.
    owner: u64,
    range: Range<PhysAddr>,
    /// Who may access it; [`None`] for want of memory.
    who: Option<Arc<CString>>,
    /// What the drivers that came later have set aside.
    keep: KVec<Keep>,
}

/// All ranges.
struct Registry {
    entries: KVec<Entry>,
    last_owner: u64,
    /// Owners of ranges of which nobody knows where they are.
    unknown: usize,
}

global_lock! {
    // SAFETY: `init()` is called when the module that has this crate is loaded, and no other
    // module can use the crate earlier.
    unsafe(uninit) static REGISTRY: Mutex<Registry> = Registry {
        entries: KVec::new(),
        last_owner: 0,
        unknown: 0,
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

/// Ranges of physical addresses that a peer may still access.
///
/// A driver whose importers do not unmap in time when it is unbound makes one of these for the
/// memory that they have, and drops it when they have let go. The driver that is bound next to the
/// same addresses sets the ranges aside, see [`set_aside`], so that the stale mapping does not
/// reach what others have by then.
pub struct Retained {
    owner: u64,
    known: bool,
}

impl Retained {
    /// Notes that `who`, a text for people, may access `ranges`: physical addresses, in bytes.
    ///
    /// Sleeps (allocates). Cannot fail: where the memory to note a range is lacking, drivers that
    /// ask for the ranges get an error until the value is dropped.
    pub fn new(who: fmt::Arguments<'_>, ranges: impl Iterator<Item = Range<PhysAddr>>) -> Self {
        let who = CString::try_from_fmt(who).ok();
        let who = who.and_then(|who| Arc::new(who, GFP_KERNEL).ok());
        let mut registry = REGISTRY.lock();

        registry.last_owner += 1;

        let owner = registry.last_owner;
        let mut known = true;

        for range in ranges {
            let entry = Entry {
                owner,
                range,
                who: who.clone(),
                keep: KVec::new(),
            };
            known &= registry.entries.push(entry, GFP_KERNEL).is_ok();
        }
        if !known {
            registry.unknown += 1;
        }
        Self { owner, known }
    }
}

impl Drop for Retained {
    fn drop(&mut self) {
        loop {
            let mut registry = REGISTRY.lock();
            let index = registry
                .entries
                .iter()
                .position(|entry| entry.owner == self.owner);

            // What is dropped at the end of each turn comes after the lock: it may be anything.
            let Some(Ok(_entry)) = index.map(|index| registry.entries.remove(index)) else {
                if !self.known {
                    registry.unknown -= 1;
                }
                break;
            };
            if registry.entries.is_empty() {
                // A static is not dropped when the module is unloaded.
                registry.entries = KVec::new();
            }
            drop(registry);
        }
    }
}

/// Calls `f` for each range that somebody may still access, cut to `window`, physical addresses in
/// bytes, and with who that is. The registry is locked; `f` must not call into this file. Sleeps.
pub fn for_each_retained(window: &Range<PhysAddr>, mut f: impl FnMut(Range<PhysAddr>, &CStr)) {
    let registry = REGISTRY.lock();

    for entry in registry.entries.iter() {
        let range = entry.range.start.max(window.start)..entry.range.end.min(window.end);
        let who = entry.who.as_ref().map_or(c"somebody", |who| &**who);

        if !range.is_empty() {
            f(range, who);
        }
    }
}

/// Sets aside what peers may still access of `window`, physical addresses in bytes.
///
/// `claim` is called for each such range, cut to the window, with the registry locked; it must not
/// call into this file. What it returns is kept until the peers have let go of the range, and
/// dropped then, in process context. Sleeps.
///
/// # Errors
///
/// - `EBUSY`: peers may access memory of which it is not known where it is.
/// - `ENOMEM`.
/// - Those of `claim`. What was set aside before it stays so.
pub fn set_aside(
    window: Range<PhysAddr>,
    mut claim: impl FnMut(Range<PhysAddr>) -> Result<KBox<dyn Send>>,
) -> Result {
    let mut registry = REGISTRY.lock();

    if registry.unknown > 0 {
        return Err(EBUSY);
    }

    for entry in registry.entries.iter_mut() {
        let range = entry.range.start.max(window.start)..entry.range.end.min(window.end);

        if !range.is_empty() {
            entry.keep.reserve(1, GFP_KERNEL)?;
            entry.keep.push(claim(range)?, GFP_KERNEL)?;
        }
    }
    Ok(())
}
