// SPDX-License-Identifier: GPL-2.0
//! Device memory, simulated.

use crate::{
    page_table::{Access, Table, ENTRIES, PAGE_SIZE},
    prelude::*,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// What fresh memory holds: an entry that the MMU would refuse.
const GARBAGE: u64 = 0xdead_beef_dead_beef;

#[derive(Default)]
struct State {
    /// By number; what is `None` was given back.
    tables: RefCell<Vec<Option<Box<[u64; ENTRIES]>>>>,
    live: Cell<usize>,
    stores: Cell<u64>,
    writes: Cell<u64>,
    barriers: Cell<u64>,
}

/// The memory that tables are in.
#[derive(Clone, Default)]
pub(crate) struct Memory(Rc<State>);

/// The memory of one table; given back when dropped.
pub(crate) struct Page {
    address: u64,
    state: Rc<State>,
}

/// The number of the table that a device-local address is in.
fn number(address: u64) -> usize {
    (address / PAGE_SIZE) as usize
}

impl Memory {
    /// Memory for a table, full of garbage, at an address that none had before.
    pub(crate) fn alloc(&self) -> Result<Page> {
        let mut tables = self.0.tables.borrow_mut();

        if tables.is_empty() {
            // Nothing is at address 0.
            tables.push(None);
        }
        let address = tables.len() as u64 * PAGE_SIZE;
        tables.push(Some(Box::new([GARBAGE; ENTRIES])));
        self.0.live.set(self.0.live.get() + 1);
        Ok(Page {
            address,
            state: self.0.clone(),
        })
    }

    /// The entry at a device-local address, if there is a table.
    pub(crate) fn load(&self, address: u64) -> Option<u64> {
        let tables = self.0.tables.borrow();
        let table = tables.get(number(address))?.as_ref()?;

        Some(table[(address % PAGE_SIZE / 8) as usize])
    }

    /// All entries of the table at a device-local address.
    pub(crate) fn table(&self, address: u64) -> Option<[u64; ENTRIES]> {
        let tables = self.0.tables.borrow();

        Some(**tables.get(number(address))?.as_ref()?)
    }

    /// The number of tables that are allocated.
    pub(crate) fn tables(&self) -> usize {
        self.0.live.get()
    }

    /// Entries written, and calls that wrote them.
    pub(crate) fn written(&self) -> (u64, u64) {
        (self.0.stores.get(), self.0.writes.get())
    }
}

impl Table for Page {
    fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.state.tables.borrow_mut()[number(self.address)] = None;
        self.state.live.set(self.state.live.get() - 1);
    }
}

impl Access<Page> for Memory {
    fn write(&self, table: &Page, first: usize, count: usize, mut next: impl FnMut() -> u64) {
        let mut tables = self.0.tables.borrow_mut();
        let table = tables[number(table.address)].as_mut().expect("a table");

        assert!(count > 0, "a write of nothing");
        for entry in &mut table[first..first + count] {
            *entry = next();
        }
        self.0.stores.set(self.0.stores.get() + count as u64);
        self.0.writes.set(self.0.writes.get() + 1);
    }

    fn barrier(&self) {
        self.0.barriers.set(self.0.barriers.get() + 1);
    }

    fn read(&self, table: &Page, index: usize) -> Option<u64> {
        self.load(table.address + index as u64 * 8)
    }
}
