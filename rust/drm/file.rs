// SPDX-License-Identifier: GPL-2.0

//! Open files of DRM devices.
//!
//! C header: [`include/drm/drm_file.h`](srctree/include/drm/drm_file.h)

use super::{
    gem,
    Device,
    Driver,
    Printer, //
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    bindings,
    error::from_result,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    types::Opaque, //
};

/// Private data of an open file (a client) of a DRM device.
pub trait FileData: Send + Sync + Sized + 'static {
    /// The driver of the device.
    type Driver: Driver<File = Self>;

    /// Called when the device is opened; an error is that of `open(2)`. May sleep.
    ///
    /// The device may be unplugged at any time.
    fn open(dev: &Device<Self::Driver>) -> Result<Pin<KBox<Self>>>;

    /// Called after the last reference to the file is gone, and its GEM handles are closed.
    ///
    /// The data is dropped afterwards. The device may be unplugged. May sleep.
    fn postclose(_dev: &Device<Self::Driver>, _file: &File<Self>) {}
}

/// An open file of a DRM device.
///
/// Two files are equal if they are the same open file description: file descriptors that were
/// duplicated, inherited or sent to another process belong to one [`File`].
///
/// # Invariants
///
/// `self.0` is a valid `struct drm_file`, and `driver_priv` points to a `T` that
/// [`FileData::open`] made.
#[repr(transparent)]
pub struct File<T: FileData>(Opaque<bindings::drm_file>, PhantomData<T>);

impl<T: FileData> File<T> {
    /// Wraps a `struct drm_file`.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a file that was opened successfully through `T::open`, and that is not
    /// freed for the duration of `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::drm_file) -> &'a Self {
        // SAFETY: `ptr` is valid by the safety requirements.
        // CAST: `File` is a transparent wrapper of `struct drm_file`.
        unsafe { &*ptr.cast() }
    }

    /// Returns the raw `struct drm_file`, valid as long as `self`.
    pub fn as_raw(&self) -> *mut bindings::drm_file {
        self.0.get()
    }

    /// Returns the driver's private data.
    pub fn inner(&self) -> Pin<&T> {
        // SAFETY: By the type invariants `driver_priv` points to a `T`, which lives as long as
        // the file and never moves.
        unsafe { Pin::new_unchecked(&*(*self.as_raw()).driver_priv.cast::<T>()) }
    }

    /// Returns the device that the file belongs to.
    pub fn device(&self) -> &Device<T::Driver> {
        // SAFETY: A file holds its minor, and the minor its device; being opened through
        // `T::open` it is a device of `T::Driver`.
        unsafe { Device::from_raw((*(*self.as_raw()).minor).dev) }
    }

    /// Returns the number that `drm-client-id` of fdinfo shows, unique among all DRM files since
    /// boot.
    pub fn client_id(&self) -> u64 {
        // SAFETY: `self` is a valid file; the id does not change.
        unsafe { (*self.as_raw()).client_id }
    }

    /// Calls `f` for each handle of the file, with the object that it stands for.
    ///
    /// An object with several handles in the file comes several times. Holds the spinlock
    /// `drm_file.table_lock`: `f` must not sleep, not create, look up or close handles of this
    /// file, and not release the last reference to an object.
    ///
    /// C: `idr_for_each()` over `drm_file.object_idr`.
    pub fn for_each_object<F>(&self, mut f: F)
    where
        F: FnMut(&gem::Object<<T::Driver as Driver>::Object>),
    {
        let file = self.as_raw();

        // SAFETY: `file` is valid and initialized by `drm_gem_open()`.
        unsafe { bindings::spin_lock(&raw mut (*file).table_lock) };

        // SAFETY: The IDR is protected by the lock held. The callback gets `f`, of type `F`.
        unsafe {
            bindings::idr_for_each(
                &raw mut (*file).object_idr,
                Some(object_callback::<<T::Driver as Driver>::Object, F>),
                ptr::from_mut(&mut f).cast(),
            )
        };

        // SAFETY: The lock was taken above.
        unsafe { bindings::spin_unlock(&raw mut (*file).table_lock) };
    }

    /// The open callback of `struct drm_driver`.
    ///
    /// # Safety
    ///
    /// Only for `struct drm_driver` of `T::Driver`.
    pub(super) unsafe extern "C" fn open_callback(
        dev: *mut bindings::drm_device,
        file: *mut bindings::drm_file,
    ) -> c_int {
        // SAFETY: Called for devices of `T::Driver` only; the minor holds the device.
        let dev = unsafe { Device::<T::Driver>::from_raw(dev) };

        from_result(|| {
            let inner = T::open(dev)?;

            // SAFETY: The data is treated as pinned: it stays where it is until
            // `postclose_callback()` drops it.
            let inner = KBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) });

            // SAFETY: `file` is being opened, and hence private to the caller.
            unsafe { (*file).driver_priv = inner.cast() };
            Ok(0)
        })
    }

    /// The postclose callback of `struct drm_driver`.
    ///
    /// # Safety
    ///
    /// Only for `struct drm_driver` of `T::Driver`.
    pub(super) unsafe extern "C" fn postclose_callback(
        dev: *mut bindings::drm_device,
        file: *mut bindings::drm_file,
    ) {
        // SAFETY: Called for devices of `T::Driver` only; the minor holds the device.
        let dev = unsafe { Device::<T::Driver>::from_raw(dev) };

        // SAFETY: The file was opened successfully, otherwise there would be no postclose.
        T::postclose(dev, unsafe { Self::from_raw(file) });

        // SAFETY: `driver_priv` comes from `KBox::into_raw()` in `open_callback()`, and this is
        // the last use of the file by the driver.
        drop(unsafe { KBox::<T>::from_raw((*file).driver_priv.cast()) });
    }

    /// The show_fdinfo callback of `struct drm_driver`.
    ///
    /// # Safety
    ///
    /// Only for `struct drm_driver` of `T::Driver`.
    pub(super) unsafe extern "C" fn show_fdinfo_callback(
        printer: *mut bindings::drm_printer,
        file: *mut bindings::drm_file,
    ) {
        // SAFETY: The file was opened successfully, and is held by the caller.
        let file = unsafe { Self::from_raw(file) };

        // SAFETY: The printer is the caller's own.
        let printer = unsafe { Printer::from_raw(printer) };

        T::Driver::show_fdinfo(file.device(), file, printer);
    }
}

impl<T: FileData> PartialEq for File<T> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}

impl<T: FileData> Eq for File<T> {}

// SAFETY: A file is bound to no thread, and its data is `Send`.
unsafe impl<T: FileData> Send for File<T> {}

// SAFETY: All methods on a shared `File` are protected by the synchronization of `struct
// drm_file`, and its data is `Sync`.
unsafe impl<T: FileData> Sync for File<T> {}

/// # Safety
///
/// `ptr` must be null or a GEM object of type `gem::Object<O>`; `data` must point to an `F` that
/// nobody else uses.
unsafe extern "C" fn object_callback<O, F>(_id: c_int, ptr: *mut c_void, data: *mut c_void) -> c_int
where
    O: gem::DriverObject,
    F: FnMut(&gem::Object<O>),
{
    // A handle that is being created or closed has no object.
    if !ptr.is_null() {
        // SAFETY: By the safety requirements; the object is held by the handle.
        let obj = unsafe { gem::Object::<O>::from_raw(ptr.cast()) };

        // SAFETY: By the safety requirements.
        let f = unsafe { &mut *data.cast::<F>() };
        f(obj);
    }
    0
}
