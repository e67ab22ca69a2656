// SPDX-License-Identifier: GPL-2.0

//! Memory of the machine.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use kernel::page::PAGE_SIZE;

/// Bytes of memory that the page allocator manages. Does not sleep.
///
/// C: `totalram_pages()`.
pub fn total_ram_bytes() -> u64 {
    // SAFETY: No requirements.
    let pages = unsafe { ext_bindings::totalram_pages() } as u64;

    pages * PAGE_SIZE as u64
}
