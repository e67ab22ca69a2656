// SPDX-License-Identifier: GPL-2.0

//! Directories and attributes in sysfs.
//!
//! C headers: [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
//! [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)
//!
//! A [`Directory`] owns a kobject and typed data, and has a fixed table of [`Attribute`]s whose
//! functions get that data. Dropping it removes the directory and waits for the functions that
//! run; the module that the functions are in is then no longer referred to.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device,
    error::{
        from_result,
        to_result, //
    },
    fmt,
    prelude::*,
    str::{
        CString,
        Formatter, //
    },
    types::Opaque, //
};

use core::fmt::Write;

/// What [`Attribute`]'s `show` writes to; at most a page.
pub struct Output<'a>(Formatter<'a>);

impl Output<'_> {
    /// Appends formatted text. Fails with `EOVERFLOW` when the page is full.
    pub fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> Result {
        self.0.write_fmt(args).map_err(|_| EOVERFLOW)
    }
}

/// A file in a [`Directory`] with data of type `T`.
///
/// Both functions run in process context and may sleep. The length of what `store` gets is that
/// of one `write()`, at most a page; an error is returned to the writer.
#[repr(C)]
pub struct Attribute<T> {
    attr: bindings::attribute,
    show: Option<fn(&T, &mut Output<'_>) -> Result>,
    store: Option<fn(&T, &[u8]) -> Result>,
}

// SAFETY: Attributes are constant; the pointer in `attr` is to a static string.
unsafe impl<T> Sync for Attribute<T> {}

impl<T> Attribute<T> {
    const fn new(
        name: &'static CStr,
        mode: bindings::umode_t,
        show: Option<fn(&T, &mut Output<'_>) -> Result>,
        store: Option<fn(&T, &[u8]) -> Result>,
    ) -> Self {
        let mut attr: bindings::attribute = pin_init::zeroed();
        attr.name = kernel::str::as_char_ptr_in_const_context(name);
        attr.mode = mode;
        Self { attr, show, store }
    }

    /// A file that everybody may read and root may write.
    pub const fn read_write(
        name: &'static CStr,
        show: fn(&T, &mut Output<'_>) -> Result,
        store: fn(&T, &[u8]) -> Result,
    ) -> Self {
        Self::new(name, 0o644, Some(show), Some(store))
    }

    /// A file that everybody may read.
    pub const fn read_only(name: &'static CStr, show: fn(&T, &mut Output<'_>) -> Result) -> Self {
        Self::new(name, 0o444, Some(show), None)
    }

    /// A file that root may write.
    pub const fn write_only(name: &'static CStr, store: fn(&T, &[u8]) -> Result) -> Self {
        Self::new(name, 0o200, None, Some(store))
    }
}

/// Something that a [`Directory`] can lie in.
pub trait Parent {
    /// The kobject; valid as long as `self` is.
    fn kobject(&self) -> *mut bindings::kobject;
}

impl<Ctx: device::DeviceContext> Parent for device::Device<Ctx> {
    fn kobject(&self) -> *mut bindings::kobject {
        // CAST: `device::Device` is a transparent wrapper of `Opaque<bindings::device>`.
        let dev = core::ptr::from_ref(self).cast::<bindings::device>();

        // SAFETY: `self` is valid; only the address of the field is taken.
        unsafe { &raw const (*dev).kobj }.cast_mut()
    }
}

/// The kobject and the data of a directory; freed by the kobject's release function.
#[repr(C)]
struct Node<T> {
    kobj: Opaque<bindings::kobject>,
    data: T,
}

/// A directory; removed when dropped.
///
/// # Invariants
///
/// `node` points to a [`Node`] whose kobject was added and has the type `KTYPE`; this owns a
/// reference to it.
pub struct Directory<T: Send + Sync + 'static> {
    node: NonNull<Node<T>>,
    _data: PhantomData<T>,
}

// SAFETY: kobjects may be used from any thread, and `T` is `Send` and `Sync`.
unsafe impl<T: Send + Sync> Send for Directory<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Directory<T> {}

impl<T: Send + Sync + 'static> Directory<T> {
    const SYSFS_OPS: bindings::sysfs_ops = bindings::sysfs_ops {
        show: Some(Self::show_callback),
        store: Some(Self::store_callback),
    };

    const KTYPE: bindings::kobj_type = bindings::kobj_type {
        release: Some(Self::release_callback),
        sysfs_ops: &Self::SYSFS_OPS,
        ..pin_init::zeroed()
    };

