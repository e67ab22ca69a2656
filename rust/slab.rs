// SPDX-License-Identifier: GPL-2.0

//! The slab allocator, for what is allocated and freed often.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use kernel::{
    alloc::{
        allocator::Kmalloc,
        flags::GFP_KERNEL,
        AllocError,
        Allocator,
        Box,
        Flags,
        NumaNode, //
    },
    bindings, //
};

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

/// `kmalloc()` with `GFP_KERNEL`, and `kfree()`.
///
/// [`Kmalloc`] is `krealloc()` for everything, which looks first whether there is an allocation to
/// be resized. The memory is of the same kind; what these two functions do not do is left to it.
pub struct Slab;

/// A [`Box`] of memory by `kmalloc()`.
pub type SlabBox<T> = Box<T, Slab>;

// SAFETY: New memory comes from `kmalloc()`. Its size is a multiple of its alignment, so that it is
// aligned as that of `Kmalloc` is, and it is valid until it is freed. All other cases are left to
// `Kmalloc`, whose memory is of `kmalloc()` too, and which resizes and frees any such memory.
unsafe impl Allocator for Slab {
    const MIN_ALIGN: usize = Kmalloc::MIN_ALIGN;

    #[inline]
    unsafe fn realloc(
        ptr: Option<NonNull<u8>>,
        layout: Layout,
        old_layout: Layout,
        flags: Flags,
        nid: NumaNode,
    ) -> Result<NonNull<[u8]>, AllocError> {
        match ptr {
            None if layout.size() > 0 && flags == GFP_KERNEL && nid == NumaNode::NO_NODE => {
                let size = layout.pad_to_align().size();

                // SAFETY: No requirements.
                let memory = unsafe { ext_bindings::kmalloc(size) };
                let memory = NonNull::new(memory.cast()).ok_or(AllocError)?;

                Ok(NonNull::slice_from_raw_parts(memory, size))
            }
            // SAFETY: The requirements are the same.
            _ => unsafe { Kmalloc::realloc(ptr, layout, old_layout, flags, nid) },
        }
    }

    #[inline]
    unsafe fn free(ptr: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: By the safety requirements it is memory of `kmalloc()`, which nobody uses
            // any more.
            unsafe { bindings::kfree(ptr.as_ptr().cast()) };
        }
    }
}
