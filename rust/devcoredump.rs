// SPDX-License-Identifier: GPL-2.0

//! Device coredumps: what is known of a device that has failed, for userspace to fetch.
//!
//! C header: [`include/linux/devcoredump.h`](srctree/include/linux/devcoredump.h)
//!
//! A dump appears as `/sys/class/devcoredump/devcdN/data`, with a link to the device, and is
//! announced by a uevent. It goes when somebody writes to the file, or after a time.
//!
//! # Lifetime model
//!
//! A dump is a buffer that the driver gives away; the driver may be unbound while it exists. With
//! [`emit`] the driver's module is free to go, too; [`emit_timeout`] holds it as long as the dump is
//! there.
//!
//! # Known limits
//!
//! The kernel keeps one dump for each device, the first; others are dropped until that one is gone.
//! It does not tell which. Without `CONFIG_DEV_COREDUMP`, or when the administrator has disabled
//! dumps, all of them are dropped.

use kernel::{
    bindings,
    device::{
        Device,
        DeviceContext, //
    },
    error::from_result,
    module::this_module,
    prelude::*,
    time::Jiffies,
    ModuleMetadata, //
};

use core::marker::PhantomData;

/// Publishes `data` as a dump of `dev` for 5 minutes. Sleeps. C: `dev_coredumpv()`.
///
/// Nothing happens if `data` is empty, or there already is a dump of the device.
pub fn emit<Ctx: DeviceContext>(dev: &Device<Ctx>, data: VVec<u8>) {
    if data.is_empty() {
        return;
    }
    let (ptr, len, _) = data.into_raw_parts();

    // SAFETY: The device is valid; the C function takes a reference. The buffer was allocated by
    // vmalloc, as it is not empty, and the C function becomes its owner.
    unsafe { ext_bindings::dev_coredumpv(as_raw(dev), ptr.cast(), len, bindings::GFP_KERNEL) };
}

/// As [`emit`], with a time of `timeout` jiffies. `M` is the module that calls this.
///
/// `M` cannot be unloaded while the dump exists; see [`remove`]. C: `dev_coredumpm_timeout()`.
///
/// # Errors
///
/// `ENOMEM`, and then there is no dump.
pub fn emit_timeout<M: ModuleMetadata>(
    dev: &Device<impl DeviceContext>,
    data: VVec<u8>,
    timeout: Jiffies,
) -> Result {
    if data.is_empty() {
        return Ok(());
    }
    let len = data.len();
    let data = KBox::into_raw(KBox::new(data, GFP_KERNEL)?);

    // SAFETY: The device is valid; the C function takes a reference. Both functions belong to `M`,
    // because they are instantiated for it, and the C function holds `M` as long as it needs them.
    // They take a box of the buffer, which is given away.
    unsafe {
        ext_bindings::dev_coredumpm_timeout(
            as_raw(dev),
            this_module::<M>().as_ptr(),
            data.cast(),
            len,
            bindings::GFP_KERNEL,
            Some(Callbacks::<M>::read),
            Some(Callbacks::<M>::free),
            timeout,
        )
    };
    Ok(())
}

/// Removes the dump of `dev`, if there is one, and frees it. Sleeps.
///
/// Waits for those who read it. C: `dev_coredump_put()`.
pub fn remove<Ctx: DeviceContext>(dev: &Device<Ctx>) {
    // SAFETY: The device is valid.
    unsafe { ext_bindings::dev_coredump_put(as_raw(dev)) };
}

fn as_raw<Ctx: DeviceContext>(dev: &Device<Ctx>) -> *mut bindings::device {
    // CAST: `Device` is a transparent wrapper.
    core::ptr::from_ref(dev).cast_mut().cast()
}

/// The functions of a dump for which `M` is responsible.
struct Callbacks<M>(PhantomData<M>);

impl<M> Callbacks<M> {
    /// # Safety
    ///
    /// `data` must be the box that [`emit_timeout`] has given away, and `buffer` have room for `count`
    /// bytes.
    unsafe extern "C" fn read(
        buffer: *mut c_char,
        offset: bindings::loff_t,
        count: usize,
        data: *mut c_void,
        _len: usize,
    ) -> isize {
        // SAFETY: By the safety requirements; the buffer is not changed any more.
        let data = unsafe { &*data.cast::<VVec<u8>>() };

        from_result(|| {
            let offset = usize::try_from(offset)?;
            let rest = data.get(offset..).unwrap_or_default();
            let count = rest.len().min(count);

            // SAFETY: `rest` and, by the safety requirements, `buffer` have `count` bytes.
            unsafe { core::ptr::copy_nonoverlapping(rest.as_ptr(), buffer.cast(), count) };
            Ok(count as isize)
        })
    }

    /// # Safety
    ///
    /// `data` must be the box that [`emit_timeout`] has given away; it is not used any more.
    unsafe extern "C" fn free(data: *mut c_void) {
        // SAFETY: By the safety requirements.
        drop(unsafe { KBox::<VVec<u8>>::from_raw(data.cast()) });
    }
}