    /// Creates the directory `name` in `parent`, with the files `attributes`. Sleeps.
    ///
    /// Fails with `EEXIST` if the name is taken, `ENOMEM` without memory; nothing is left then.
    pub fn new(
        parent: &dyn Parent,
        name: fmt::Arguments<'_>,
        data: T,
        attributes: &'static [Attribute<T>],
    ) -> Result<Self> {
        let name = CString::try_from_fmt(name)?;
        let node = KBox::new(
            Node {
                kobj: Opaque::zeroed(),
                data,
            },
            GFP_KERNEL,
        )?;
        let node = NonNull::from(KBox::leak(node));

        // SAFETY: The node is allocated; only the address of the field is taken.
        let kobj = unsafe { Opaque::cast_into(&raw const (*node.as_ptr()).kobj) };

        // SAFETY: `kobj` is zeroed and of this function's own; `KTYPE` is constant; the parent
        // is valid by the reference, and the C function takes a reference to it.
        let added = to_result(unsafe {
            bindings::kobject_init_and_add(
                kobj,
                const { &Self::KTYPE },
                parent.kobject(),
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        });
        if let Err(e) = added {
            // SAFETY: The C function has initialised the kobject also when it fails, and wants
            // this; `release_callback` frees the node.
            unsafe { bindings::kobject_put(kobj) };
            return Err(e);
        }

        // INVARIANT: The kobject was added above; from here on its removal is up to `drop`.
        let this = Self {
            node,
            _data: PhantomData,
        };

        for attribute in attributes {
            // SAFETY: The kobject was added, and the attribute is static.
            to_result(unsafe {
                bindings::sysfs_create_file_ns(kobj, &attribute.attr, core::ptr::null())
            })?;
        }

        Ok(this)
    }

    /// Adds a symbolic link `name` to the directory of `target`. Sleeps.
    ///
    /// It goes with the directory. Fails with `EEXIST` if the name is taken.
    pub fn add_link(&self, target: &dyn Parent, name: &CStr) -> Result {
        // SAFETY: Both kobjects are valid: ours by the type invariant, the other by reference.
        to_result(unsafe {
            bindings::sysfs_create_link(self.kobject(), target.kobject(), name.as_char_ptr())
        })
    }

    /// Removes a link that [`Directory::add_link`] has made. Sleeps.
    pub fn remove_link(&self, name: &CStr) {
        // SAFETY: The kobject is valid by the type invariant.
        unsafe { bindings::sysfs_remove_link(self.kobject(), name.as_char_ptr()) };
    }

    /// Returns the data and the attribute that a callback is for.
    ///
    /// # Safety
    ///
    /// `kobj` and `attr` must be those of a callback of `SYSFS_OPS` of this very type.
    unsafe fn callback_arguments<'a>(
        kobj: *mut bindings::kobject,
        attr: *mut bindings::attribute,
    ) -> (&'a T, &'a Attribute<T>) {
        // SAFETY: kernfs keeps the kobject while a callback runs; it is the first field of a
        // `Node<T>`, and every attribute of the type's is the first field of an `Attribute<T>`.
        unsafe { (&(*kobj.cast::<Node<T>>()).data, &*attr.cast()) }
    }

    /// # Safety
    ///
    /// Only for `SYSFS_OPS`.
    unsafe extern "C" fn show_callback(
        kobj: *mut bindings::kobject,
        attr: *mut bindings::attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: This is a callback of `SYSFS_OPS`.
        let (data, attribute) = unsafe { Self::callback_arguments(kobj, attr) };

        from_result(|| {
            let show = attribute.show.ok_or(EIO)?;
            // SAFETY: sysfs gives a page, zeroed, that nobody else accesses.
            let page =
                unsafe { core::slice::from_raw_parts_mut(buf.cast(), kernel::page::PAGE_SIZE) };
            let mut output = Output(Formatter::new(page));

            show(data, &mut output)?;
            Ok(output.0.bytes_written() as isize)
        })
    }

    /// # Safety
    ///
    /// Only for `SYSFS_OPS`.
    unsafe extern "C" fn store_callback(
        kobj: *mut bindings::kobject,
        attr: *mut bindings::attribute,
        buf: *const c_char,
        count: usize,
    ) -> isize {
        // SAFETY: This is a callback of `SYSFS_OPS`.
        let (data, attribute) = unsafe { Self::callback_arguments(kobj, attr) };

        from_result(|| {
            let store = attribute.store.ok_or(EIO)?;
            // SAFETY: sysfs gives `count` bytes to read.
            store(data, unsafe {
                core::slice::from_raw_parts(buf.cast(), count)
            })?;
            Ok(count as isize)
        })
    }

    /// # Safety
    ///
    /// Only for `KTYPE`.
    unsafe extern "C" fn release_callback(kobj: *mut bindings::kobject) {
        // SAFETY: The kobject is the first field of a node that `new` has leaked from a `KBox`,
        // and there is no reference left to it.
        drop(unsafe { KBox::from_raw(kobj.cast::<Node<T>>()) });
    }
}

impl<T: Send + Sync + 'static> Parent for Directory<T> {
    fn kobject(&self) -> *mut bindings::kobject {
        // CAST: The kobject is the first field of the node.
        self.node.as_ptr().cast()
    }
}

impl<T: Send + Sync + 'static> Drop for Directory<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this owns a reference to an added kobject. `kobject_del`
        // waits for callbacks that run; none starts after it.
        unsafe {
            bindings::kobject_del(self.kobject());
            bindings::kobject_put(self.kobject());
        }
    }
}
