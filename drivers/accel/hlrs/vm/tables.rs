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

/// LMEM of a table.
pub(crate) struct LmemTable {
    address: u64,
    _memory: Allocation,
}

impl LmemTable {
    /// Allocates memory for a table. Sleeps. Fails with `ENOSPC` if there is none that the CPU
    /// reaches, `ENOMEM`.
    pub(super) fn new(lmem: &Arc<Lmem>) -> Result<Self> {
        let memory = lmem.alloc(
            PAGE_SIZE,
            Alignment::new::<SZ_4K>(),
            Placement::CpuVisible,
            true,
        )?;

        Ok(Self {
            address: memory.extents().first().ok_or(ENOSPC)?.start,
            _memory: memory,
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
