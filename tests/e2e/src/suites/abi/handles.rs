// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handles and descriptors that mean nothing here.

use hlrs_sys as sys;

use crate::check;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::raw;
use crate::system::cards;
use crate::system::cards::Place;
use crate::tests;

const SIZE: u64 = 1 << 20;

pub fn tests() -> Vec<Test> {
    tests![prime_refuses, handles_of_another_file, closed_handles,]
}

fn prime_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Visible.create(&device, SIZE)?;
    use sys::drm_prime_handle as Prime;
    let good = Prime {
        handle: buffer.handle(),
        flags: sys::DRM_CLOEXEC,
        fd: -1,
    };
    for flags in [1, 1 << 31, sys::DRM_CLOEXEC | 4] {
        let mut arg = Prime { flags, ..good };
        check_errno!(raw::to_fd(&device, &mut arg), INVAL, "flags {flags:#x}");
    }
    for handle in [0, buffer.handle() + 1, u32::MAX] {
        let mut arg = Prime { handle, ..good };
        check_errno!(raw::to_fd(&device, &mut arg), NOENT, "handle {handle}");
    }
    for fd in [-1, i32::MAX] {
        let mut arg = Prime {
            handle: 0,
            flags: 0,
            fd,
        };
        check_errno!(raw::to_handle(&device, &mut arg), BADF, "descriptor {fd}");
    }
    // A descriptor of something that is no dma-buf.
    let null = std::fs::File::open("/dev/null")?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&null);
    check_errno!(
        raw::to_handle(
            &device,
            &mut Prime {
                handle: 0,
                flags: 0,
                fd
            }
        ),
        INVAL
    );
    Ok(())
}

/// Every operation on a handle that belongs to another open file.
fn every_operation(device: &hlrs::Device, handle: u32, own: u32) -> Outcome {
    let mut offset = sys::drm_hlrs_mem_mmap_offset {
        handle,
        ..Default::default()
    };
    check_errno!(raw::mmap_offset(device, &mut offset), NOENT);
    let copy = sys::drm_hlrs_mem_copy {
        src_handle: own,
        dst_handle: handle,
        size: 64,
        ..Default::default()
    };
    check_errno!(raw::copy(device, &mut copy.clone()), NOENT);
    let mut back = sys::drm_hlrs_mem_copy {
        src_handle: handle,
        dst_handle: own,
        ..copy
    };
    check_errno!(raw::copy(device, &mut back), NOENT);
    let mut fill = sys::drm_hlrs_mem_fill {
        handle,
        size: 64,
        ..Default::default()
    };
    check_errno!(raw::fill(device, &mut fill), NOENT);
    let mut crc = sys::drm_hlrs_mem_crc32c {
        handle,
        size: 64,
        ..Default::default()
    };
    check_errno!(raw::crc32c(device, &mut crc), NOENT);
    let mut wait = sys::drm_hlrs_mem_wait {
        handle,
        ..Default::default()
    };
    check_errno!(raw::wait(device, &mut wait), NOENT);
    let mut query = sys::drm_hlrs_mem_query {
        handle,
        ..Default::default()
    };
    check_errno!(raw::mem_query(device, &mut query), NOENT);
    let mut prime = sys::drm_prime_handle {
        handle,
        flags: 0,
        fd: -1,
    };
    check_errno!(raw::to_fd(device, &mut prime), NOENT);
    let mut export = sys::drm_hlrs_mem_export {
        handle,
        ..Default::default()
    };
    check_errno!(raw::export(device, &mut export), NOENT);
    export.flags = sys::DRM_HLRS_MEM_EXPORT_PROBE;
    check_errno!(raw::export(device, &mut export), NOENT);
    let mut revoke = sys::drm_hlrs_mem_revoke {
        handle,
        ..Default::default()
    };
    check_errno!(raw::revoke(device, &mut revoke), NOENT);
    // The DRM core's own answer for a handle that does not exist.
    check_errno!(
        raw::close(device, &mut sys::drm_gem_close { handle, pad: 0 }),
        INVAL
    );
    Ok(())
}

fn handles_of_another_file(_: &Context) -> Outcome {
    let (mine, other) = (cards::first()?, cards::first()?);
    let own = Place::Lmem.create(&mine, SIZE)?;
    // More than this file has, so that the numbers mean nothing here.
    let theirs = (0..4).map(|_| Place::Visible.create(&other, SIZE));
    let theirs = theirs.collect::<hlrs::Result<Vec<_>>>()?;
    let last = &theirs[3];
    last.fill(0, SIZE, 0x77)?;
    check!(last.handle() > own.handle());
    every_operation(&mine, last.handle(), own.handle())?;
    cards::holds_pattern("the other file's buffer", last, 0x77)
}

fn closed_handles(_: &Context) -> Outcome {
    let device = cards::first()?;
    let own = Place::Lmem.create(&device, SIZE)?;
    let closed = Place::Lmem.create(&device, SIZE)?;
    let handle = closed.handle();
    drop(closed);
    every_operation(&device, handle, own.handle())
}
