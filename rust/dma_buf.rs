// SPDX-License-Identifier: GPL-2.0

//! Buffers that are shared between devices, and with userspace by file descriptors.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)
//!
//! Reference: <https://docs.kernel.org/driver-api/dma-buf.html>
//!
//! # Parts
//!
//! - [`DmaBuf`] is a buffer of any exporter, C or Rust.
//! - [`Exporter`] is implemented by a driver that has memory to share, with [`SgTable`] for the
//!   DMA mappings that it hands out. The importers that it meets are [`NewAttachment`] and
//!   [`ExportedAttachment`].
//! - [`Importer`] and [`Attachment`] are for a driver that uses the memory of others.
//! - [`interconnect`] is for exporters and importers that know of other ways to the memory than a
//!   scatterlist.
//!
//! # Lifetime model
//!
//! A dma-buf is a file, and lives by the references on it. The exporter's private data, the value
//! that implements [`Exporter`], is dropped once, when the last reference has gone; until then
//! the module of the exporter cannot be unloaded. Its reservation object is its own or one that
//! the private data keeps alive.
//!
//! An attachment ties a device of the importer to a dma-buf. The C side takes references on
//! neither. [`Attachment`] owns one on the dma-buf, on the device and on the importer's module; it
//! detaches when it is dropped, and when the driver is unbound from the device, whichever comes
//! first. A mapping belongs to the attachment that it was made with, so that it cannot be
//! forgotten: it is undone by [`Attachment::unmap`], or when the attachment is. What a driver gets
//! to see of it is a [`Mapping`], a borrow that ends with the reservation lock. That is the rule
//! for dynamic importers in the form of a type: without the lock the exporter may take the
//! mapping away.
//!
//! # Locking
//!
//! Each function says whether it needs the reservation lock, by taking a
//! [`Guard`](crate::dma_resv::Guard) or not, and the C side calls those of the traits accordingly:
//!
//! | called with the lock | called without |
//! |---|---|
//! | `pin`, `unpin`, `map`, `unmap`, `vmap`, `vunmap`, `invalidate_mappings` | `attach`, `detach`, `mmap`, `begin_cpu_access`, `end_cpu_access`, drop of the private data |
//!
//! `attach` runs before the attachment is on the list, so an exporter that revokes at that moment
//! does not reach it: `map` has to look again. `detach` is not called for an attachment that
//! `attach` has refused.
//!
//! # Known limits
//!
//! - There are no static importers ([`Attachment`] always has importer operations), since those
//!   can neither be revoked nor use peer-to-peer memory.
//! - A user of these types imports the symbol namespace `DMA_BUF`.

use crate::dma_resv::{
    DmaResv,
    Guard, //
};
use kernel::{
    bindings,
    dma::DataDirection,
    error::from_err_ptr,
    fs::{
        file::flags,
        File, //
    },
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

use core::ptr::NonNull;

mod attachment;
mod cpu_access;
mod export;
mod export_list;
mod exported;
mod exporter;
mod exporter_vtable;
mod importer;
pub mod interconnect;
mod page_map;
mod revocation;
mod sg_table;
mod slot;

pub use attachment::{
    Attachment,
    Mapping, //
};
pub use cpu_access::{
    CpuAccess,
    KernelMap,
    VMap, //
};
use export::data_from_raw;
pub use export::{
    ExportInfo,
    ExportPlace, //
};
pub use export_list::{
    ExportList,
    Exports, //
};
pub use exported::{
    AttachmentInfo,
    Attachments,
    ExportedAttachment,
    NewAttachment, //
};
pub use exporter::Exporter;
pub use exporter_vtable::vtable;
pub use importer::{
    Importer,
    Invalidation, //
};
pub use page_map::PageMap;
pub use revocation::Deadline;
pub use sg_table::{
    segments,
    PageBacking,
    PhysRange,
    SgTable, //
};

/// Size of a buffer for a name that userspace gave to a dma-buf, with its terminating zero.
pub const NAME_LEN: usize = ext_bindings::DMA_BUF_NAME_LEN as usize;

/// A buffer of any exporter.
///
/// Instances are always reference counted; an owned reference is an [`ARef<DmaBuf>`].
///
/// # Invariants
///
/// The underlying `struct dma_buf` is initialised.
#[repr(transparent)]
pub struct DmaBuf(Opaque<bindings::dma_buf>);

// SAFETY: The last reference to a dma-buf may be dropped on any thread.
unsafe impl Send for DmaBuf {}

// SAFETY: The methods that take `&self` read what does not change, or lock.
unsafe impl Sync for DmaBuf {}

// SAFETY: A dma-buf is counted by its file, and lives until the last reference is put.
unsafe impl AlwaysRefCounted for DmaBuf {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: A shared reference means that the reference count is not zero.
        unsafe { ext_bindings::get_dma_buf(self.as_raw()) };
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference that it owns.
        unsafe { bindings::dma_buf_put(obj.cast().as_ptr()) };
    }
}

