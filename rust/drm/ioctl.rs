// SPDX-License-Identifier: GPL-2.0

//! Ioctls of DRM drivers.
//!
//! C header: [`include/drm/drm_ioctl.h`](srctree/include/drm/drm_ioctl.h)

use super::{
    Device,
    DeviceGuard,
    Driver,
    File, //
};
use core::{
    marker::PhantomData,
    mem,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_void, //
    },
    ioctl::_IOWR,
    prelude::*,
    uapi, //
};

/// The number of the first ioctl of a driver (`DRM_COMMAND_BASE`).
pub const COMMAND_BASE: u32 = uapi::DRM_COMMAND_BASE;

/// Only for processes with `CAP_SYS_ADMIN`.
pub const ROOT_ONLY: u32 = bindings::drm_ioctl_flags_DRM_ROOT_ONLY;

/// The ioctl number of a driver's command `nr`, with an argument of type `A` that is read and
/// written (`DRM_IOWR(DRM_COMMAND_BASE + nr, A)`).
pub const fn command<A>(nr: u32) -> u32 {
    _IOWR::<A>(uapi::DRM_IOCTL_BASE as u32, COMMAND_BASE + nr)
}

/// An ioctl of the driver `D`, see [`drm_accel_ioctls!`](crate::drm_accel_ioctls).
///
/// # Invariants
///
/// The function of the descriptor may be called for devices and files of `D`, with an argument
/// that has at least the size which is encoded in `cmd`.
#[repr(transparent)]
pub struct IoctlDescriptor<D: Driver>(bindings::drm_ioctl_desc, PhantomData<fn(&Device<D>)>);

