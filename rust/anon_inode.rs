// SPDX-License-Identifier: GPL-2.0

//! Files without a name, with typed private data.
//!
//! C header: [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)
//!
//! A driver hands an object to a process as a file descriptor, and the process hands the
//! descriptor to another driver. Both sides have the type of the object: the first makes a
//! [`File<T>`] of it, the second looks the descriptor up with [`File::from_fd`], which finds a
//! `T` or fails.
//!
//! # Identity
//!
//! What was passed is the open file and not its number. A descriptor that was duplicated, inherited
//! or sent over a socket stands for the same [`File<T>`], and a number that was closed and given out
//! again stands for another. Two files are equal if they are the same open file.
//!
//! A file is recognised by its `release` operation, which all files made here share and no other
//! file has, and by the type of its data. Neither depends on how often the compiler has emitted the
//! generic parts.
//!
//! # Lifetime model
//!
//! - The file owns its data, and drops it when the last descriptor and the last [`ARef<File<T>>`]
//!   are gone; exactly once, in process context.
//! - The file holds the module of `T` (`owner` of its operations) until the data has been dropped.
//!   What the C side calls comes from that module also if the file was made by another one, because
//!   the operations are a `static` there, see [`Operations::vtable`].
//! - A file is made without a descriptor. [`File::install`] is the last step, and cannot fail: what
//!   can fail (reserving the number, making the file, copying results to userspace) comes before.
//!   Dropped before that, nothing was ever visible.
//!
//! ```ignore
//! let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
//! let file = anon_inode::File::new(data, flags::O_RDWR)?;
//! args.fd = fd.reserved_fd();
//! args.write_to_user()?;
//! file.install(fd);
//! ```
//!
//! # Known limits
//!
//! - Files have neither `read` nor `write`, `mmap` nor `llseek`.
//! - All of them share the kernel's one anonymous inode: security modules see them as what the
//!   process may do with its own descriptors.

use crate::poll::PollEvents;
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        from_result,
        VTABLE_DEFAULT_ERROR, //
    },
    fs,
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        poll::PollTable,
    },
};

use core::{
    any::TypeId,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};

pub use kernel::fs::file::{
    flags,
    FileDescriptorReservation, //
};

/// The private data of a file, and what can be done with the file.
///
/// All functions are called in process context and may sleep, except where they say otherwise. The
/// data is dropped when the last reference to the file is gone.
#[vtable]
pub trait Operations: Sized + Send + Sync + 'static {
    /// What `/proc/PID/fd` shows, as `anon_inode:NAME`. By custom it has brackets: `[eventfd]`.
    const NAME: &'static CStr;

    /// The operations of the type: a `static` of the implementor.
    ///
    /// ```ignore
    /// fn vtable() -> &'static Vtable<Self> {
    ///     static VTABLE: Vtable<VmFile> = Vtable::new();
    ///     &VTABLE
    /// }
    /// ```
    ///
    /// That it is a `static` puts it, and all that it refers to, into the module of the implementor,
    /// which is the one that a file keeps loaded.
    fn vtable() -> &'static Vtable<Self>;

    /// `ioctl(2)`, also for 32-bit processes, whose pointers come in `arg` as they should be.
    ///
    /// Left out, every call fails with `ENOTTY`. C: `unlocked_ioctl`, `compat_ptr_ioctl()`.
    fn ioctl(_file: &File<Self>, _cmd: u32, _arg: usize) -> Result<isize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// `poll(2)` and its relatives: registers with `table` whoever has to be woken up, then says
    /// what the file is ready for.
    ///
    /// Left out, the file is always ready to be read and written. C: `poll`.
    fn poll(_file: &File<Self>, _table: PollTable<'_>) -> PollEvents {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// What `/proc/PID/fdinfo/FD` shows below what the kernel prints for every file.
    ///
    /// By custom lines of `name:<tab>value`. Called for any process that may look.
    /// C: `show_fdinfo`.
    fn show_fdinfo(_file: &File<Self>, _m: &SeqFile) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// The operations of files with data of type `T`.
///
/// # Invariants
///
/// `head.fops.release` is [`release`], and `head.drop` drops an `Inner<T>`.
#[repr(transparent)]
pub struct Vtable<T: Operations> {
    head: VtableHead,
    _data: PhantomData<fn(T)>,
}

// SAFETY: A `Vtable` is constant; its pointers are to functions and to the module.
unsafe impl<T: Operations> Sync for Vtable<T> {}

/// What does not depend on the type of the data. The C side has a pointer to `fops`.
#[repr(C)]
struct VtableHead {
    fops: bindings::file_operations,
    drop: unsafe fn(NonNull<Header>),
}

impl<T: Operations> Vtable<T> {
    /// The operations of `T`, for [`Operations::vtable`].
    #[expect(
        clippy::new_without_default,
        reason = "for the initialiser of a static"
    )]
    pub const fn new() -> Self {
        let fops = bindings::file_operations {
            owner: this_module::<T::OwnerModule>().as_ptr(),
            release: Some(release),
            unlocked_ioctl: if T::HAS_IOCTL {
                Some(Self::ioctl)
            } else {
                None
            },
            #[cfg(CONFIG_COMPAT)]
            compat_ioctl: if T::HAS_IOCTL {
                bindings::compat_ptr_ioctl
            } else {
                None
            },
            poll: if T::HAS_POLL { Some(Self::poll) } else { None },
            show_fdinfo: if T::HAS_SHOW_FDINFO {
                Some(Self::show_fdinfo)
            } else {
                None
            },
            ..pin_init::zeroed()
        };

        // INVARIANT: See the initialisers.
        Self {
            head: VtableHead {
                fops,
                drop: Inner::<T>::drop,
            },
            _data: PhantomData,
        }
    }

    /// # Safety
    ///
    /// Called by the C side only, for a file with these operations, which the caller holds.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: By the safety requirements. Only `File::new` makes files with these operations.
        let file = unsafe { File::<T>::from_raw(file) };

        match T::ioctl(file, cmd, arg) {
            Ok(ret) => ret as c_long,
            Err(err) => err.to_errno() as c_long,
        }
    }

    /// # Safety
    ///
    /// As `ioctl()`; `table` must be null or valid.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table,
    ) -> bindings::__poll_t {
        // SAFETY: By the safety requirements, for both.
        let (file, table) = unsafe { (File::<T>::from_raw(file), PollTable::from_raw(table)) };

        T::poll(file, table).into_raw()
    }

    /// # Safety
    ///
    /// As `ioctl()`; `m` must be valid and the caller's own.
    unsafe extern "C" fn show_fdinfo(m: *mut bindings::seq_file, file: *mut bindings::file) {
        // SAFETY: By the safety requirements, for both.
        let (file, m) = unsafe { (File::<T>::from_raw(file), SeqFile::from_raw(m)) };

        T::show_fdinfo(file, m);
    }
}

