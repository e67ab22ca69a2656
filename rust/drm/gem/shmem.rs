// SPDX-License-Identifier: GPL-2.0

//! Pages of GEM objects that are backed by shmem.
//!
//! C header: [`include/drm/drm_gem.h`](srctree/include/drm/drm_gem.h)

use super::{
    super::device::raw_device,
    DriverObject,
    Object, //
};
use crate::dma_buf::PageBacking;
use core::{
    ptr,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device,
    devres::Devres,
    dma,
    error::{
        from_err_ptr,
        to_result, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    scatterlist::SGTable,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
    },
    types::Opaque, //
};

/// All pages of a shmem-backed object, allocated and kept in memory.
///
/// Dropping it removes the pages from all CPU mappings of the object, and makes them swappable
/// again. It may be part of the object's own data: it keeps the memory that the GEM object
/// consists of, but not the object's data.
///
/// An object should have one of these at a time. With more, pages are removed from the mappings
/// when the first of them is dropped, and fault in again.
///
/// Dropping it may sleep. C: `drm_gem_get_pages()`, `drm_gem_put_pages()`.
///
/// # Invariants
///
/// - `obj` is a reference to the memory of an object that is backed by shmem.
/// - `pages` is the array of `count` pages that `drm_gem_get_pages()` returned for it.
pub struct ShmemPages<T: DriverObject> {
    obj: NonNull<Object<T>>,
    pages: NonNull<*mut bindings::page>,
    count: usize,
    dirty: Atomic<bool>,
}

impl<T: DriverObject> Object<T> {
    /// Brings all pages of a shmem-backed object into memory, and keeps them there.
    ///
    /// May sleep, for long: it allocates, and reads from swap.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the object is not backed by shmem.
    /// - `ENOMEM`, `ENOSPC`: out of memory.
    pub fn shmem_pages(&self) -> Result<ShmemPages<T>> {
        // SAFETY: `self` is a valid object, whose file does not change.
        if unsafe { (*self.as_raw()).filp }.is_null() {
            return Err(EINVAL);
        }

        // SAFETY: `self` is a valid object that is backed by shmem.
        let pages = from_err_ptr(unsafe { bindings::drm_gem_get_pages(self.as_raw()) })?;

        // INVARIANT: The array was just returned, for an object that is backed by shmem.
        Ok(ShmemPages {
            obj: self.get_memory(),
            pages: NonNull::new(pages).ok_or(ENOMEM)?,
            count: self.size() / PAGE_SIZE,
            dirty: Atomic::new(false),
        })
    }
}

impl<T: DriverObject> ShmemPages<T> {
    /// Returns the raw GEM object that the pages belong to, to compare it with another one.
    pub(super) fn obj_raw(&self) -> *mut bindings::drm_gem_object {
        // SAFETY: The memory of the object is valid by the type invariants.
        unsafe { Opaque::cast_into(&raw const (*self.obj.as_ptr()).obj) }
    }

    /// Returns the number of pages.
    pub fn count(&self) -> usize {
        self.count
    }

    fn page(&self, index: usize) -> Option<*mut bindings::page> {
        // SAFETY: The index is within the array.
        (index < self.count).then(|| unsafe { *self.pages.as_ptr().add(index) })
    }

    /// Returns the page frame number of a page.
    pub fn pfn(&self, index: usize) -> Option<u64> {
        let page = self.page(index)?;

        // SAFETY: The page is valid by the type invariants.
        Some(unsafe { ext_bindings::page_to_pfn(page) } as u64)
    }

    /// Notes that the pages were, or may have been, written to, so that swapping them out has to
    /// save them.
    ///
    /// This happens by itself when pages are mapped writable to userspace, when they are mapped
    /// for a device to write to, and in [`write`](Self::write).
    pub fn mark_dirty(&self) {
        self.dirty.store(true, Relaxed);
    }

