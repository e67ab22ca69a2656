// SPDX-License-Identifier: GPL-2.0

//! `/proc/<pid>/fdinfo/<fd>` of an open file, in the keys of `drm-usage-stats.rst`.
//!
//! The regions are `system` and `vram0`, memory of this device, and `imported`, what came as a
//! dma-buf from somebody else: it may be memory of another device, and the importer cannot tell.
//! The engine is `copy`; the NIC works for files of its own driver, which have their own `fdinfo`.

use kernel_ext::{
    drm::{
        gem::ObjectStatus,
        MemoryStats,
        Printer, //
    },
    drm_print, //
};

use crate::{
    device::File,
    gem::{
        self,
        Backing,
        Buffer, //
    },
};

/// Prints what the file's jobs and buffers take.
pub(crate) fn show(file: &File, printer: &mut Printer) {
    drm_print!(
        printer,
        "drm-engine-copy:\t{} ns\n",
        file.inner().client.copy_busy_ns()
    );
    drm_print!(
        printer,
        "drm-engine-capacity-copy:\t{}\n",
        hlrs_abi::HLRS_NR_COPY_QUEUES
    );

    drm_print!(
        printer,
        "hlrs-exported:\t{} KiB\n",
        file.inner().client.exported() >> 10
    );

    let mut system = MemoryStats::default();
    let mut vram = MemoryStats::default();
    let mut imported = MemoryStats::default();
    file.for_each_object(|buffer| {
        // A part of a buffer of this device that came back is where that buffer is.
        let (origin, _) = buffer.backing.origin(buffer);

        add(
            match &origin.backing {
                Backing::Lmem(_) => &mut vram,
                Backing::System(_) => &mut system,
                Backing::Imported(_) => &mut imported,
            },
            buffer,
            origin,
        )
    });

    let known = ObjectStatus::RESIDENT | ObjectStatus::ACTIVE;
    printer.memory_stats(&system, known, c"system");
    printer.memory_stats(&vram, known, c"vram0");
    printer.memory_stats(&imported, known, c"imported");
}

/// Adds a buffer, whose memory is that of `origin`, to the sums of its region. Does not sleep.
fn add(stats: &mut MemoryStats, buffer: &Buffer, origin: &Buffer) {
    let size = buffer.size() as u64;

    if buffer.is_shared() {
        stats.shared += size;
    } else {
        stats.private += size;
    }
    stats.resident += origin.backing.resident(size);
    if gem::is_active(buffer) {
        stats.active += size;
    }
}