/// What the private data of all files made here begins with.
struct Header {
    type_id: TypeId,
}

/// What the private pointer of a file with data of type `T` points to.
#[repr(C)]
#[pin_data]
struct Inner<T> {
    header: Header,
    #[pin]
    data: T,
}

impl<T> Inner<T> {
    /// # Safety
    ///
    /// `header` must be that of an `Inner<T>` from [`File::new`], which nobody uses any more.
    unsafe fn drop(header: NonNull<Header>) {
        // SAFETY: By the safety requirements; the header is at the start of the allocation. The
        // box was leaked by `File::new`.
        let inner = unsafe { KBox::from_raw(header.cast::<Self>().as_ptr()) };

        drop(KBox::into_pin(inner));
    }
}

/// Drops the data of any file made here.
///
/// There is one instance of this function, so its address tells that the private data of a file
/// begins with a [`Header`], and that its operations are the start of a [`VtableHead`].
///
/// # Safety
///
/// Called by the C side only, once, for a file made by [`File::new`].
#[inline(never)]
unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    from_result(|| {
        // SAFETY: By the safety requirements the private data is an `Inner`, and the operations are
        // those of its type; the C side lets go of the owner of the operations after this call.
        unsafe {
            let header = NonNull::new((*file).private_data.cast()).ok_or(EINVAL)?;

            ((*(*file).f_op.cast::<VtableHead>()).drop)(header);
        }
        Ok(0)
    })
}

/// An open file with private data of type `T`.
///
/// Instances are always reference counted; an owned reference is an [`ARef<File<T>>`]. Letting go of
/// the last one is possible in any context, the data is dropped later if need be.
///
/// # Invariants
///
/// As [`fs::File`], and the file was made by [`File::<T>::new`](File::new).
#[repr(transparent)]
pub struct File<T: Operations>(fs::File, PhantomData<T>);

// SAFETY: The count is that of the `fs::File`.
unsafe impl<T: Operations> AlwaysRefCounted for File<T> {
    #[inline]
    fn inc_ref(&self) {
        self.0.inc_ref();
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference that it owns; `File` is a transparent wrapper.
        unsafe { fs::File::dec_ref(obj.cast()) };
    }
}

