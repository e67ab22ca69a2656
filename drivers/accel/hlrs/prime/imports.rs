// SPDX-License-Identifier: GPL-2.0

//! What a device has imported.
//!
//! For people, as `imports` in debugfs; and for the PF, so that what it has of a VF's memory can be
//! taken out of its engines' hands, whatever the exporter does.

use kernel::{
    fmt, new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use kernel_ext::workqueue::DelayedTask;

use super::peer::{
    self,
    Unmapper, //
};
use crate::sriov::Record;

type Task = DelayedTask<Unmapper>;

/// What is in the list.
struct Entry {
    /// Ascending, so that a walk can go on after the lock was released.
    number: u64,
    task: Arc<Task>,
}

struct Entries {
    last: u64,
    list: KVec<Entry>,
}

/// What a device has imported from others.
#[pin_data]
pub(crate) struct Imports {
    /// A leaf: nothing is done while it is locked.
    #[pin]
    entries: Mutex<Entries>,
}

impl Imports {
    /// Nothing yet. Sleeps (allocates).
    pub(crate) fn new() -> Result<Arc<Self>> {
        let entries = Entries {
            last: 0,
            list: KVec::new(),
        };

        Arc::pin_init(
            pin_init!(Self {
                entries <- new_mutex!(entries, "hlrs::Imports"),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds an import, until the result is dropped. Sleeps. Fails with `ENOMEM`.
    pub(super) fn add(self: &Arc<Self>, task: &Arc<Task>) -> Result<Listed> {
        let mut entries = self.entries.lock();
        let number = entries.last + 1;

        entries.list.push(
            Entry {
                number,
                task: task.clone(),
            },
            GFP_KERNEL,
        )?;
        entries.last = number;
        Ok(Listed {
            imports: self.clone(),
            number,
        })
    }

    /// The first import after the one with a number.
    fn after(&self, number: u64) -> Option<(u64, Arc<Task>)> {
        let entries = self.entries.lock();
        let next = entries.list.partition_point(|entry| entry.number <= number);

        entries
            .list
            .get(next)
            .map(|entry| (entry.number, entry.task.clone()))
    }

    /// Those that there are all the time while this is used. Sleeps.
    fn iter(&self) -> impl Iterator<Item = Arc<Task>> + '_ {
        let mut last = 0;

        core::iter::from_fn(move || {
            let (number, task) = self.after(last)?;

            last = number;
            Some(task)
        })
    }

    /// Takes the memory of `record` out of the hands of the engines, as if its exporters had taken it
    /// back: page-table entries go, and then mappings. Where jobs use it that happens when they have
    /// ended, which they do in bounded time.
    ///
    /// Sleeps; takes reservation locks; does not allocate.
    pub(crate) fn invalidate(&self, record: &Arc<Record>) {
        for task in self.iter() {
            if task.task().is_native_of(record) {
                peer::invalidate(&task);
            }
        }
    }

    /// Writes a line for each import. Sleeps.
    pub(crate) fn report(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter()
            .filter_map(|task| {
                task.task().describe(|dma_buf, path| {
                    f.write_fmt(fmt!(
                        "dma-buf {} size {} exporter {} {}\n",
                        dma_buf.inode_number(),
                        dma_buf.size(),
                        dma_buf.exporter_name(),
                        path,
                    ))
                })
            })
            .collect()
    }
}

/// An import in the list of its device.
pub(super) struct Listed {
    imports: Arc<Imports>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut entries = self.imports.entries.lock();

        if let Ok(index) = entries
            .list
            .binary_search_by_key(&self.number, |entry| entry.number)
        {
            let entry = entries.list.remove(index);

            drop(entries);
            drop(entry);
        }
    }
}
