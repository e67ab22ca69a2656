// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/hlrs-<PCI address>/`.
//!
//! - `counters`: the device's counters, a line each.
//! - `exports`: the dma-bufs that were made of buffers of this device, and their importers.
//! - `imports`: the dma-bufs of others that buffers of this device were made of, and how their memory
//!   is reached.
//! - `owner`: who owns the device, and which importers keep others from owning it.
//! - `vms`: the address spaces: number of the context, bytes that are mapped, bytes of page tables,
//!   number in the file that has made it, process.
//! - `page_tables`: their page tables, as they are in memory: for each run of leaves of a size, of
//!   memory without a gap, the context, virtual address, bytes, bytes of a leaf and first entry.
//! - `inject`: where the device can inject errors, write one of
//!   - `hang`: submit a job that never ends,
//!   - `lose-irq`: drop the next interrupt,
//!   - `lmem-error <address>`: poison the KiB of LMEM at a device-local address,
//!   - `clear`: forget what is pending and heal LMEM.

use kernel::{
    debugfs::Scope,
    device::Device,
    fmt,
    io::Io,
    prelude::*,
    str::CString,
    sync::Arc,
    uaccess::UserSliceReader, //
};

use crate::{
    hw::Hw,
    ops,
    prime::{
        self,
        Exports,
        Imports,
        Ownership, //
    },
    queue::CopyQueue,
    regs,
    vm::{
        self,
        Contexts, //
    },
};

/// What the files are about.
pub(crate) struct Files {
    pub(crate) hw: Arc<Hw>,
    pub(crate) queue: Arc<CopyQueue>,
    pub(crate) exports: Arc<Exports>,
    pub(crate) imports: Arc<Imports>,
    pub(crate) ownership: Arc<Ownership>,
    pub(crate) contexts: Arc<Contexts>,
}

/// The directory; removed when dropped.
pub(crate) type Directory = Pin<KBox<Scope<Files>>>;

/// Creates the directory of `dev`. Sleeps. Without debugfs nothing happens. Fails with `ENOMEM`.
pub(crate) fn directory(dev: &Device, files: Files) -> Result<Directory> {
    let name = CString::try_from_fmt(fmt!("hlrs-{}", dev.name()))?;
    let inject = files.hw.info.has_inject;

    KBox::pin_init(
        Scope::dir(Ok::<_, Error>(files), &name, move |files, dir| {
            dir.read_callback_file(c"counters", files, &show_counters);
            dir.read_callback_file(c"exports", files, &show_exports);
            dir.read_callback_file(c"imports", files, &show_imports);
            dir.read_callback_file(c"owner", files, &show_owner);
            dir.read_callback_file(c"vms", files, &show_vms);
            dir.read_callback_file(c"page_tables", files, &show_page_tables);
            if inject {
                dir.write_only_callback_file(c"inject", files, &inject_error);
            }
        }),
        GFP_KERNEL,
    )
}

fn show_counters(files: &Files, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, name) in regs::COUNTER_NAMES.iter().enumerate() {
        match files.hw.counter(index) {
            Ok(value) => writeln!(f, "{name} {value}")?,
            Err(_) => writeln!(f, "{name} -")?,
        }
    }
    Ok(())
}

fn show_exports(files: &Files, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    prime::report_exports(&files.exports, f)
}

fn show_imports(files: &Files, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    files.imports.report(f)
}

fn show_owner(files: &Files, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    files.ownership.report(f)
}

fn show_vms(files: &Files, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    vm::report_vms(&files.contexts, f)
}

fn show_page_tables(files: &Files, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    vm::report_page_tables(&files.contexts, f)
}

fn inject_error(files: &Files, reader: &mut UserSliceReader) -> Result {
    let mut buffer = [0u8; 64];
    let len = reader.len();
    reader.read_slice(buffer.get_mut(..len).ok_or(EINVAL)?)?;
    let text = core::str::from_utf8(&buffer[..len]).map_err(|_| EINVAL)?;

    let inject = |bits: regs::INJECT| files.hw.with(|bar| bar.write_reg(bits));
    let mut words = text.split_ascii_whitespace();
    let result = match (words.next(), words.next()) {
        (Some("hang"), None) => return ops::hang(&files.queue),
        (Some("lose-irq"), None) => inject(regs::INJECT::zeroed().with_lose_irq(true)),
        (Some("clear"), None) => inject(regs::INJECT::zeroed().with_clear(true)),
        (Some("lmem-error"), Some(address)) => {
            let address = address.strip_prefix("0x").ok_or(EINVAL)?;
            let address = u64::from_str_radix(address, 16).map_err(|_| EINVAL)?;

            files.hw.try_with(|bar| {
                bar.try_write_reg(regs::INJECT_ADDR::from(address))?;
                bar.write_reg(regs::INJECT::zeroed().with_lmem_error(true));
                Ok(())
            })
        }
        _ => return Err(EINVAL),
    };
    if words.next().is_some() {
        return Err(EINVAL);
    }
    result
}
