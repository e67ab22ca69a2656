// SPDX-License-Identifier: GPL-2.0

//! Memory that others work on when nothing is left of its export.
//!
//! An importer that lets go of a buffer, and of the dma-buf, need not have finished its work: that is
//! what its fences in the reservation object are about. A buffer is kept until they have signalled,
//! whoever drops it before. It is what TTM does with its buffers when it destroys them.

use kernel::{
    fmt, new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
};
use kernel_ext::{
    dma_fence::{
        self,
        Fence, //
    },
    dma_resv::Usage,
    task,
    time::Second, //
};

use super::{
    export::{
        Counted,
        Export, //
    },
    revoke::retain_for,
    state::{
        Exports,
        Reason, //
    },
};
use crate::{
    gem::Buffer,
    HlrsModule, //
};

/// How long the end of an export waits for such work when memory is lacking, milliseconds.
const LAST_RESORT_MS: u32 = 30_000;

/// A buffer that is kept.
struct Entry {
    /// Ascending, so that a walk can go on after the lock was released.
    number: u64,
    buffer: Counted,
    bytes: u64,
    /// The process that had made the export.
    process: task::Identity,
    since: Second,
    /// What has to end.
    work: ARef<Fence>,
}

struct Entries {
    last: u64,
    list: KVec<Entry>,
}

/// Buffers of a device that are kept because others work on them.
#[pin_data]
pub(super) struct Lingering {
    /// A leaf: nothing is done while it is locked.
    #[pin]
    entries: Mutex<Entries>,
}

impl Lingering {
    /// None yet.
    pub(super) fn new() -> impl PinInit<Self> {
        let entries = Entries {
            last: 0,
            list: KVec::new(),
        };

        pin_init!(Self {
            entries <- new_mutex!(entries, "hlrs::Lingering"),
        })
    }

    /// Adds what `export` is a part of, until `work` ends. Sleeps (allocates). Fails with `ENOMEM`.
    fn add(&self, export: &Export, work: &Fence) -> Result<u64> {
        let mut entries = self.entries.lock();
        let number = entries.last + 1;

        entries.list.reserve(1, GFP_KERNEL)?;
        entries.list.push(
            Entry {
                number,
                buffer: export.counted().again(),
                bytes: export.size(),
                process: *export.process(),
                since: Second::now(),
                work: work.into(),
            },
            GFP_KERNEL,
        )?;
        entries.last = number;
        Ok(number)
    }

    /// Lets go of a buffer. Sleeps.
    fn remove(&self, number: u64) {
        let mut entries = self.entries.lock();
        let index = entries
            .list
            .binary_search_by_key(&number, |entry| entry.number);

        if let Ok(index) = index {
            let entry = entries.list.remove(index);

            drop(entries);
            drop(entry);
        }
    }

    /// Keeps later drivers of the device off the memory, too. Sleeps.
    pub(super) fn retain(&self) {
        let mut last = 0;

        loop {
            let entries = self.entries.lock();
            let next = entries.list.partition_point(|entry| entry.number <= last);
            let Some(entry) = entries.list.get(next) else {
                return;
            };
            let buffer: ARef<Buffer> = ARef::clone(&entry.buffer);

            last = entry.number;
            drop(entries);
            retain_for(&buffer, fmt!("work that has not ended"));
        }
    }

    /// Writes a line for each. Sleeps.
    pub(super) fn report(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in self.entries.lock().list.iter() {
            entry.work.with_driver_name(|name| {
                f.write_fmt(fmt!(
                    "set aside size {} exporter {} since {} s: work of {} has not ended\n",
                    entry.bytes,
                    entry.process,
                    entry.since.elapsed(),
                    name,
                ))
            })?;
        }
        Ok(())
    }
}

/// Lets go of a buffer in the list when it is dropped.
struct Ticket {
    exports: Arc<Exports>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.exports.lingering.remove(self.number);
    }
}

/// `export` is at its end: keeps the buffer if others still work on it. Sleeps.
pub(super) fn keep(export: &Export) {
    let (dev, resv) = (export.buffer().dev(), export.buffer().resv());

    // Nobody can add work any more but the device itself.
    match resv.fences(Usage::Bookkeep, |fence| !dev.is_own(fence)) {
        Ok(work) if work.is_empty() => return,
        _ => {}
    }
    if try_keep(export).is_ok() {
        // Whoever unbinds the driver has set the reason first, and looks at the list then.
        if dev.exports.blocked.has(Reason::Gone) {
            dev.exports.lingering.retain();
        }
        return;
    }

    let timeout = kernel::time::msecs_to_jiffies(LAST_RESORT_MS);
    if resv.wait_timeout(Usage::Bookkeep, false, timeout).is_err() {
        dev_err!(
            dev.parent(),
            "{} bytes are lost: work on them does not end\n",
            export.buffer().size()
        );
        core::mem::forget(ARef::clone(export.buffer()));
    }
}

fn try_keep(export: &Export) -> Result {
    let dev = export.buffer().dev();
    let Some(work) = export.buffer().resv().singleton(Usage::Bookkeep)? else {
        return Ok(());
    };
    let ticket = Ticket {
        exports: dev.exports.clone(),
        number: dev.exports.lingering.add(export, &work)?,
    };

    // Dropping the ticket undoes what was done.
    dma_fence::drop_after::<HlrsModule, _>(&work, ticket).map_err(|_| ENOMEM)
}