impl<D: Driver> IoctlDescriptor<D> {
    /// Describes the command `nr`, which is handled by `handler`.
    ///
    /// # Safety
    ///
    /// All bit patterns must be valid for `A`.
    #[doc(hidden)]
    pub const unsafe fn new<A, H>(nr: u32, name: &'static CStr, flags: u32, handler: H) -> Self
    where
        H: Fn(&Device<D>, &mut A, &File<D::File>) -> Result<u32> + Copy + 'static,
    {
        // INVARIANT: `call` is for devices and files of `D`, and `cmd` has the size of `A`.
        Self::raw::<A, H>(nr, name, flags, handler, Self::call::<A, H>)
    }

    /// As [`new`](Self::new), but with a handler that runs in a section of [`Device::enter`].
    ///
    /// # Safety
    ///
    /// All bit patterns must be valid for `A`.
    #[doc(hidden)]
    pub const unsafe fn new_entered<A, H>(
        nr: u32,
        name: &'static CStr,
        flags: u32,
        handler: H,
    ) -> Self
    where
        H: Fn(&DeviceGuard<'_, D>, &mut A, &File<D::File>) -> Result<u32> + Copy + 'static,
    {
        // INVARIANT: As in `new`.
        Self::raw::<A, H>(nr, name, flags, handler, Self::call_entered::<A, H>)
    }

    const fn raw<A, H>(
        nr: u32,
        name: &'static CStr,
        flags: u32,
        handler: H,
        func: unsafe extern "C" fn(
            *mut bindings::drm_device,
            *mut c_void,
            *mut bindings::drm_file,
        ) -> c_int,
    ) -> Self
    where
        H: Copy + 'static,
    {
        // The handler is not stored, but made up again when it is called. That is possible only
        // for a function item or a closure without captures, whose type says everything.
        const {
            assert!(
                mem::size_of::<H>() == 0,
                "a handler must not capture anything"
            )
        };
        let _ = handler;

        // `drm_ioctl()` keeps the argument in a buffer that is aligned for machine words.
        const { assert!(mem::align_of::<A>() <= mem::align_of::<u64>()) };

        Self(
            bindings::drm_ioctl_desc {
                cmd: command::<A>(nr),
                flags,
                func: Some(func),
                name: kernel::str::as_char_ptr_in_const_context(name),
            },
            PhantomData,
        )
    }

    /// Returns the ioctl number.
    pub const fn cmd(&self) -> u32 {
        self.0.cmd
    }

    /// # Safety
    ///
    /// Only for a descriptor of `D` with an argument of type `A`, and if a value of `H` exists.
    unsafe extern "C" fn call<A, H>(
        dev: *mut bindings::drm_device,
        data: *mut c_void,
        file: *mut bindings::drm_file,
    ) -> c_int
    where
        H: Fn(&Device<D>, &mut A, &File<D::File>) -> Result<u32> + Copy + 'static,
    {
        // SAFETY: `H` has no size, is `Copy`, and a value of it was given to `new`.
        let handler = unsafe { NonNull::<H>::dangling().read() };

        // SAFETY: The file, which is open, holds the device.
        let dev = unsafe { Device::<D>::from_raw(dev) };

        // SAFETY: `drm_ioctl()` gives a buffer of its own, of the size of `A` or larger and
        // initialized. All bit patterns are valid.
        let data = unsafe { &mut *data.cast::<A>() };

        // SAFETY: The file is open.
        let file = unsafe { File::<D::File>::from_raw(file) };

        to_errno(handler(dev, data, file))
    }

    /// # Safety
    ///
    /// As for [`call`](Self::call).
    unsafe extern "C" fn call_entered<A, H>(
        dev: *mut bindings::drm_device,
        data: *mut c_void,
        file: *mut bindings::drm_file,
    ) -> c_int
    where
        H: Fn(&DeviceGuard<'_, D>, &mut A, &File<D::File>) -> Result<u32> + Copy + 'static,
    {
        // SAFETY: As in `call`.
        let handler = unsafe { NonNull::<H>::dangling().read() };

        // SAFETY: As in `call`.
        let dev = unsafe { Device::<D>::from_raw(dev) };

        // SAFETY: As in `call`.
        let data = unsafe { &mut *data.cast::<A>() };

        // SAFETY: As in `call`.
        let file = unsafe { File::<D::File>::from_raw(file) };

        let Some(guard) = dev.enter() else {
            return ENODEV.to_errno();
        };
        to_errno(handler(&guard, data, file))
    }
}

fn to_errno(result: Result<u32>) -> c_int {
    match result {
        Ok(value) => value.try_into().unwrap_or(ERANGE.to_errno()),
        Err(e) => e.to_errno(),
    }
}

/// Declares the ioctls of a driver, as the constant `IOCTLS` of its
/// [`Driver`](crate::drm::Driver) implementation.
///
/// An entry is `(number, type of the argument, flags, handler)`:
///
/// - The numbers are relative to `DRM_COMMAND_BASE`; they must start at 0 and have no gaps, which
///   is checked at compile time.
/// - The ioctl number is `DRM_IOWR(DRM_COMMAND_BASE + number, type)`. The type must be one for
///   which all bit patterns are valid, as those are that bindgen generates from a uAPI header.
///   The argument of a caller with a smaller or larger structure is extended with zeroes or cut.
/// - The flags are those of the DRM core, such as [`ROOT_ONLY`](crate::drm::ioctl::ROOT_ONLY), or
///   0.
/// - The handler is `fn(&Device<Self>, &mut type, &File<Self::File>) -> Result<u32>`. The device
///   is not unplugged when it is called, but may be at any time; the handler calls
///   [`Device::enter`](crate::drm::Device::enter) where that matters.
/// - With the word `entered` in front, the handler is
///   `fn(&DeviceGuard<'_, Self>, &mut type, &File<Self::File>) -> Result<u32>`, and the device
///   cannot be unplugged while it runs. It must not wait for long.
///
/// An unplugged device refuses all ioctls with `ENODEV`. The value that a handler returns is that
/// of the ioctl; the argument is copied back to the caller whether it failed or not.
///
/// ```ignore
/// drm_accel_ioctls! {
///     (DRM_FOO_QUERY, drm_foo_query, 0, query),
///     (DRM_FOO_CREATE, drm_foo_create, 0, entered create),
/// }
/// ```
#[macro_export]
macro_rules! drm_accel_ioctls {
    ( $( ($nr:expr, $arg:ty, $flags:expr, $($handler:tt)+) ),* $(,)? ) => {
        const IOCTLS: &'static [$crate::drm::IoctlDescriptor<Self>] = {
            const _: () = {
                let mut next: u32 = 0;
                $(
                    ::core::assert!($nr as u32 == next, "ioctls must be in order, without gaps");
                    next += 1;
                )*
                ::core::assert!(next <= ::kernel::uapi::DRM_COMMAND_END
                    - ::kernel::uapi::DRM_COMMAND_BASE);
            };

            &[ $( $crate::drm_accel_ioctls!(@entry $nr, $arg, $flags, $($handler)+) ),* ]
        };
    };
    (@entry $nr:expr, $arg:ty, $flags:expr, entered $handler:expr) => {
        // SAFETY: All bit patterns are valid for a structure of a uAPI header.
        unsafe {
            $crate::drm::IoctlDescriptor::<Self>::new_entered::<$arg, _>(
                $nr as u32,
                ::kernel::c_str!(::core::stringify!($nr)),
                $flags,
                $handler,
            )
        }
    };
    (@entry $nr:expr, $arg:ty, $flags:expr, $handler:expr) => {
        // SAFETY: All bit patterns are valid for a structure of a uAPI header.
        unsafe {
            $crate::drm::IoctlDescriptor::<Self>::new::<$arg, _>(
                $nr as u32,
                ::kernel::c_str!(::core::stringify!($nr)),
                $flags,
                $handler,
            )
        }
    };
}
