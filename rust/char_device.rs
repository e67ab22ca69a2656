// SPDX-License-Identifier: GPL-2.0

//! Character devices that come and go with hardware.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)
//!
//! `kernel::miscdevice` is for the one device of a module: its name is a constant, and its open
//! files know nothing of its end. Here a device has a name made at run time, such as `nic0`, and
//! data of its own, and may be unregistered while processes have it open.
//!
//! A driver implements [`OpenFile`] for the private data of an open file, and publishes a device
//! with [`Registration::new`], usually while it is bound to the hardware.
//!
//! # Lifetime model
//!
//! - An open file holds the data of its device ([`Arc<T::Device>`]) and, through the owner of its
//!   operations, the module of `T`. It does not hold the registration.
//! - Dropping the [`Registration`] removes the node; then it makes every call that comes fail with
//!   `ENODEV` (`poll(2)` says `EPOLLHUP | EPOLLERR`); then it calls [`OpenFile::shutdown`], which
//!   wakes up those who sleep in a call; and then waits for the calls that run. When it returns none
//!   runs, nor will one. What is left of an open file is its data, dropped when it is closed.
//! - A driver that drops its registration before anything that the calls use therefore needs no
//!   other means against calls that come late. What an open file must not keep beyond that (memory,
//!   registrations with other drivers) belongs to `T::Device`, and is given up by
//!   [`OpenFile::shutdown`] or after the registration was dropped.
//!
//! # Locking
//!
//! [`OpenFile::open`] runs with the mutex of the misc devices held, which registering and
//! unregistering take as well: a lock that is held while a registration is made or dropped must not
//! be taken there. Unregistering waits for calls: it must not happen in one, or with a lock held that
//! a call takes.
//!
//! # Known limits
//!
//! - Files have neither `read` nor `write`, `mmap` nor `llseek`.
//! - Names must be unique; a second device of one name fails with `EEXIST`, and the kernel warns.

use crate::poll::{
    PollEvent,
    PollEvents, //
};
use kernel::{
    bindings,
    device::{
        Device,
        DeviceContext, //
    },
    error::{
        from_result,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    fmt,
    fs,
    module::this_module,
    new_srcu,
    prelude::*,
    seq_file::SeqFile,
    str::CString,
    sync::{
        atomic::{
            AtomicFlag,
            Full,
            Relaxed, //
        },
        poll::PollTable,
        Arc,
        ArcBorrow,
        Srcu, //
    },
    types::Opaque, //
};

use core::marker::PhantomData;

/// A call on an open file of a device that is registered, and stays so during `'a`.
///
/// Strictly: during `'a` the [`Registration`] may be being dropped, but that does not end before.
pub struct Call<'a, T: OpenFile> {
    /// The private data of the file.
    pub data: Pin<&'a T>,
    /// The data of the device.
    pub device: &'a Arc<T::Device>,
    /// The file.
    pub file: &'a fs::File,
}