impl<T: Operations> File<T> {
    /// Makes a file with `data`, which has no descriptor yet.
    ///
    /// Of `flags` there are the access mode (`O_RDONLY`, `O_WRONLY`, `O_RDWR`) and `O_NONBLOCK`;
    /// `O_CLOEXEC` is a flag of descriptors, and given when one is reserved. Sleeps (allocates).
    /// C: `anon_inode_getfile()`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: another flag.
    /// - `ENOMEM`; `ENFILE` if the system has too many open files.
    /// - `ENOENT`: the module of `T` is being unloaded.
    /// - Those of `data`.
    pub fn new<E>(data: impl PinInit<T, E>, flags: u32) -> Result<ARef<Self>>
    where
        Error: From<E>,
    {
        if flags & !(flags::O_ACCMODE | flags::O_NONBLOCK) != 0 {
            return Err(EINVAL);
        }

        let inner = KBox::pin_init::<Error>(
            try_pin_init!(Inner {
                header: Header {
                    type_id: TypeId::of::<T>(),
                },
                data <- data,
            }),
            GFP_KERNEL,
        )?;

        // SAFETY: The data does not move any more: `Inner::drop` drops it in place.
        let inner = KBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) });

        // SAFETY: The name is copied. The operations are static, and their module stays as long as
        // the file; they expect an `Inner<T>` as private data. `flags` fit by the check above.
        let file = from_err_ptr(unsafe {
            ext_bindings::anon_inode_getfile(
                T::NAME.as_char_ptr(),
                &raw const T::vtable().head.fops,
                inner.cast(),
                flags as c_int,
            )
        })
        .inspect_err(|_| {
            // SAFETY: There is no file, so nobody calls `release()`. The pointer comes from a box,
            // and the header is at its start.
            unsafe { Inner::<T>::drop(NonNull::new_unchecked(inner).cast()) }
        })?;

        // SAFETY: The C function returns a file with one reference, which is taken over. Nobody
        // knows the file yet, so there is no `fdget_pos()` on it.
        // INVARIANT: The file was just made.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(file).cast()) })
    }

    /// The file behind a descriptor of the current process.
    ///
    /// Does not sleep. C: `fget()`.
    ///
    /// # Errors
    ///
    /// - `EBADF`: there is no such descriptor, or it was opened with `O_PATH`.
    /// - `EINVAL`: it is that of another kind of file.
    pub fn from_fd(fd: i32) -> Result<ARef<Self>> {
        let file = fs::LocalFile::fget(u32::try_from(fd).map_err(|_| EBADF)?)?;

        if !Self::is_made_here(&file) {
            return Err(EINVAL);
        }

        // SAFETY: The file was made by `File::<T>::new`. Such files have neither `read`, `write`
        // nor `llseek`, so their position stays 0: a `fdget_pos()` that takes no lock, by whatever
        // thread, does not lead to an access that races.
        Ok(unsafe { ARef::from_raw(ARef::into_raw(file).cast()) })
    }

    /// The file as one with data of type `T`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is another kind of file.
    pub fn from_file(file: &fs::File) -> Result<&Self> {
        if !Self::is_made_here(file) {
            return Err(EINVAL);
        }

        // SAFETY: The file was made by `File::<T>::new`, and is borrowed as long as the result.
        Ok(unsafe { Self::from_raw(file.as_ptr()) })
    }

    fn is_made_here(file: &fs::LocalFile) -> bool {
        let file = file.as_ptr();

        // SAFETY: The file is valid. Its operations are set before it gets a descriptor, and those
        // of files that have come through here never change.
        let fops = unsafe { &*(*file).f_op };

        // The type of the pointer to compare with has to be spelt out.
        let ours: unsafe extern "C" fn(*mut bindings::inode, *mut bindings::file) -> c_int =
            release;
        if fops.release.map(|f| f as usize) != Some(ours as usize) {
            return false;
        }

        // SAFETY: A file with this function has private data that begins with a `Header`, which is
        // constant, and lives as long as the file.
        let header = unsafe { &*(*file).private_data.cast::<Header>() };
        header.type_id == TypeId::of::<T>()
    }

    /// # Safety
    ///
    /// `ptr` must point to a file made by [`File::<T>::new`](File::new) whose count does not drop
    /// to zero during `'a`.
    unsafe fn from_raw<'a>(ptr: *mut bindings::file) -> &'a Self {
        // SAFETY: By the safety requirements; `File` is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    /// The private data.
    #[inline]
    pub fn data(&self) -> Pin<&T> {
        // SAFETY: By the type invariant the private data is an `Inner<T>`, which lives as long as
        // the file and does not move.
        unsafe { Pin::new_unchecked(&(*(*self.0.as_ptr()).private_data.cast::<Inner<T>>()).data) }
    }

    /// Makes the file visible to the current process, at a descriptor that was reserved before;
    /// returns its number.
    ///
    /// From here on userspace can use the file, also before this returns, and close it.
    pub fn install(this: ARef<Self>, fd: FileDescriptorReservation) -> i32 {
        // CAST: Numbers of descriptors are smaller than `INT_MAX`.
        let number = fd.reserved_fd() as i32;

        fd.fd_install(Self::into_file(this));
        number
    }

    /// The file without the type of its data.
    pub fn into_file(this: ARef<Self>) -> ARef<fs::File> {
        let this = ManuallyDrop::new(this);

        // SAFETY: The reference is taken over from `this`; `File` is a transparent wrapper.
        unsafe { ARef::from_raw(NonNull::from(&***this).cast()) }
    }
}

impl<T: Operations> Deref for File<T> {
    type Target = fs::File;

    #[inline]
    fn deref(&self) -> &fs::File {
        &self.0
    }
}

impl<T: Operations> PartialEq for File<T> {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

impl<T: Operations> Eq for File<T> {}
