// SPDX-License-Identifier: GPL-2.0

//! Tests on the real (emulated) device: a PF that this driver is bound to.

use core::ptr::{
    null_mut,
    NonNull, //
};

use kernel::{
    bindings,
    device::CoreInternal,
    io::Io,
    prelude::*,
    ptr::Alignment,
    sizes::{
        SZ_4K,
        SZ_64K, //
    },
    sync::aref::ARef, //
};

use super::*;
use crate::{
    device::{
        BoundDevice,
        DeviceData, //
    },
    lmem::{
        Allocation,
        Placement, //
    },
    ops, //
};

/// Calls `f` with a PF. The test is skipped if there is none.
fn with_pf(f: impl FnOnce(&BoundDevice<'_>) -> Result) -> Result {
    let (vendor, device) = (
        hlrs_abi::HLRS_PCI_VENDOR_ID,
        hlrs_abi::HLRS_PCI_DEVICE_ID_PF,
    );

    // SAFETY: No requirements.
    let raw = unsafe { bindings::pci_get_device(vendor, device, null_mut()) };
    let Some(found) = NonNull::new(raw) else {
        return skip(b"there is no accelerator");
    };
    // SAFETY: The C function returns a reference; `pci::Device` is a transparent wrapper.
    let _reference: ARef<pci::Device> = unsafe { ARef::from_raw(found.cast()) };

    // SAFETY: The device is valid, and the C function returns a string. A driver that is bound
    // stays while tests run.
    let driver = unsafe { CStr::from_char_ptr(bindings::dev_driver_string(&raw mut (*raw).dev)) };
    if driver != c"hlrs" {
        return skip(b"the accelerator has another driver");
    }

    // SAFETY: The device is valid. Nothing binds or unbinds drivers while tests run, so that its
    // state is as good as under the device lock.
    let pdev = unsafe { &*raw.cast::<pci::Device<CoreInternal<'_>>>() };
    // SAFETY: It is bound to this driver, whose data are of this type, and stay, as above.
    let bound = unsafe { pdev.as_ref().drvdata_borrow::<Bound<'_>>() };
    let dev = bound.device().enter().ok_or(ENODEV)?;

    f(&dev)
}

/// Reports the test as skipped. C: `kunit_mark_skipped()`, a macro.
fn skip(reason: &[u8]) -> Result {
    // SAFETY: This is a KUnit test, which runs on a thread of its own.
    let test = unsafe { &mut *bindings::kunit_get_current_test() };

    test.status = bindings::kunit_status_KUNIT_SKIPPED;
    for (to, from) in test.status_comment.iter_mut().zip(reason) {
        // The rest of the field is zero.
        *to = *from;
    }
    Ok(())
}

/// Compares two numbers. Unlike an assertion of KUnit it does not end the thread, which has the
/// device entered.
fn equal(what: &str, found: u64, expected: u64) -> Result {
    if found != expected {
        pr_err!("{what}: {found}, expected {expected}\n");
        return Err(EIO);
    }
    Ok(())
}

/// A block that the CPU reaches.
fn visible(dev: &DeviceData, size: usize) -> Result<Allocation> {
    let page = Alignment::new::<SZ_4K>();

    dev.lmem
        .alloc(size as u64, page, Placement::CpuVisible, true)
}

/// Writes to each word of memory, by the CPU, what `value` says of its number.
fn write(dev: &DeviceData, memory: &Allocation, value: impl Fn(u64) -> u64) -> Result {
    for (number, at) in words(memory).enumerate() {
        dev.hw
            .with_aperture(|bar| bar.try_write64(value(number as u64), at))??;
    }
    Ok(())
}

/// Compares each word, read by the CPU.
fn holds(dev: &DeviceData, memory: &Allocation, value: impl Fn(u64) -> u64) -> Result {
    for (number, at) in words(memory).enumerate() {
        let expected = value(number as u64);
        let found = dev.hw.with_aperture(|bar| bar.try_read64(at))??;

        if found != expected {
            pr_err!("word {number} at {at:#x} is {found:#x}, expected {expected:#x}\n");
            return Err(EIO);
        }
    }
    Ok(())
}

/// The addresses of the words of memory, in the order in which they make it up.
fn words(memory: &Allocation) -> impl Iterator<Item = usize> + '_ {
    memory
        .extents()
        .iter()
        .flat_map(|extent| (extent.start..extent.end()).step_by(8))
        // CAST: An offset in a BAR that is mapped.
        .map(|at| at as usize)
}

#[kunit_tests(hlrs_device)]
mod suite {
    use super::*;

    /// What is allocated is the device's memory, nobody else's, and counted.
    #[test]
    fn memory_is_there_and_counted() -> Result {
        with_pf(|dev| {
            let (used, visible_used) = (dev.lmem.used(), dev.lmem.visible_used());
            let blocks = [visible(dev, SZ_64K)?, visible(dev, SZ_4K)?];
            let size = (SZ_64K + SZ_4K) as u64;

            equal("used", dev.lmem.used(), used + size)?;
            equal("visible", dev.lmem.visible_used(), visible_used + size)?;

            for (block, mark) in blocks.iter().zip([1 << 32, 2 << 32]) {
                write(dev, block, |n| mark | n)?;
            }
            for (block, mark) in blocks.iter().zip([1 << 32, 2 << 32]) {
                holds(dev, block, |n| mark | n)?;
            }

            drop(blocks);
            equal("used", dev.lmem.used(), used)?;
            equal("visible", dev.lmem.visible_used(), visible_used)
        })
    }

    /// The engine zeroes what it is told to, all of it, and nothing else.
    #[test]
    fn zeroing_ends_where_it_should() -> Result {
        with_pf(|dev| {
            let all = visible(dev, SZ_64K)?;
            let start = all.extents().first().ok_or(EINVAL)?.start;
            // In two pieces, with a page before, between and after.
            let page = SZ_4K as u64;
            let pieces = [(1, 3), (5, 2)].map(|(first, pages)| Extent {
                start: start + first * page,
                len: pages * page,
            });

            write(dev, &all, |n| !n)?;
            ops::zero_lmem(&dev.queue, &pieces)?;
            holds(dev, &all, |n| match n * 8 / page {
                1..=3 | 5..=6 => 0,
                _ => !n,
            })
        })
    }

    /// The engine copies from scattered memory to scattered memory.
    #[test]
    fn the_queue_copies() -> Result {
        with_pf(|dev| {
            let all = visible(dev, SZ_64K)?;
            let start = all.extents().first().ok_or(EINVAL)?.start;
            let page = SZ_4K as u64;
            let extent = |(first, pages)| Extent {
                start: start + first * page,
                len: pages * page,
            };
            // Pages 3 and 0 to 1, to 8 to 9 and 12.
            let (from, to) = ([(3, 1), (0, 2)], [(8, 2), (12, 1)]);

            write(dev, &all, |n| n << 8)?;
            ops::copy_lmem(&dev.queue, &from.map(extent), &to.map(extent))?;
            holds(dev, &all, |n| {
                let (number, word) = (n * 8 / page, n % (page / 8));
                let source = match number {
                    8 => 3,
                    9 => 0,
                    12 => 1,
                    other => other,
                };

                (source * (page / 8) + word) << 8
            })
        })
    }
}