    /// Copies from the object at `offset` bytes to `dst`, with the CPU. Does not sleep.
    ///
    /// Others may write at the same time; then the result is some mixture of old and new.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the range is not within the object.
    pub fn read(&self, offset: usize, dst: &mut [u8]) -> Result {
        let mut done = 0;
        self.for_each_part(offset, dst.len(), |part, len| {
            // SAFETY: The part is within a page that is mapped by the caller, and `dst` has as
            // many bytes left as all parts together.
            unsafe { ptr::copy_nonoverlapping(part, dst.as_mut_ptr().add(done), len) };
            done += len;
        })
    }

    /// Copies `src` to the object at `offset` bytes, with the CPU. Does not sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the range is not within the object.
    pub fn write(&self, offset: usize, src: &[u8]) -> Result {
        self.mark_dirty();
        let mut done = 0;
        self.for_each_part(offset, src.len(), |part, len| {
            // SAFETY: As in `read`.
            unsafe { ptr::copy_nonoverlapping(src.as_ptr().add(done), part, len) };
            done += len;
        })
    }

    /// Calls `f` for each part of a range that is within one page, with the page mapped.
    fn for_each_part(
        &self,
        mut offset: usize,
        mut len: usize,
        mut f: impl FnMut(*mut u8, usize),
    ) -> Result {
        let end = offset.checked_add(len).ok_or(EINVAL)?;
        if end > self.count * PAGE_SIZE {
            return Err(EINVAL);
        }

        while len > 0 {
            let page = self.page(offset / PAGE_SIZE).ok_or(EINVAL)?;
            let part = len.min(PAGE_SIZE - offset % PAGE_SIZE);

            // SAFETY: The page is valid by the type invariants.
            let mapped = unsafe { bindings::kmap_local_page(page) };

            // SAFETY: The offset is within the page.
            f(unsafe { mapped.cast::<u8>().add(offset % PAGE_SIZE) }, part);

            // SAFETY: The address comes from `kmap_local_page()`, mapped last.
            unsafe { bindings::kunmap_local(mapped) };

            offset += part;
            len -= part;
        }
        Ok(())
    }

    /// Maps the pages for DMA by `dev`.
    ///
    /// The mapping ends when the result is dropped, and when the driver of `dev` is unbound. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`: out of memory or of I/O address space.
    /// - `EIO`, `EINVAL`, `EREMOTEIO`: the device cannot reach the pages.
    ///
    /// C: `sg_alloc_table_from_pages_segment()`, `dma_map_sgtable()`.
    pub fn map(
        self,
        dev: &device::Device<device::Bound>,
        dir: dma::DataDirection,
    ) -> Result<DmaMap<T>> {
        // SAFETY: `dev` is a bound device.
        let max_segment = unsafe {
            bindings::dma_max_mapping_size(raw_device(dev))
                .min(ext_bindings::dma_get_max_seg_size(raw_device(dev)) as usize)
        };
        // No segment may be split within a page.
        let max_segment = u32::try_from(max_segment & !(PAGE_SIZE - 1)).unwrap_or(u32::MAX);

        let sgt = KBox::new(Opaque::<bindings::sg_table>::zeroed(), GFP_KERNEL)?;

        // SAFETY: The table is uninitialized memory to fill, and the array has `count` pages, of
        // which there is at least one.
        to_result(unsafe {
            bindings::sg_alloc_table_from_pages_segment(
                sgt.get(),
                self.pages.as_ptr(),
                self.count.try_into()?,
                0,
                self.count << PAGE_SHIFT,
                max_segment,
                bindings::GFP_KERNEL,
            )
        })?;
        let sgt = Table(sgt);

        // SAFETY: The device is bound, and the table is valid.
        to_result(unsafe {
            bindings::dma_map_sgtable(raw_device(dev), sgt.0.get(), dir.into(), 0)
        })?;

        if !matches!(dir, dma::DataDirection::ToDevice) {
            self.mark_dirty();
        }

        // INVARIANT: The table was just mapped, and it is dropped after the mapping.
        let mapping = Mapping {
            sgt: sgt.0.get(),
            dev: dev.into(),
            dir,
        };

        Ok(DmaMap {
            mapping: Devres::new(dev, mapping)?,
            sgt,
            pages: self,
        })
    }
}

