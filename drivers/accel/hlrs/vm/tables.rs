// SPDX-License-Identifier: GPL-2.0

//! Where page tables are: in LMEM that the CPU reaches, and writes through BAR 2.

use kernel::{
    io::Io,
    prelude::*,
    ptr::Alignment,
    sizes::SZ_4K,
    sync::{
        barrier,
        Arc, //
    },
};

use kernel_ext::io::write64_run;

use super::page_table::{
    Access,
    PageTable,
    Table, //
};
use crate::{
    device::DeviceData,
    hw::Hw,
    lmem::{
        cut,
        Allocation,
        Lmem,
        Placement,
        PAGE_SIZE, //
    },
};

/// The page tables of a VM.
pub(super) type Tables = PageTable<LmemTable>;

/// Bytes of an entry.
const ENTRY_SIZE: usize = 8;

/// Most tables whose memory is allocated at once. It is given back at once, too: the more they are,
/// the more memory one of them can keep.
const TABLES_AT_ONCE: usize = 16;

/// LMEM of a table.
pub(crate) struct LmemTable {
    address: u64,
    /// Shared with the tables that were allocated at the same time.
    _memory: Arc<Allocation>,
}

/// Allocates tables, several at a time.
pub(super) struct TableSource<'a> {
    lmem: &'a Arc<Lmem>,
    /// What was allocated last, and how many bytes of it are in use.
    memory: Option<(Arc<Allocation>, u64)>,
}

impl<'a> TableSource<'a> {
    /// Allocates nothing yet.
    pub(super) fn new(lmem: &'a Arc<Lmem>) -> Self {
        Self { lmem, memory: None }
    }

    /// Memory for a table, the first of `left` that are still to come. Sleeps.
    ///
    /// Fails with `ENOSPC` if there is not enough that the CPU reaches, `ENOMEM`.
    pub(super) fn next(&mut self, left: usize) -> Result<LmemTable> {
        if let Some(table) = self.next_allocated() {
            return Ok(table);
        }

        let size = left.clamp(1, TABLES_AT_ONCE) as u64 * PAGE_SIZE;
        let page = Alignment::new::<SZ_4K>();
        let memory = self.lmem.alloc(size, page, Placement::CpuVisible, false)?;

        self.memory = Some((Arc::new(memory, GFP_KERNEL)?, 0));
        self.next_allocated().ok_or(ENOSPC)
    }

    fn next_allocated(&mut self) -> Option<LmemTable> {
        let (memory, used) = self.memory.as_mut()?;
        let page = cut(memory.extents(), *used, PAGE_SIZE).next()?;

        *used += PAGE_SIZE;
        Some(LmemTable {
            address: page.start,
            _memory: memory.clone(),
        })
    }
}

impl Table for LmemTable {
    fn address(&self) -> u64 {
        self.address
    }
}

/// The right to access tables: no reset is going on, or begins.
pub(super) struct Window<'a> {
    /// [`None`] if the device did not come back from a reset.
    hw: Option<&'a Hw>,
}

impl<'a> Window<'a> {
    /// Calls `f` with the right to access tables. Waits for the end of a reset. Sleeps.
    ///
    /// If the device is gone, or does not come back, accesses do nothing. The contexts of such a
    /// device are not used any more.
    pub(super) fn with<R>(dev: &'a DeviceData, f: impl FnOnce(&Self) -> R) -> R {
        dev.outside_reset_always(|alive| {
            f(&Self {
                hw: alive.then_some(&*dev.hw),
            })
        })
    }
}

impl Access<LmemTable> for Window<'_> {
    fn write(&self, table: &LmemTable, first: usize, count: usize, mut next: impl FnMut() -> u64) {
        // CAST: The table is in the aperture, which was mapped.
        let start = table.address as usize + first * ENTRY_SIZE;
        let written = self.hw.is_some_and(|hw| {
            // What is beyond the aperture would have no allocation.
            hw.with_aperture(|aperture| write64_run(aperture, start, count, &mut next))
                .and_then(|written| written)
                .is_ok()
        });

        if !written {
            for _ in 0..count {
                next();
            }
        }
    }

    fn barrier(&self) {
        // The device is told of entries by writes to registers, and walks tables at any time.
        barrier::mb(barrier::Write);
    }

    fn read(&self, table: &LmemTable, index: usize) -> Option<u64> {
        // CAST: As above.
        let at = table.address as usize + index * ENTRY_SIZE;

        self.hw?
            .with_aperture(|aperture| aperture.try_read64(at).ok().map(u64::from_le))
            .ok()?
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../../tests/kunit/hlrs/tables.rs"]
mod tests;
