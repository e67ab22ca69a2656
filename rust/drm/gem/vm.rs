// SPDX-License-Identifier: GPL-2.0

//! Mappings of GEM objects to userspace.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/drm/drm_vma_manager.h`](srctree/include/drm/drm_vma_manager.h)

use super::{
    DriverObject,
    Object,
    ShmemPages, //
};
use crate::dma_buf::DmaBuf;
use core::marker::PhantomData;
use kernel::{
    bindings,
    device,
    error::from_result,
    ffi::{
        c_int,
        c_ulong, //
    },
    mm::virt::VmaNew,
    page::PAGE_SIZE,
    pci,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// How the CPU caches a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// As ordinary memory.
    Cached,
    /// Writes are collected and go out in bursts, reads are not cached.
    WriteCombined,
}

/// How a page fault ended.
///
/// C: `vm_fault_t`.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmFaultResult(bindings::vm_fault_t);

impl VmFaultResult {
    /// The page table is right now; the access is tried again.
    pub const NOPAGE: Self = Self(bindings::vm_fault_reason_VM_FAULT_NOPAGE);
    /// There is no memory behind this address (any more); the process gets SIGBUS.
    pub const SIGBUS: Self = Self(bindings::vm_fault_reason_VM_FAULT_SIGBUS);
    /// Out of memory.
    pub const OOM: Self = Self(bindings::vm_fault_reason_VM_FAULT_OOM);

    /// Returns the result as C has it.
    pub const fn as_raw(self) -> bindings::vm_fault_t {
        self.0
    }
}

impl From<Error> for VmFaultResult {
    /// What drivers make of an error: out of memory, try again (after the signal), or SIGBUS.
    fn from(e: Error) -> Self {
        if e == ENOMEM {
            Self::OOM
        } else if e == EAGAIN || e == EINTR || e == ERESTARTSYS {
            Self::NOPAGE
        } else {
            Self::SIGBUS
        }
    }
}

/// A range of physical addresses that is device memory, and may be mapped to userspace.
///
/// # Invariants
///
/// All pages of the range are device memory of which userspace may get to see any.
#[derive(Clone, Copy, Debug)]
pub struct IoWindow {
    start: u64,
    size: u64,
}

impl IoWindow {
    /// Makes a window of the memory at the physical address `start`, of `size` bytes.
    ///
    /// # Safety
    ///
    /// The range must be device memory, and access to it must not be able to do harm to the
    /// kernel. Pages of the window must not be inserted after the memory has become someone
    /// else's.
    pub const unsafe fn new(start: u64, size: u64) -> Self {
        // INVARIANT: By the safety requirements.
        Self { start, size }
    }

    /// Makes a window of a BAR of a PCI device.
    ///
    /// Pages can be inserted only by the fault handler of a device that is not unplugged, and
    /// unplugging removes them; the window does not keep the BAR from being given to someone else
    /// after that.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no such BAR, or it does not begin at a page. `ENODEV`: it is not
    /// assigned.
    pub fn from_bar(pdev: &pci::Device<device::Bound>, bar: u32) -> Result<Self> {
        let start = pdev.resource_start(bar)?;
        let size = pdev.resource_len(bar)?;

        if size == 0 {
            return Err(ENODEV);
        }
        if start % PAGE_SIZE as u64 != 0 {
            return Err(EINVAL);
        }

        // INVARIANT: The BAR belongs to the driver that the device is bound to.
        Ok(Self { start, size })
    }

    /// Returns the size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the number of the page frame at `offset` bytes.
    const fn pfn(&self, offset: u64) -> u64 {
        (self.start + offset) / PAGE_SIZE as u64
    }
}

/// A page fault in a mapping of a GEM object.
///
/// # Invariants
///
/// - `self.0` is a valid `struct vm_fault` that is being handled, in a VMA that
///   [`set_up_vma`] has set up for the GEM object `vm_private_data`.
/// - The page of the fault is within the object.
#[repr(transparent)]
pub struct VmFault(Opaque<bindings::vm_fault>, NotThreadSafe);

impl VmFault {
    fn vma(&self) -> *mut bindings::vm_area_struct {
        // SAFETY: By the type invariants.
        unsafe { (*self.0.get()).__bindgen_anon_1.vma }
    }

