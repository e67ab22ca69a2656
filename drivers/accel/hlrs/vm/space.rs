// SPDX-License-Identifier: GPL-2.0

//! The address space itself: page tables, and the steps by which mappings change.
//!
//! # Locking
//!
//! From the outside to the inside: reservation locks; the tree of mappings ([`super::Vm`]);
//! [`Window`]; `gpuva.lock` of a buffer; [`Space::tables`]. What an engine sees of a buffer (see
//! [`super::memory`]) is read *and* written to the tables, or taken away *and* cleared from the
//! tables, with the last one held.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
};
use kernel_ext::{
    dma_resv::Guard,
    drm::gpuvm::{
        self,
        DriverVm,
        MapOp,
        Mapped,
        RemapOp,
        Remapped,
        UnmapOp,
        Unmapped,
        VaPool,
        VmBo,
        VmTree, //
    },
};

use super::{
    accesses::Accesses,
    activity::Activity,
    context::Context,
    limbo::{
        Batch,
        Hold,
        Limbo, //
    },
    memory::{
        bind_memory,
        Binding, //
    },
    page_table::{
        Mapping,
        Update,
        VaRange, //
    },
    tables::{
        LmemTable,
        Tables,
        Window, //
    },
};
use crate::{
    driver::Hlrs,
    gem::Buffer, //
};

/// An address space with its mappings.
pub(crate) type GpuVm = gpuvm::Vm<Space>;

/// The right to change mappings; [`None`] at the end of the address space.
pub(super) type Tree = Mutex<Option<VmTree<Space>>>;

/// What is special about address spaces of this device. Fields are dropped in this order: the
/// context must not be used any more when the tables go.
#[pin_data]
pub(crate) struct Space {
    context: Context,
    /// Who it belongs to, for reports.
    label: CString,
    #[pin]
    pub(super) tables: Mutex<Tables>,
    activity: Activity,
    #[pin]
    accesses: Accesses,
    /// What was unmapped while engines may still be using it.
    #[pin]
    limbo: Mutex<Limbo>,
    /// Where a buffer was mapped that could not be mapped again, see [`Space::take_lost`].
    #[pin]
    lost: Mutex<Option<u64>>,
}

/// What a mapping needs to know.
pub(crate) struct Piece {
    pub(super) writable: bool,
    hold: Option<KBox<Hold>>,
}

/// What the steps of a change use, and what they leave behind. Everything was allocated before.
pub(crate) struct Change {
    pub(super) pool: VaPool<Space>,
    pub(super) holds: KVec<KBox<Hold>>,
    pub(super) update: Update<LmemTable>,
    pub(super) batch: KBox<Batch>,
    /// Whether the mapping that is made may be written.
    pub(super) writable: bool,
    /// Whether what is removed makes place for a mapping.
    pub(super) replaces: bool,
}

impl Change {
    fn hold(&mut self, buffer: Option<&Buffer>) -> Result<Option<KBox<Hold>>> {
        let Some(buffer) = buffer else {
            return Ok(None);
        };
        let mut hold = self.holds.pop().ok_or(ENOMEM)?;

        hold.set(buffer.into());
        Ok(Some(hold))
    }
}

/// The addresses as the tables have them.
pub(super) fn va_range(range: &Range<u64>) -> Result<VaRange> {
    VaRange::new(range.start, range.end - range.start)
}

impl Space {
    pub(super) fn new(context: Context, tables: Tables, label: CString) -> impl PinInit<Self> {
        pin_init!(Self {
            context,
            label,
            tables <- new_mutex!(tables, "hlrs::Space::tables"),
            activity: Activity::new(),
            accesses <- Accesses::new(),
            limbo <- new_mutex!(Limbo::new(), "hlrs::Space::limbo"),
            lost <- new_mutex!(None, "hlrs::Space::lost"),
        })
    }

    /// Says what its mappings are. Sleeps.
    pub(super) fn set_tree(&self, tree: &Arc<Tree>) {
        self.context.set_tree(tree);
    }

    /// Has the device use the tables no more. Sleeps.
    pub(super) fn close(&self) {
        self.context.close();
    }

    /// Makes the context usable again after a fault of somebody else's engine. Sleeps; does not
    /// allocate.
    pub(crate) fn recover(&self) {
        self.context.recover();
    }

    /// Whether engines do nothing in it. Any context.
    pub(super) fn is_idle(&self) -> bool {
        let mark = self.activity.mark();

        self.activity.has_passed(mark) && self.accesses.have_passed(mark)
    }

    /// Accesses by engines of other drivers.
    pub(super) fn accesses(&self) -> &Accesses {
        &self.accesses
    }

    /// Who it belongs to, for reports.
    pub(super) fn label(&self) -> &CStr {
        &self.label
    }

    /// Number of the context of the device.
    pub(super) fn context(&self) -> u32 {
        self.context.index()
    }

    /// What engines do in it.
    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Drops the cached translations of what was changed. [`Space::tables`] is locked.
    pub(super) fn invalidate(&self, stale: Option<VaRange>) {
        if let Some(stale) = stale {
            self.context.invalidate(stale.start()..stale.end());
        }
    }