// SAFETY: The pages stay the same as long as the object has them.
unsafe impl<T: DriverObject> PageBacking for ShmemPages<T> {
    fn pages(&self) -> &[*mut bindings::page] {
        // Whoever asks may write to them.
        self.mark_dirty();

        // SAFETY: The array has `count` pages by the type invariants, and does not change.
        unsafe { core::slice::from_raw_parts(self.pages.as_ptr(), self.count) }
    }
}

impl<T: DriverObject> Drop for ShmemPages<T> {
    fn drop(&mut self) {
        let obj = self.obj_raw();

        // Pages in mappings are not counted; they must not be there when the page goes.
        //
        // SAFETY: The memory of the object, with its `dev`, is valid by the type invariants. If
        // the object has no references any more, it has no mappings either.
        unsafe {
            ext_bindings::drm_vma_node_unmap(
                &raw mut (*obj).vma_node,
                (*(*(*obj).dev).anon_inode).i_mapping,
            )
        };

        // SAFETY: The array comes from `drm_gem_get_pages()` for this object.
        unsafe {
            bindings::drm_gem_put_pages(obj, self.pages.as_ptr(), self.dirty.load(Relaxed), true)
        };

        // SAFETY: `obj` comes from `get_memory()`, and is not used any more.
        unsafe { Object::put_memory(self.obj) };
    }
}

// SAFETY: The pages and the memory of the object can be released from any thread.
unsafe impl<T: DriverObject> Send for ShmemPages<T> {}

// SAFETY: Nothing but the atomic flag, and the content of the pages, changes.
unsafe impl<T: DriverObject> Sync for ShmemPages<T> {}

/// An allocated `struct sg_table`.
struct Table(KBox<Opaque<bindings::sg_table>>);

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: The table was initialized by `sg_alloc_table_from_pages_segment()`.
        unsafe { bindings::sg_free_table(self.0.get()) };
    }
}

// SAFETY: The table can be freed from any thread.
unsafe impl Send for Table {}

// SAFETY: The table does not change.
unsafe impl Sync for Table {}

/// The DMA mapping of a table.
///
/// # Invariants
///
/// `sgt` is a valid table, mapped for `dev`.
struct Mapping {
    sgt: *mut bindings::sg_table,
    dev: ARef<device::Device>,
    dir: dma::DataDirection,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The table is mapped for the device, by the type invariants. `Devres` drops this
        // while the device is bound.
        unsafe {
            bindings::dma_unmap_sgtable(raw_device(&*self.dev), self.sgt, self.dir.into(), 0)
        };
    }
}

// SAFETY: The mapping can be undone from any thread.
unsafe impl Send for Mapping {}

// SAFETY: There are no methods on a shared mapping.
unsafe impl Sync for Mapping {}

/// [`ShmemPages`] that are mapped for DMA by a device.
///
/// The addresses are valid until this is dropped, or the driver of the device is unbound: use them
/// in a section of [`Device::enter`](crate::drm::Device::enter), and make the device forget them
/// before the driver is unbound.
pub struct DmaMap<T: DriverObject> {
    // The order matters: first the mapping goes, then the table, then the pages.
    mapping: Devres<Mapping>,
    sgt: Table,
    pages: ShmemPages<T>,
}

impl<T: DriverObject> DmaMap<T> {
    /// Returns the pages.
    pub fn pages(&self) -> &ShmemPages<T> {
        &self.pages
    }

    /// Returns the device that the pages are mapped for.
    pub fn device(&self) -> &device::Device {
        self.mapping.device()
    }

    /// Returns the scatter-gather table.
    pub fn sgt(&self) -> &SGTable {
        // SAFETY: The table lives as long as `self`, and does not change.
        unsafe { SGTable::from_raw(self.sgt.0.get()) }
    }

    /// Iterates over the ranges that the device sees, in the order of the object: pairs of DMA
    /// address and length in bytes.
    pub fn iter(&self) -> impl Iterator<Item = (dma::DmaAddress, usize)> + '_ {
        self.sgt()
            .iter()
            .map(|entry| (entry.dma_address(), entry.dma_len() as usize))
    }
}
