// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calling conventions: argument pointers, argument sizes, unknown numbers,
//! and programs in C.

use std::process::Command;

use hlrs_sys as sys;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::raw;
use crate::system::cards;
use crate::system::cards::Place;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        arguments_that_cannot_be_read,
        arguments_that_cannot_be_written,
        unknown_numbers,
        shorter_and_longer_arguments,
        example_in_c_64_bit,
        example_in_c_32_bit,
    ]
}

/// Size of the argument that an ioctl number encodes.
fn size_of_argument(number: u32) -> usize {
    ((number >> 16) & 0x3fff) as usize
}

fn arguments_that_cannot_be_read(_: &Context) -> Outcome {
    let device = cards::first()?;
    for (name, number) in sys::IOCTLS {
        let size = size_of_argument(number);
        let pages = raw::Pages::new(&[], true)?;
        let places = [
            ("null", 0),
            ("kernel", 0xffff_8880_0000_0000),
            ("wrapping", usize::MAX - size / 2),
            ("half mapped", pages.before_end(size / 2)),
        ];
        for (what, address) in places {
            // SAFETY: none of the places can be accessed in full.
            let refused = unsafe { raw::at(&device, number, address) };
            check_errno!(refused, FAULT, "{name} with its argument in {what} memory");
        }
    }
    Ok(())
}

/// The results cannot be stored. What the call did by then the DRM core does
/// not take back: the buffer of a create exists, without anyone knowing its
/// handle, until the file is closed.
fn arguments_that_cannot_be_written(_: &Context) -> Outcome {
    let device = cards::first()?;
    let before = cards::used(&device)?;
    {
        let device = cards::first()?;
        let buffer = Place::Lmem.create(&device, 1 << 20)?;
        let handle = buffer.handle();
        let region = device.lmem()?.instance;
        let create = sys::drm_hlrs_mem_create {
            size: 4096,
            region,
            ..Default::default()
        };
        let wait = sys::drm_hlrs_mem_wait {
            handle,
            ..Default::default()
        };
        let crc = sys::drm_hlrs_mem_crc32c {
            handle,
            size: 64,
            ..Default::default()
        };
        let arguments = [
            (sys::DRM_IOCTL_HLRS_MEM_CREATE, raw::bytes_of(&create)),
            (sys::DRM_IOCTL_HLRS_MEM_WAIT, raw::bytes_of(&wait)),
            (sys::DRM_IOCTL_HLRS_MEM_CRC32C, raw::bytes_of(&crc)),
        ];
        for (number, argument) in arguments {
            let pages = raw::Pages::new(&argument, false)?;
            // SAFETY: the argument is whole, has no pointers, and cannot be
            // written.
            let refused = unsafe { raw::at(&device, number, pages.before_end(argument.len())) };
            check_errno!(
                refused,
                FAULT,
                "ioctl {number:#x} with a read-only argument"
            );
        }
    }
    cards::settles(&device, before)
}

fn unknown_numbers(_: &Context) -> Outcome {
    let device = cards::first()?;
    let mut argument = [0u64; 64];
    let address = argument.as_mut_ptr() as usize;
    let number = |nr: u32, size: u32| (3 << 30) | (size << 16) | (u32::from(b'd') << 8) | nr;
    // From after the last one of ours to the end of the range of drivers.
    for nr in 0x40 + sys::DRM_HLRS_MEM_QUERY + 1..0xa0 {
        // SAFETY: the argument has room for the encoded size.
        let refused = unsafe { raw::at(&device, number(nr, 64), address) };
        check_errno!(refused, INVAL, "ioctl number {nr:#x}");
    }
    for letter in [b'c', b'e', 0] {
        let number = (number(0x41, 48) & !0xff00) | (u32::from(letter) << 8);
        // SAFETY: as above.
        let refused = unsafe { raw::at(&device, number, address) };
        check!(
            refused.is_err(),
            "ioctl {number:#x} of another letter succeeded"
        );
    }
    Ok(())
}

/// The size of the argument is part of the number. The DRM core takes shorter
/// ones, of older programs, as if the rest was zero, and ignores what longer
/// ones, of newer programs, have at the end.
fn shorter_and_longer_arguments(_: &Context) -> Outcome {
    let device = cards::first()?;
    let create = sys::drm_hlrs_mem_create {
        size: 8192,
        region: device.lmem()?.instance,
        // Beyond the end of the short argument, so it must not be seen.
        reserved: [1, 1],
        ..Default::default()
    };
    let with_size = |size: u32| (sys::DRM_IOCTL_HLRS_MEM_CREATE & !(0x3fff << 16)) | (size << 16);
    for size in [32, 48, 64] {
        let mut argument = [create, sys::drm_hlrs_mem_create::default()];
        if size != 32 {
            argument[0].reserved = [0; 2];
        }
        // SAFETY: the argument is longer than any of the sizes.
        let created = unsafe { raw::at(&device, with_size(size), argument.as_mut_ptr() as usize) };
        check_eq!(created, Ok(()), "create with an argument of {size} bytes");
        let mut close = sys::drm_gem_close {
            handle: argument[0].handle,
            pad: 0,
        };
        check_eq!(
            raw::close(&device, &mut close),
            Ok(()),
            "closing its handle"
        );
    }
    Ok(())
}

/// Runs the example in C, which makes a round trip of its own.
fn example(name: &str) -> Outcome {
    let program = std::env::current_exe()?.with_file_name(name);
    check!(program.exists(), "{} was not built", program.display());
    let out = Command::new(&program)
        .arg(cards::first_node()?.path)
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    print!("{text}{errors}");
    check!(out.status.success(), "{name}: {}", out.status);
    check!(
        text.lines().last() == Some("round trip: OK"),
        "{name} does not say that it is OK"
    );
    Ok(())
}

fn example_in_c_64_bit(_: &Context) -> Outcome {
    example("hlrs-example")
}

fn example_in_c_32_bit(_: &Context) -> Outcome {
    example("hlrs-example-32")
}