    /// Has the device forget what `change` has made stale, and puts aside what is not used any
    /// more, for [`Space::tidy`].
    ///
    /// To be called once, after all steps. Sleeps; does not allocate.
    pub(super) fn finish(&self, change: Change) {
        let Change {
            update, mut batch, ..
        } = change;

        {
            let _tables = self.tables.lock();

            self.invalidate(update.stale());
        }
        batch.add_tables(update);
        self.put_aside(batch);
    }

    pub(super) fn put_aside(&self, mut batch: KBox<Batch>) {
        batch.seal(self.activity.mark());
        self.limbo.lock().add(batch);
    }

    /// Gives back what was put aside and is not used any more. Returns whether something is left.
    ///
    /// Sleeps; must be called neither with a reservation lock held nor where a fence depends on it.
    pub(super) fn tidy(&self) -> bool {
        let mut limbo = self.limbo.lock();
        let unused =
            limbo.take(|mark| self.activity.has_passed(mark) && self.accesses.have_passed(mark));
        let left = !limbo.is_empty();

        drop(limbo);
        drop(unused);
        left
    }

    /// Bytes of LMEM that the tables take. Sleeps.
    pub(super) fn table_bytes(&self) -> u64 {
        self.tables.lock().tables() as u64 * crate::lmem::PAGE_SIZE
    }

    /// Calls `f` with the tables. Sleeps.
    pub(super) fn with_tables<R>(&self, f: impl FnOnce(&mut Tables) -> R) -> R {
        f(&mut self.tables.lock())
    }

    /// Where a buffer was mapped that could not be mapped again, once.
    pub(crate) fn take_lost(&self) -> Option<u64> {
        self.lost.lock().take()
    }
}

impl DriverVm for Space {
    type Driver = Hlrs;
    type VaData = Piece;
    type VmBoData = Binding;
    type Context<'c> = Change;

    fn map<'op>(op: MapOp<'op, Self>, change: &mut Change) -> Result<Mapped<'op, Self>> {
        let (vm, vm_bo, offset) = (op.vm(), op.vm_bo(), op.offset());
        let range = va_range(&op.range())?;
        let writable = change.writable;
        let piece = Piece {
            writable,
            hold: change.hold(vm_bo.map(VmBo::obj))?,
        };

        let va = change.pool.take()?;
        let mapped = op.insert(va, piece)?;
        Window::with(vm.dev(), |window| {
            let mut tables = vm.tables.lock();

            match vm_bo {
                None => {
                    let mapping = Mapping::null(range, writable);

                    tables.map(window, &mapping, &mut change.update);
                }
                Some(vm_bo) => {
                    match &*vm_bo.memory.lock() {
                        Some(memory) => {
                            let mapping = Mapping::memory(range, memory, offset, writable)?;

                            tables.map(window, &mapping, &mut change.update);
                        }
                        // What was taken away meanwhile is mapped by the next submission.
                        None => tables.vacate(window, range, &mut change.update),
                    }
                }
            }
            Ok::<_, Error>(())
        })?;
        Ok(mapped)
    }

    fn unmap<'op>(op: UnmapOp<'op, Self>, change: &mut Change) -> Result<Unmapped<'op, Self>> {
        clear(op.vm(), &op.va().range(), change)?;

        let (unmapped, removed) = op.remove();
        let (va, piece) = removed.into_parts();
        change.pool.put(va);
        if let Some(hold) = piece.hold {
            change.batch.add(hold);
        }
        Ok(unmapped)
    }

    fn remap<'op>(op: RemapOp<'op, Self>, change: &mut Change) -> Result<Remapped<'op, Self>> {
        clear(op.vm(), &op.hole(), change)?;

        let mut holds = [None, None];
        let pieces = usize::from(op.prev().is_some()) + usize::from(op.next().is_some());
        for hold in holds.iter_mut().take(pieces) {
            *hold = change.hold(op.va().obj())?;
        }
        let mut holds = holds.into_iter();
        let (remapped, removed) = op.remap(&mut change.pool, |old, _| Piece {
            writable: old.writable,
            hold: holds.next().flatten(),
        })?;

        let (va, piece) = removed.into_parts();
        change.pool.put(va);
        if let Some(hold) = piece.hold {
            change.batch.add(hold);
        }
        Ok(remapped)
    }

    fn validate(vm_bo: &VmBo<Self>, guard: &mut Guard<'_>) -> Result {
        let dev = vm_bo.vm().dev().enter().ok_or(ENODEV)?;

        bind_memory(&dev, vm_bo, guard).inspect_err(|_| {
            let va = vm_bo.with_vas(|linked| linked.vas().map(|va| va.range().start).min());

            *vm_bo.vm().lost.lock() = va;
        })
    }
}

/// Clears the entries of a mapping that is removed, unless they are going to be replaced: an engine
/// sees either what was there or what comes. Who takes memory away waits for the end of the change.
fn clear(vm: &GpuVm, range: &Range<u64>, change: &mut Change) -> Result {
    let range = va_range(range)?;

    if !change.replaces {
        Window::with(vm.dev(), |window| {
            vm.tables.lock().unmap(window, range, &mut change.update)
        });
    }
    Ok(())
}
