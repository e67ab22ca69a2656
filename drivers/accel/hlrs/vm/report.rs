// SPDX-License-Identifier: GPL-2.0

//! Address spaces as debugfs shows them.

use kernel::fmt;

use super::{
    context::Contexts,
    page_table::{
        VaRange,
        VA_END, //
    },
    space::GpuVm,
    tables::Window, //
};

/// Leaves of the same size side by side, of memory without a gap.
struct Run {
    va: u64,
    leaf: u64,
    count: u64,
    /// The first entry; [`None`] if the device does not answer.
    entry: Option<u64>,
}

impl Run {
    /// Adds a leaf if it continues this one. Returns whether it does.
    fn extend(&mut self, va: u64, leaf: u64, entry: Option<u64>) -> bool {
        let next = |step: u64| match self.entry {
            // The address is at its place in the entry.
            Some(first) => entry == Some(first.wrapping_add(step)),
            None => entry.is_none(),
        };
        let bytes = self.count * self.leaf;
        let continues = leaf == self.leaf
            && va == self.va + bytes
            && (next(bytes) || self.is_null() && next(0));

        if continues {
            self.count += 1;
        }
        continues
    }

    /// Whether it shows zeros, so that all entries are the same.
    fn is_null(&self) -> bool {
        self.entry
            .is_some_and(|entry| entry & u64::from(hlrs_abi::HLRS_PTE_NULL) != 0)
    }

    fn print(&self, context: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (va, bytes, leaf) = (self.va, self.count * self.leaf, self.leaf);

        write!(f, "{context} {va:#x} {bytes:#x} {leaf:#x} ")?;
        match self.entry {
            Some(entry) => writeln!(f, "{entry:#x}"),
            None => writeln!(f, "?"),
        }
    }
}

/// Prints a line for each VM: the number of its context, bytes that are mapped, bytes of its page
/// tables, its number in the file that has made it, and the process of that. Sleeps.
pub(crate) fn report_vms(contexts: &Contexts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "context mapped tables vm process")?;
    contexts.for_each_tree(|context, tree| {
        let vm = tree.vm();
        let mapped: u64 = tree
            .iter()
            .map(|va| va.range().end - va.range().start)
            .sum();

        writeln!(
            f,
            "{context} {mapped} {} {}",
            vm.table_bytes(),
            vm.label().to_str().unwrap_or("?")
        )
    })
}

/// Prints a line for each run of leaves in the page tables, as they are in memory: the number of
/// the context, virtual address, bytes, bytes of a leaf, and the first entry. Sleeps.
pub(crate) fn report_page_tables(contexts: &Contexts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "context va bytes leaf entry")?;
    contexts.for_each_tree(|context, tree| print_leaves(context, &tree.vm(), f))
}

fn print_leaves(context: usize, vm: &GpuVm, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let all = VaRange::new(0, VA_END).map_err(|_| fmt::Error)?;
    let mut run = None::<Run>;
    let mut result = Ok(());

    Window::with(vm.dev(), |window| {
        vm.with_tables(|tables| {
            tables.for_each_leaf(window, all, |va, leaf, entry| {
                if run.as_mut().is_some_and(|run| run.extend(va, leaf, entry)) {
                    return;
                }
                let next = Run {
                    va,
                    leaf,
                    count: 1,
                    entry,
                };
                if let (Some(run), Ok(())) = (run.replace(next), result) {
                    result = run.print(context, f);
                }
            });
        });
    });
    result?;
    run.map_or(Ok(()), |run| run.print(context, f))
}