impl DmaBuf {
    /// Creates a reference from a pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialised `struct dma_buf` that is not freed during `'a`.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::dma_buf) -> &'a Self {
        // SAFETY: By the safety requirements; `DmaBuf` is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    /// Looks up the dma-buf behind a file descriptor of the current process.
    ///
    /// Does not sleep. C: `dma_buf_get()`.
    ///
    /// # Errors
    ///
    /// - `EBADF`: there is no such descriptor.
    /// - `EINVAL`: it is not that of a dma-buf.
    pub fn from_fd(fd: i32) -> Result<ARef<Self>> {
        // SAFETY: No requirements.
        let ptr = from_err_ptr(unsafe { bindings::dma_buf_get(fd) })?;

        // SAFETY: On success the C function returns a new reference, never `NULL`.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(ptr.cast())) })
    }

    /// Takes a reference if the dma-buf is not being destroyed, as for a list that an exporter
    /// keeps of what it has exported.
    ///
    /// Does not sleep. C: `get_file_active()`.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a `struct dma_buf` whose private data has not been dropped entirely.
    /// An exporter has that by removing its entry from the list when its private data is dropped,
    /// and by holding the lock of the list here.
    pub unsafe fn try_get(ptr: NonNull<bindings::dma_buf>) -> Option<ARef<Self>> {
        // SAFETY: The dma-buf is freed after its private data, so by the safety requirements it is
        // valid.
        let file = unsafe { bindings::get_file_active(&raw mut (*ptr.as_ptr()).file) };

        // SAFETY: If there is a file, the reference on it is one on the dma-buf.
        (!file.is_null()).then(|| unsafe { ARef::from_raw(ptr.cast()) })
    }