    fn obj(&self) -> *mut bindings::drm_gem_object {
        // SAFETY: By the type invariants.
        unsafe { (*self.vma()).vm_private_data.cast() }
    }

    /// Returns the page of the object that is accessed, counted from 0.
    pub fn page_index(&self) -> usize {
        // SAFETY: By the type invariants; the node has its place since before the VMA was set up.
        unsafe {
            (*self.0.get()).__bindgen_anon_1.pgoff - (*self.obj()).vma_node.vm_node.start as usize
        }
    }

    /// Returns where in the object the page is that is accessed, in bytes.
    pub fn page_offset(&self) -> usize {
        self.page_index() * PAGE_SIZE
    }

    /// Returns whether the access is a write.
    pub fn is_write(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { (*self.0.get()).flags & bindings::fault_flag_FAULT_FLAG_WRITE != 0 }
    }

    /// The dma-buf through which the object was mapped, see [`Object::mmap_exported`]; `None` if
    /// it was mapped through a file of the device.
    pub fn dma_buf(&self) -> Option<&DmaBuf> {
        // SAFETY: By the type invariants the VMA is valid, and has a file for all of its life.
        let file = unsafe { (*self.vma()).vm_file };

        // SAFETY: As above. A VMA of an object is either one of a file of its device, which has
        // these operations, or of a dma-buf that shares them.
        if unsafe { (*file).f_op } == unsafe { (*(*(*self.obj()).dev).driver).fops } {
            return None;
        }

        // SAFETY: It is the file of a dma-buf, whose private data is the dma-buf, and which the
        // VMA holds.
        Some(unsafe { DmaBuf::from_raw((*file).private_data.cast()) })
    }

    /// Inserts a page of device memory, at `offset` bytes in `window`.
    ///
    /// The driver must hold the lock that it excludes unmapping with, see
    /// [`DriverObject::fault`]. Gives SIGBUS if the page is not within the window. May sleep.
    pub fn insert_io(&mut self, window: &IoWindow, offset: u64) -> VmFaultResult {
        match offset.checked_add(PAGE_SIZE as u64) {
            // SAFETY: By the invariants of `window` the page may be mapped.
            Some(end) if end <= window.size => unsafe { self.insert_pfn(window.pfn(offset)) },
            _ => VmFaultResult::SIGBUS,
        }
    }

    /// As [`insert_io`](Self::insert_io), and inserts up to `pages - 1` more pages that follow in
    /// the window as they do in the object.
    ///
    /// This saves faults on them. They are within the mapping and the window; that they are the
    /// object's is the caller's business: `pages` must not reach beyond the part of the object
    /// that is in one piece in the window, nor beyond the object.
    pub fn insert_io_range(
        &mut self,
        window: &IoWindow,
        offset: u64,
        pages: usize,
    ) -> VmFaultResult {
        let result = self.insert_io(window, offset);
        if result != VmFaultResult::NOPAGE {
            return result;
        }

        // SAFETY: By the type invariants.
        let (mut address, end) = unsafe {
            (
                (*self.0.get()).__bindgen_anon_1.address,
                (*self.vma()).__bindgen_anon_1.__bindgen_anon_1.vm_end,
            )
        };
        let mut offset = offset;
        for _ in 1..pages {
            address += PAGE_SIZE as c_ulong;
            offset += PAGE_SIZE as u64;
            if address >= end || window.size - offset < PAGE_SIZE as u64 {
                break;
            }

            // SAFETY: By the invariants of `window` the page may be mapped, and the address is
            // within the VMA.
            let result = unsafe { self.insert_pfn_at(address, window.pfn(offset)) };
            if result != VmFaultResult::NOPAGE {
                break;
            }
        }
        result
    }

    /// Inserts the object's shmem page.
    ///
    /// Gives SIGBUS if `pages` are those of another object. May sleep.
    pub fn insert_shmem<T: DriverObject>(&mut self, pages: &ShmemPages<T>) -> VmFaultResult {
        if pages.obj_raw() != self.obj() {
            return VmFaultResult::SIGBUS;
        }

        // SAFETY: By the type invariants.
        if unsafe { (*self.vma()).__bindgen_anon_2.vm_flags } & bindings::VM_MAYWRITE != 0 {
            // The page is writable at once, or after mprotect(2); writes are not noticed.
            pages.mark_dirty();
        }

        match pages.pfn(self.page_index()) {
            // SAFETY: The page belongs to the object. Before `pages` gives it back, it is removed
            // from all mappings.
            Some(pfn) => unsafe { self.insert_pfn(pfn) },
            None => VmFaultResult::SIGBUS,
        }
    }

