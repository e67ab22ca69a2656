// SPDX-License-Identifier: GPL-2.0

//! What was unmapped while engines may still be using it.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use super::{
    activity::Mark,
    page_table::Update,
    tables::LmemTable, //
};
use crate::gem::Buffer;

/// A place for a reference to a buffer. Each mapping has one, so that there is always one to keep
/// the buffer with when it is unmapped.
pub(super) struct Hold {
    buffer: Option<ARef<Buffer>>,
    next: Option<KBox<Hold>>,
}

impl Hold {
    /// An empty place. Sleeps (allocates). Fails with `ENOMEM`.
    pub(super) fn new() -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                buffer: None,
                next: None,
            },
            GFP_KERNEL,
        )?)
    }

    /// Takes a reference to `buffer`.
    pub(super) fn set(&mut self, buffer: ARef<Buffer>) {
        self.buffer = Some(buffer);
    }
}

/// Buffers and tables that were unmapped at the same time.
pub(super) struct Batch {
    holds: Option<KBox<Hold>>,
    /// Tables that are not linked any more, and those that were not needed.
    tables: Option<Update<LmemTable>>,
    mark: Option<Mark>,
    next: Option<KBox<Batch>>,
}

impl Batch {
    /// An empty one. Sleeps (allocates). Fails with `ENOMEM`.
    pub(super) fn new() -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                holds: None,
                tables: None,
                mark: None,
                next: None,
            },
            GFP_KERNEL,
        )?)
    }

    /// Adds the buffer of a mapping that was removed. Does not allocate.
    pub(super) fn add(&mut self, mut hold: KBox<Hold>) {
        hold.next = self.holds.take();
        self.holds = Some(hold);
    }

    /// Adds what a change of the tables leaves behind.
    pub(super) fn add_tables(&mut self, tables: Update<LmemTable>) {
        self.tables = Some(tables);
    }

    /// Says what has to end before it can be dropped.
    pub(super) fn seal(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // One by one, rather than by as many nested calls.
        let mut next = self.holds.take();

        while let Some(mut hold) = next {
            next = hold.next.take();
        }
    }
}

/// All batches that are not dropped yet.
pub(super) struct Limbo(Option<KBox<Batch>>);

impl Limbo {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Adds a batch. Does not allocate.
    pub(super) fn add(&mut self, mut batch: KBox<Batch>) {
        batch.next = self.0.take();
        self.0 = Some(batch);
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Takes out the batches whose mark `has_passed`, to be dropped where sleeping is allowed.
    pub(super) fn take(&mut self, has_passed: impl Fn(Mark) -> bool) -> Limbo {
        let (mut keep, mut taken) = (None, None);
        let mut next = self.0.take();

        while let Some(mut batch) = next {
            next = batch.next.take();

            let list = match batch.mark {
                Some(mark) if !has_passed(mark) => &mut keep,
                _ => &mut taken,
            };
            batch.next = list.take();
            *list = Some(batch);
        }
        self.0 = keep;
        Limbo(taken)
    }
}

impl Drop for Limbo {
    fn drop(&mut self) {
        let mut next = self.0.take();

        while let Some(mut batch) = next {
            next = batch.next.take();
        }
    }
}