    /// Returns the raw pointer.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::dma_buf {
        self.0.get()
    }

    /// Size in bytes. Never changes.
    #[inline]
    pub fn size(&self) -> usize {
        // SAFETY: By the type invariant the dma-buf is initialised; the field never changes.
        unsafe { (*self.as_raw()).size }
    }

    /// The reservation object of the buffer. Others may share it.
    #[inline]
    pub fn resv(&self) -> &DmaResv {
        // SAFETY: By the type invariant the dma-buf is initialised; its reservation object lives
        // as long as it does.
        unsafe { DmaResv::from_raw((*self.as_raw()).resv) }
    }

    /// The name that the exporter gave to itself.
    pub fn exporter_name(&self) -> &CStr {
        // SAFETY: By the type invariant the dma-buf is initialised. The name is a string that
        // lives as long as the exporter's module, on which the dma-buf has a reference.
        unsafe { CStr::from_char_ptr((*self.as_raw()).exp_name) }
    }

    /// Copies the name that userspace gave to the buffer (`DMA_BUF_SET_NAME`) into `buf`. `None`
    /// if it has none.
    ///
    /// Does not sleep.
    pub fn name<'a>(&self, buf: &'a mut [u8; NAME_LEN]) -> Option<&'a CStr> {
        let raw = self.as_raw();

        // SAFETY: By the type invariant the dma-buf is initialised, and its lock with it.
        unsafe { bindings::spin_lock(&raw mut (*raw).name_lock) };
        // SAFETY: The name does not change while the lock is held.
        let name = unsafe { (*raw).name };
        if !name.is_null() {
            // SAFETY: The C side limits the name to `NAME_LEN` bytes with the terminating zero.
            let name = unsafe { CStr::from_char_ptr(name) }.to_bytes_with_nul();
            let len = name.len().min(NAME_LEN);
            buf[..len].copy_from_slice(&name[..len]);
        }
        // SAFETY: Locked above.
        unsafe { bindings::spin_unlock(&raw mut (*raw).name_lock) };

        if name.is_null() {
            return None;
        }
        CStr::from_bytes_until_nul(buf).ok()
    }

    /// The access mode of the file: `O_RDONLY`, `O_WRONLY` or `O_RDWR`.
    ///
    /// It applies to all descriptors. The C side enforces it for `mmap()` of userspace only.
    pub fn access_mode(&self) -> u32 {
        // SAFETY: By the type invariant the dma-buf is initialised. The access mode in the flags
        // of a file does not change.
        let flags = unsafe { (*(*self.as_raw()).file).f_flags };

        flags & flags::O_ACCMODE
    }

    /// Whether the file of the dma-buf was opened for writing, see [`DmaBuf::access_mode`].
    pub fn is_writable(&self) -> bool {
        self.access_mode() != flags::O_RDONLY
    }

    /// Number of the inode, by which debugfs and `fdinfo` name the buffer.
    pub fn inode_number(&self) -> u64 {
        // SAFETY: By the type invariant the dma-buf is initialised; its file has an inode.
        unsafe { (*(*(*self.as_raw()).file).f_inode).i_ino }
    }

    /// The file of the dma-buf, to be installed at a descriptor that was reserved before.
    ///
    /// Installing is then the last step and cannot fail, see
    /// [`FileDescriptorReservation`](kernel::fs::file::FileDescriptorReservation).
    pub fn file(&self) -> ARef<File> {
        // SAFETY: By the type invariant the dma-buf is initialised, and the file is valid as long
        // as it. `fdget_pos()` does not lock the position of a dma-buf: it is not a regular file.
        unsafe { File::from_raw_file((*self.as_raw()).file) }.into()
    }

    /// As [`DmaBuf::file`], with the reference that the caller has.
    pub fn into_file(this: ARef<Self>) -> ARef<File> {
        // SAFETY: By the type invariant the dma-buf is initialised. It is counted by its file, so
        // that the reference is one on that, and never `NULL`. The position is not locked, as in
        // `file()`.
        unsafe {
            let file = (*ARef::into_raw(this).cast::<bindings::dma_buf>().as_ptr()).file;

            ARef::from_raw(NonNull::new_unchecked(file.cast()))
        }
    }

    /// Installs a new file descriptor of the current process for the buffer.
    ///
    /// `flags` are those of the descriptor: `O_CLOEXEC` or 0. Userspace may use it, and close it,
    /// before this returns. Sleeps. C: `dma_buf_fd()`.
    ///
    /// # Errors
    ///
    /// - `EMFILE`: the process has too many descriptors.
    /// - `ENOMEM`.
    /// - `EINVAL`: another flag is set.
    pub fn fd(&self, flags: u32) -> Result<i32> {
        if flags & !flags::O_CLOEXEC != 0 {
            return Err(EINVAL);
        }

        let this: ARef<Self> = self.into();

        // CAST: `O_CLOEXEC` fits.
        // SAFETY: By the type invariant the dma-buf is initialised.
        let fd = unsafe { bindings::dma_buf_fd(self.as_raw(), flags as i32) };

        if fd < 0 {
            return Err(Error::from_errno(fd));
        }
        // The descriptor owns this reference now.
        let _ = ARef::into_raw(this);
        Ok(fd)
    }

    /// Tells all importers that mappings are no longer valid, and have to be made anew.
    ///
    /// Importers that can, unmap now or soon; see [`Attachment`]. Until the fences of the
    /// reservation object have signalled they may access the memory, and until they unmap they
    /// may read it and throw away what they read. Sleeps. C: `dma_buf_invalidate_mappings()`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `guard` is that of another reservation object.
    pub fn invalidate_mappings(&self, guard: &mut Guard<'_>) -> Result {
        self.check_guard(guard)?;
        // SAFETY: By the type invariant the dma-buf is initialised, and it is locked.
        unsafe { bindings::dma_buf_invalidate_mappings(self.as_raw()) };
        Ok(())
    }

    /// The attachments of the buffer.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `guard` is that of another reservation object.
    pub fn attachments<'a>(&'a self, guard: &'a Guard<'_>) -> Result<Attachments<'a>> {
        self.check_guard(guard)?;
        Ok(Attachments::new(self, guard))
    }

    /// The private data, if the buffer was exported by `E`.
    pub fn exported_by<E: Exporter>(&self) -> Option<&E> {
        export::data_of(self)
    }

    /// Prepares the buffer for access by the CPU, and waits for the fences that such an access
    /// depends on.
    ///
    /// `direction` is seen from the device: [`DataDirection::FromDevice`] to read. Sleeps; a
    /// signal ends the wait. C: `dma_buf_begin_cpu_access()`.
    ///
    /// # Errors
    ///
    /// Those of the exporter, and `ERESTARTSYS`.
    pub fn begin_cpu_access(&self, direction: DataDirection) -> Result<CpuAccess> {
        CpuAccess::new(self.into(), direction)
    }

    /// Maps the whole buffer into the address space of the kernel. Sleeps; takes the reservation
    /// lock. C: `dma_buf_vmap_unlocked()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the exporter has no such mappings, and those of the exporter.
    pub fn vmap(&self) -> Result<VMap> {
        VMap::new(self.into())
    }

    /// `EINVAL` if `guard` is not the lock of this buffer.
    fn check_guard(&self, guard: &Guard<'_>) -> Result {
        if guard.protects(self.resv()) {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }
}

/// The direction that the C side passes to an operation.
fn direction_from_raw(raw: bindings::dma_data_direction) -> DataDirection {
    match raw {
        bindings::dma_data_direction::DMA_TO_DEVICE => DataDirection::ToDevice,
        bindings::dma_data_direction::DMA_FROM_DEVICE => DataDirection::FromDevice,
        bindings::dma_data_direction::DMA_NONE => DataDirection::None,
        _ => DataDirection::Bidirectional,
    }
}