    /// Inserts the page with the number `pfn`, with the caching that was chosen for the mapping.
    ///
    /// May sleep.
    ///
    /// # Safety
    ///
    /// Userspace may see and change the page, until it is removed with [`Object::unmap_cpu`] or
    /// [`Device::unmap_all_cpu`](crate::drm::Device::unmap_all_cpu), which must happen before
    /// the page is used for anything else.
    ///
    /// C: `vmf_insert_pfn()`.
    pub unsafe fn insert_pfn(&mut self, pfn: u64) -> VmFaultResult {
        // SAFETY: By the type invariants.
        let address = unsafe { (*self.0.get()).__bindgen_anon_1.address };

        // SAFETY: By the safety requirements; the address of a fault is within the VMA.
        unsafe { self.insert_pfn_at(address, pfn) }
    }

    /// # Safety
    ///
    /// As for [`insert_pfn`](Self::insert_pfn), and `address` must be within the VMA.
    unsafe fn insert_pfn_at(&mut self, address: c_ulong, pfn: u64) -> VmFaultResult {
        // SAFETY: The VMA is valid and locked, has `VM_PFNMAP`, and is not a private writable
        // mapping, as `set_up_vma` has seen to.
        VmFaultResult(unsafe { bindings::vmf_insert_pfn(self.vma(), address, pfn as c_ulong) })
    }
}

/// The `struct vm_operations_struct` of objects with data `T`.
pub(super) struct VmOps<T: DriverObject>(PhantomData<T>);

impl<T: DriverObject> VmOps<T> {
    pub(super) const VM_OPS: bindings::vm_operations_struct = {
        let mut ops: bindings::vm_operations_struct = pin_init::zeroed();

        ops.open = Some(bindings::drm_gem_vm_open);
        ops.close = Some(bindings::drm_gem_vm_close);
        ops.fault = Some(fault_callback::<T>);

        ops
    };
}

impl<T: DriverObject> Object<T> {
    /// Maps the object to userspace, beginning at `offset` bytes, through a dma-buf that
    /// [shares the mappings](Object::share_mappings) of the object. It is for
    /// [`Exporter::mmap`](crate::dma_buf::Exporter::mmap).
    ///
    /// The place that userspace has asked for, in `vma`, counts from `offset`. May sleep.
    ///
    /// # Errors
    ///
    /// - `ENODEV`: the device is unplugged.
    /// - `EINVAL`: the range is not within the object, `offset` is not a multiple of the page
    ///   size, the mapping is private and writable, it is not one through such a dma-buf, or the
    ///   driver has no [`DriverObject::fault`].
    /// - What [`DriverObject::mmap`] returned.
    ///
    /// C: `drm_gem_prime_mmap()`.
    pub fn mmap_exported(&self, vma: &VmaNew, offset: usize) -> Result {
        if self.dev().is_unplugged() {
            return Err(ENODEV);
        }

        let vma = vma.as_ptr();
        // SAFETY: `vma` is valid, being borrowed as a `VmaNew`.
        let (pgoff, pages) = unsafe {
            let area = (*vma).__bindgen_anon_1.__bindgen_anon_1;
            ((*vma).vm_pgoff, (area.vm_end - area.vm_start) / PAGE_SIZE)
        };
        let index = offset / PAGE_SIZE + pgoff;
        if offset % PAGE_SIZE != 0
            || index.checked_add(pages).ok_or(EINVAL)? > self.size() / PAGE_SIZE
        {
            return Err(EINVAL);
        }

        let start = self.mmap_offset()? as usize / PAGE_SIZE;

        // SAFETY: `vma` is being set up, so that its place may be changed. On success the VMA gets
        // a reference to the object, and operations that release it. On failure it is as it was.
        unsafe {
            (*vma).vm_pgoff = (start + index) as c_ulong;
            set_up_vma(self, vma).inspect_err(|_| (*vma).vm_pgoff = pgoff)?;
            (*vma).vm_private_data = Object::into_raw(self.into()).cast();
            (*vma).vm_ops = const { &VmOps::<T>::VM_OPS };
        }
        Ok(())
    }
}