/// The private data of an open file, and what can be done with the file.
///
/// All functions are called in process context and may sleep. The data is dropped after the last
/// descriptor was closed and no call is under way; the device may be unregistered by then.
#[vtable]
pub trait OpenFile: Sized + Send + Sync + 'static {
    /// The data of a device.
    type Device: Send + Sync + 'static;

    /// `open(2)`. Holds a lock, see the [module documentation](self#locking).
    fn open(device: &Arc<Self::Device>, file: &fs::File) -> impl PinInit<Self, Error>;

    /// `ioctl(2)`. Left out, every call fails with `ENOTTY`. C: `unlocked_ioctl`.
    fn ioctl(_call: &Call<'_, Self>, _cmd: u32, _arg: usize) -> Result<isize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// `ioctl(2)` of 32-bit processes, where they need something else than to have their pointers
    /// made 64 bits wide. C: `compat_ioctl`.
    fn compat_ioctl(_call: &Call<'_, Self>, _cmd: u32, _arg: usize) -> Result<isize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// `poll(2)`: registers with `table` whoever has to be woken up, then says what the file is
    /// ready for. Left out, the file is always ready to be read and written. C: `poll`.
    fn poll(_call: &Call<'_, Self>, _table: PollTable<'_>) -> PollEvents {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// What `/proc/PID/fdinfo/FD` shows below what the kernel prints for every file. Not called
    /// after the device was unregistered. C: `show_fdinfo`.
    fn show_fdinfo(_call: &Call<'_, Self>, _m: &SeqFile) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The device is being unregistered, and no new call gets in: ends what calls under way wait
    /// for, and wakes up those who poll.
    ///
    /// Called once, by whoever drops the [`Registration`].
    fn shutdown(_device: &Self::Device) {}
}

/// How a device is to appear.
pub struct Options<'a> {
    /// Name of the node below `/dev`, and in `/sys/class/misc`.
    pub name: fmt::Arguments<'a>,
    /// Permissions of the node; 0 for those that the kernel gives by default, 0600.
    pub mode: u16,
}

/// What a registration and the open files share.
///
/// # Invariants
///
/// While the device is registered `misc` is, with `name` as its name.
#[pin_data]
struct Shared<T: OpenFile> {
    #[pin]
    misc: Opaque<bindings::miscdevice>,
    name: CString,
    gone: AtomicFlag,
    /// Calls are read-side sections.
    #[pin]
    calls: Srcu,
    device: Arc<T::Device>,
}

// SAFETY: `misc` is only used with the lock of the misc devices held, or is constant while the
// device is registered; all else is `Send`.
unsafe impl<T: OpenFile> Send for Shared<T> {}

// SAFETY: As above; all else is `Sync`.
unsafe impl<T: OpenFile> Sync for Shared<T> {}

/// A device that is registered; dropping it unregisters it.
///
/// # Invariants
///
/// `0.misc` is registered.
pub struct Registration<T: OpenFile>(Arc<Shared<T>>);

impl<T: OpenFile> Registration<T> {
    /// Publishes a device below `parent`, if there is one. It may be opened before this returns.
    ///
    /// Sleeps. C: `misc_register()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EEXIST` if there is a device of that name; `EBUSY` if there are no minor numbers
    /// left.
    pub fn new<Ctx: DeviceContext>(
        options: Options<'_>,
        parent: Option<&Device<Ctx>>,
        device: Arc<T::Device>,
    ) -> Result<Self> {
        let name = CString::try_from_fmt(options.name)?;
        let misc = bindings::miscdevice {
            // CAST: 255.
            minor: bindings::MISC_DYNAMIC_MINOR as c_int,
            name: name.as_char_ptr(),
            fops: Vtable::<T>::FOPS,
            // CAST: `Device` is a transparent wrapper.
            parent: parent.map_or(core::ptr::null_mut(), |dev| {
                core::ptr::from_ref(dev).cast_mut().cast()
            }),
            mode: options.mode,
            ..pin_init::zeroed()
        };
        let shared = Arc::pin_init(
            try_pin_init!(Shared {
                misc: Opaque::new(misc),
                name,
                gone: AtomicFlag::new(false),
                calls <- new_srcu!("kernel_ext::char_device"),
                device,
            }),
            GFP_KERNEL,
        )?;

        // SAFETY: The structure is initialised and does not move; the name and the operations are
        // valid until it is unregistered, which is before they are freed, by `Drop`.
        to_result(unsafe { bindings::misc_register(shared.misc.get()) })?;

        // INVARIANT: Registered just now.
        Ok(Self(shared))
    }

    /// The device of the node.
    pub fn node(&self) -> &Device {
        // SAFETY: By the type invariant the device is registered, and the field therefore that of a
        // valid device, which stays as long as `self`.
        unsafe { Device::from_raw((*self.0.misc.get()).this_device) }
    }

    /// The name of the node.
    pub fn name(&self) -> &CStr {
        &self.0.name
    }

    /// The data of the device.
    pub fn device(&self) -> &Arc<T::Device> {
        &self.0.device
    }
}

impl<T: OpenFile> Drop for Registration<T> {
    fn drop(&mut self) {
        let shared = &self.0;

        // SAFETY: By the type invariant the device is registered. When this returns, `open()` does
        // not run and will not be called.
        unsafe { bindings::misc_deregister(shared.misc.get()) };

        // A call either sees this, or is waited for below.
        shared.gone.xchg(true, Full);
        T::shutdown(&shared.device);
        shared.calls.synchronize();
    }
}

/// What the private pointer of an open file points to. Fields are dropped in this order.
#[pin_data]
struct Opened<T: OpenFile> {
    #[pin]
    data: T,
    shared: Arc<Shared<T>>,
}

impl<T: OpenFile> Opened<T> {
    /// The private data of `file`, and the file.
    ///
    /// # Safety
    ///
    /// `file` must have been opened by [`Vtable::<T>::open`], and not be released during `'a`.
    unsafe fn from_raw<'a>(file: *mut bindings::file) -> (Pin<&'a Self>, &'a fs::File) {
        // SAFETY: By the safety requirements the private data is a `Self`, which lives as long as
        // the file and does not move. The file has neither `read`, `write` nor `llseek`, so nobody
        // uses its position.
        unsafe {
            (
                Pin::new_unchecked(&*(*file).private_data.cast()),
                fs::File::from_raw_file(file),
            )
        }
    }

    /// Calls `f` if the device is registered; unregistering it does not end before `f` has.
    fn call<R>(self: Pin<&Self>, file: &fs::File, f: impl FnOnce(&Call<'_, T>) -> R) -> Result<R> {
        let this = self.get_ref();
        let _guard = this.shared.calls.read_lock();

        // `synchronize()` is a full barrier for what comes after the beginning of this section, if
        // it does not wait for it: then the flag is seen.
        if this.shared.gone.load(Relaxed) {
            return Err(ENODEV);
        }
        Ok(f(&Call {
            // SAFETY: The data is in `self`, which is pinned.
            data: unsafe { Pin::new_unchecked(&this.data) },
            device: &this.shared.device,
            file,
        }))
    }
}

/// The operations of files of `T`.
struct Vtable<T: OpenFile>(PhantomData<T>);

impl<T: OpenFile> Vtable<T> {
    const FOPS: &'static bindings::file_operations = &bindings::file_operations {
        owner: this_module::<T::OwnerModule>().as_ptr(),
        open: Some(Self::open),
        release: Some(Self::release),
        unlocked_ioctl: if T::HAS_IOCTL {
            Some(Self::ioctl)
        } else {
            None
        },
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: if T::HAS_COMPAT_IOCTL {
            Some(Self::compat_ioctl)
        } else if T::HAS_IOCTL {
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

    /// # Safety
    ///
    /// Called by `misc_open()` only, with the lock of the misc devices held, for a file that is
    /// being opened and a device with these operations.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: The private data is the `struct miscdevice`, and as it has these operations it
            // is embedded in a `Shared<T>`, in an `Arc`. It is registered, and stays so as long as
            // the lock is held, hence a `Registration` has a reference.
            let shared: Arc<Shared<T>> = unsafe {
                let misc = (*file).private_data.cast::<bindings::miscdevice>();

                ArcBorrow::from_raw(kernel::container_of!(
                    Opaque::cast_from(misc),
                    Shared<T>,
                    misc
                ))
                .into()
            };

            let device = shared.device.clone();
            let opened = KBox::pin_init::<Error>(
                try_pin_init!(Opened {
                    // SAFETY: The file is valid, and nobody else has it yet.
                    data <- T::open(&device, unsafe { fs::File::from_raw_file(file) }),
                    shared,
                }),
                GFP_KERNEL,
            )?;

            // SAFETY: The data does not move any more: `release()` drops it in place. The private
            // data of a file is for its operations to use.
            unsafe {
                (*file).private_data = KBox::into_raw(Pin::into_inner_unchecked(opened)).cast()
            };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the C side only, once, for a file opened by `open()`.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the safety requirements the private data is what `open()` has leaked, and
        // nobody uses it any more.
        let opened = unsafe { KBox::from_raw((*file).private_data.cast::<Opened<T>>()) };

        drop(KBox::into_pin(opened));
        0
    }

    /// # Safety
    ///
    /// Called by the C side only, for a file opened by `open()`, which the caller holds.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: By the safety requirements.
        let (opened, file) = unsafe { Opened::<T>::from_raw(file) };

        match opened
            .call(file, |call| T::ioctl(call, cmd, arg))
            .and_then(|ret| ret)
        {
            Ok(ret) => ret as c_long,
            Err(err) => err.to_errno() as c_long,
        }
    }

    /// # Safety
    ///
    /// As `ioctl()`.
    #[cfg(CONFIG_COMPAT)]
    unsafe extern "C" fn compat_ioctl(
        file: *mut bindings::file,
        cmd: c_uint,
        arg: c_ulong,
    ) -> c_long {
        // SAFETY: By the safety requirements.
        let (opened, file) = unsafe { Opened::<T>::from_raw(file) };

        match opened
            .call(file, |call| T::compat_ioctl(call, cmd, arg))
            .and_then(|ret| ret)
        {
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
        let ((opened, file), table) =
            unsafe { (Opened::<T>::from_raw(file), PollTable::from_raw(table)) };
        let events = opened.call(file, |call| T::poll(call, table));

        // The flag may have been set after the call got in, and those who poll been woken up before
        // it had registered this one: hence a second look, which `poll_wait()` orders behind that.
        match events {
            Ok(events) if !opened.shared.gone.load(Relaxed) => events,
            _ => PollEvent::Hup | PollEvent::Err,
        }
        .into_raw()
    }

    /// # Safety
    ///
    /// As `ioctl()`; `m` must be valid and the caller's own.
    unsafe extern "C" fn show_fdinfo(m: *mut bindings::seq_file, file: *mut bindings::file) {
        // SAFETY: By the safety requirements, for both.
        let ((opened, file), m) = unsafe { (Opened::<T>::from_raw(file), SeqFile::from_raw(m)) };

        let _ = opened.call(file, |call| T::show_fdinfo(call, m));
    }
}
