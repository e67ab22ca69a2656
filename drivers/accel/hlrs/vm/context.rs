// SPDX-License-Identifier: GPL-2.0

//! Contexts of the device: where it finds page tables, and its cache of translations.

use core::ops::Range;

use kernel::{
    io::{
        register::Array,
        Io, //
    },
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use kernel_ext::drm::gpuvm::VmTree;

use super::{
    ended::{
        Ended,
        Remains, //
    },
    space::{
        Space,
        Tree, //
    },
};
use crate::{
    hw::{
        Bar,
        Hw, //
    },
    regs, //
};

/// Contexts that a function has.
const COUNT: usize = hlrs_abi::HLRS_NR_CTX as usize;

/// In the place of an entry: the context is taken, but not used any more.
const CLOSED: u64 = 0;

/// Who has which context.
#[pin_data]
pub(crate) struct Contexts {
    hw: Arc<Hw>,
    /// Entry that points to the root table of each context that is taken.
    #[pin]
    roots: Mutex<[Option<u64>; COUNT]>,
    /// The mappings of those that are used.
    #[pin]
    trees: Mutex<[Option<Arc<Tree>>; COUNT]>,
    /// VMs that still have theirs, but no owner.
    #[pin]
    ended: Ended,
}

impl Contexts {
    /// Nobody has a context. Sleeps (allocates). Fails with `ENOMEM`.
    pub(crate) fn new(hw: Arc<Hw>) -> Result<Arc<Self>> {
        let ended = Ended::new()?;

        Arc::pin_init(
            pin_init!(Self {
                hw,
                ended <- ended,
                roots <- new_mutex!([None; COUNT], "hlrs::Contexts"),
                trees <- new_mutex!([const { None }; COUNT], "hlrs::Contexts::trees"),
            }),
            GFP_KERNEL,
        )
    }

    /// Keeps a VM, which nobody has any more, until no engine uses it. Sleeps; does not allocate.
    pub(super) fn keep_until_idle(&self, remains: KBox<Remains>) {
        self.ended.add(remains);
    }

    /// The engines are stopped: nothing is kept for them any more. Sleeps.
    pub(crate) fn shutdown(&self) {
        self.ended.shutdown();
    }

    /// Takes a context and lets it use the tables that `root` points to.
    ///
    /// Sleeps. Fails with `ENOSPC` if none is left, `ENODEV` if the device is gone.
    pub(super) fn take(self: &Arc<Self>, root: u64) -> Result<Context> {
        let mut roots = self.roots.lock();
        let index = roots.iter().position(Option::is_none).ok_or(ENOSPC)?;

        set_up(&self.hw, index, root)?;
        roots[index] = Some(root);
        Ok(Context {
            contexts: self.clone(),
            index,
        })
    }

    /// Waits for changes of mappings that are being made. Sleeps; does not allocate.
    pub(super) fn wait_for_changes(&self) {
        for index in 0..COUNT {
            let tree = self.trees.lock()[index].clone();

            if let Some(tree) = tree {
                drop(tree.lock());
            }
        }
    }

    /// Calls `f` with the mappings of each VM that is used, and the number of its context. They do not
    /// change meanwhile. Sleeps; returns the first error of `f`.
    pub(super) fn for_each_tree<E>(
        &self,
        mut f: impl FnMut(usize, &VmTree<Space>) -> Result<(), E>,
    ) -> Result<(), E> {
        for index in 0..COUNT {
            let tree = self.trees.lock()[index].clone();

            if let Some(tree) = tree {
                if let Some(tree) = &*tree.lock() {
                    f(index, tree)?;
                }
            }
        }
        Ok(())
    }

    /// Sets all contexts up again after a reset of the function, which forgets them. Sleeps.
    ///
    /// Fails with `ENODEV` if the device is gone.
    pub(crate) fn restore(&self) -> Result {
        for (index, root) in self.roots.lock().iter().enumerate() {
            match root {
                Some(CLOSED) | None => {}
                Some(root) => set_up(&self.hw, index, *root)?,
            }
        }
        Ok(())
    }
}

fn set_up(hw: &Hw, index: usize, root: u64) -> Result {
    hw.try_with(|bar| {
        // The cache may have translations of the last owner.
        enable(bar, index, false)?;
        invalidate_all(bar, index)?;
        bar.try_write(
            regs::CTX_ROOT::try_at(index).ok_or(EINVAL)?,
            regs::CTX_ROOT::from(root),
        )?;
        enable(bar, index, true)
    })
}

fn enable(bar: &Bar<'_>, index: usize, on: bool) -> Result {
    bar.try_write(
        regs::CTX_CTRL::try_at(index).ok_or(EINVAL)?,
        regs::CTX_CTRL::zeroed().with_enable(on),
    )
}

fn invalidate_all(bar: &Bar<'_>, index: usize) -> Result {
    bar.try_write(
        regs::CTX_INVALIDATE::try_at(index).ok_or(EINVAL)?,
        regs::CTX_INVALIDATE::from(hlrs_abi::HLRS_CTX_INVALIDATE_ALL),
    )
}

/// A context of the device. Given back when dropped.
pub(super) struct Context {
    contexts: Arc<Contexts>,
    index: usize,
}

impl Context {
    /// Its number.
    pub(super) fn index(&self) -> u32 {
        // CAST: Less than 32.
        self.index as u32
    }

    /// Drops cached translations of addresses in `range`.
    ///
    /// When it returns no engine uses them but for the step that it is at. Two calls must not run
    /// at the same time. Does not sleep. Without the device there is nothing to do.
    pub(super) fn invalidate(&self, range: Range<u64>) {
        let _ = self.contexts.hw.try_with(|bar| {
            bar.try_write(
                regs::CTX_INV_START::try_at(self.index).ok_or(EINVAL)?,
                regs::CTX_INV_START::from(range.start),
            )?;
            bar.try_write(
                regs::CTX_INV_SIZE::try_at(self.index).ok_or(EINVAL)?,
                regs::CTX_INV_SIZE::from(range.end - range.start),
            )?;
            bar.try_write(
                regs::CTX_INVALIDATE::try_at(self.index).ok_or(EINVAL)?,
                regs::CTX_INVALIDATE::from(hlrs_abi::HLRS_CTX_INVALIDATE_RANGE),
            )
        });
    }
}

impl Context {
    /// Makes a context that a fault has stopped usable again. Sleeps; does not allocate.
    pub(super) fn recover(&self) {
        let roots = self.contexts.roots.lock();

        if roots[self.index] != Some(CLOSED) {
            let _ = self.contexts.hw.try_with(|bar| {
                let status = regs::CTX_STATUS::try_at(self.index).ok_or(EINVAL)?;

                // Turning it off stops whoever is using it.
                if bar.try_read(status)?.faulted() {
                    enable(bar, self.index, false)?;
                    enable(bar, self.index, true)?;
                }
                Ok(())
            });
        }
    }

    /// Says what the mappings are that the context's tables show. Sleeps.
    pub(super) fn set_tree(&self, tree: &Arc<Tree>) {
        self.contexts.trees.lock()[self.index] = Some(tree.clone());
    }

    /// Has the device use the context no more, also after a reset. Sleeps.
    pub(super) fn close(&self) {
        let tree = self.contexts.trees.lock()[self.index].take();
        drop(tree);

        let mut roots = self.contexts.roots.lock();
        roots[self.index] = Some(CLOSED);
        let _ = self.contexts.hw.try_with(|bar| {
            enable(bar, self.index, false)?;
            invalidate_all(bar, self.index)
        });
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.close();
        self.contexts.roots.lock()[self.index] = None;
    }
}