/// The mmap callback of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// Only for `struct drm_gem_object_funcs` of `T`.
pub(super) unsafe extern "C" fn mmap_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: Called for objects of type `Object<T>` only, with a reference held.
    let obj = unsafe { Object::<T>::from_raw(obj) };

    // SAFETY: Called for a VMA that is being set up, after its place was.
    from_result(|| unsafe { set_up_vma(obj, vma) }.map(|()| 0))
}

/// Makes `vma` one that [`fault_callback`] can handle.
///
/// # Safety
///
/// `vma` must be valid and being set up, and its `vm_pgoff` that of a page of the object.
unsafe fn set_up_vma<T: DriverObject>(
    obj: &Object<T>,
    vma: *mut bindings::vm_area_struct,
) -> Result {
    if !T::HAS_FAULT {
        return Err(EINVAL);
    }

    // A private copy of device memory makes no sense, and `VM_PFNMAP` rules it out.
    //
    // SAFETY: `vma` is valid by the safety requirements.
    if unsafe { ext_bindings::vma_is_cow_mapping(vma) } {
        return Err(EINVAL);
    }

    // Pages are found, and removed again, by the place of the object in the address space that all
    // files of the device share. A mapping of something else could not be torn down.
    //
    // SAFETY: `vma` has a file, and the device its anonymous inode.
    let (mapping, shared) = unsafe {
        (
            (*(*vma).vm_file).f_mapping,
            (*(*obj.dev().as_raw()).anon_inode).i_mapping,
        )
    };
    if mapping != shared || obj.first_page() == 0 {
        return Err(EINVAL);
    }

    if T::HAS_MMAP {
        T::mmap(obj)?;
    }

    // SAFETY: `vma` is valid and being set up, by the safety requirements.
    unsafe {
        ext_bindings::vm_flags_set(
            vma,
            bindings::VM_PFNMAP | bindings::VM_IO | bindings::VM_DONTEXPAND | bindings::VM_DONTDUMP,
        )
    };

    // SAFETY: As above.
    let mut prot = unsafe { bindings::vm_get_page_prot((*vma).__bindgen_anon_2.vm_flags) };
    if T::mmap_caching(obj) == Caching::WriteCombined {
        // SAFETY: No requirements.
        prot = unsafe { bindings::pgprot_writecombine(prot) };
    }
    // Where memory is encrypted, device memory is not.
    //
    // SAFETY: `obj` is a valid object, whose file does not change.
    if unsafe { (*obj.as_raw()).filp }.is_null() {
        // SAFETY: No requirements.
        prot = unsafe { ext_bindings::pgprot_decrypted(prot) };
    }

    // SAFETY: `vma` is valid and being set up, by the safety requirements.
    unsafe { (*vma).vm_page_prot = prot };
    Ok(())
}

/// # Safety
///
/// Only for VMAs that [`set_up_vma`] has set up for an object of type `Object<T>`.
unsafe extern "C" fn fault_callback<T: DriverObject>(
    vmf: *mut bindings::vm_fault,
) -> bindings::vm_fault_t {
    if !T::HAS_FAULT {
        return VmFaultResult::SIGBUS.as_raw();
    }

    // SAFETY: The fault is in a VMA of an `Object<T>`, to which the VMA holds a reference.
    let obj =
        unsafe { Object::<T>::from_raw((*(*vmf).__bindgen_anon_1.vma).vm_private_data.cast()) };

    // SAFETY: `vmf` is valid.
    let index = unsafe { (*vmf).__bindgen_anon_1.pgoff }.checked_sub(obj.first_page());
    if index.is_none_or(|index| index >= obj.size() / PAGE_SIZE) {
        return VmFaultResult::SIGBUS.as_raw();
    }

    let Some(_guard) = obj.dev().enter() else {
        return VmFaultResult::SIGBUS.as_raw();
    };

    // SAFETY: `vmf` is valid, and not used otherwise until this returns.
    // CAST: `VmFault` is a transparent wrapper of `struct vm_fault`.
    // INVARIANT: The VMA was set up by `set_up_vma`, and the page is within the object.
    let fault = unsafe { &mut *vmf.cast::<VmFault>() };

    T::fault(obj, fault).as_raw()
}
