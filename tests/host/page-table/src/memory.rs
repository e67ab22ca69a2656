// SPDX-License-Identifier: GPL-2.0
//! Device memory, simulated.

use crate::{
    mmu,
    model::View,
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
    /// Tables written since the last barrier.
    unordered: RefCell<Vec<u64>>,
    watched: RefCell<Watched>,
}

/// What engines look at all the time: addresses and what they show, in the context of a root.
#[derive(Default)]
struct Watched {
    root: u64,
    views: Vec<(u64, Option<View>)>,
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

    /// From now on looks after each write whether these addresses show the same as now.
    pub(crate) fn watch(&self, root: u64, addresses: impl Iterator<Item = u64>) {
        let views = addresses.map(|va| (va, self.view(root, va))).collect();

        *self.0.watched.borrow_mut() = Watched { root, views };
    }

    fn view(&self, root: u64, va: u64) -> Option<View> {
        let leaf = mmu::translate(self, root, va).expect("a good walk")?;

        Some(View::of(&leaf).add(va - leaf.va))
    }

    /// The MMU may walk after every write: a table that can be reached has been written.
    fn check_link(&self, entry: u64) {
        let table = mmu::table_of(entry).filter(|table| self.load(*table).is_some());
        let Some(table) = table else {
            return;
        };

        assert!(
            !self.0.unordered.borrow().contains(&table),
            "linked without a barrier"
        );
        assert!(
            !self.table(table).unwrap().contains(&GARBAGE),
            "linked before it was written"
        );
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
        let entries = tables[number(table.address)].as_mut().expect("a table");

        assert!(count > 0, "a write of nothing");
        for entry in &mut entries[first..first + count] {
            *entry = next();
        }
        let written = entries[first];
        drop(tables);

        if count == 1 {
            self.check_link(written);
        }
        self.0.unordered.borrow_mut().push(table.address);
        self.0.stores.set(self.0.stores.get() + count as u64);
        self.0.writes.set(self.0.writes.get() + 1);

        let watched = self.0.watched.borrow();
        for (va, view) in &watched.views {
            assert_eq!(self.view(watched.root, *va), *view, "{va:#x} has changed");
        }
    }

    fn barrier(&self) {
        self.0.unordered.borrow_mut().clear();
    }

    fn read(&self, table: &Page, index: usize) -> Option<u64> {
        self.load(table.address + index as u64 * 8)
    }
}
