// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is refused, and how: the same calls for both drivers.

use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

use hlrs::Errno;

use super::LMEM;
use super::PAGE;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::raw;
use crate::raw::vfio as sys;
use crate::system::vfio::request;
use crate::system::vfio::Driver;
use crate::system::vfio::Function;
use crate::system::vfio::Taken;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![refusals_are_those_of_vfio_pci: 120]
}

const RDWR: u32 = (libc::O_RDWR | libc::O_CLOEXEC) as u32;

/// A call: what it is about, and its argument.
type Call = (String, Vec<u64>);

/// An argument with other flags of the feature.
fn with_flags(mut words: Vec<u64>, flags: u32) -> Vec<u64> {
    words[0] = (words[0] & 0xffff_ffff) | (u64::from(flags) << 32);
    words
}

/// All that is tried, for a BAR of this size.
fn calls(size: u64) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut add = |what: String, words: Vec<u64>| calls.push((what, words));

    let good = request(LMEM, RDWR, &[(0, PAGE)]);
    add("one page".to_owned(), good.clone());
    add(
        "the whole BAR".to_owned(),
        request(LMEM, RDWR, &[(0, size)]),
    );
    for region in 0..10 {
        add(
            format!("region {region}"),
            request(region, RDWR, &[(0, PAGE)]),
        );
    }
    add(
        "region -1".to_owned(),
        request(u32::MAX, RDWR, &[(0, PAGE)]),
    );

    let (high, top) = (1 << 63, u64::MAX - PAGE + 1);
    for (offset, len) in [
        (0, 0),
        (PAGE, 0),
        (1, PAGE),
        (0, 1),
        (0, PAGE + 8),
        (PAGE / 2, PAGE),
        (size - PAGE, PAGE),
        (size, PAGE),
        (size - PAGE, 2 * PAGE),
        (0, size + PAGE),
        (0, high),
        (0, high - PAGE),
        (0, top),
        (top, PAGE),
        (top, top),
        (high, high),
        (high - PAGE, high - PAGE),
    ] {
        let range = request(LMEM, RDWR, &[(offset, len)]);
        add(format!("{len:#x} bytes at {offset:#x}"), range);
        let after = request(LMEM, RDWR, &[(0, PAGE), (offset, len)]);
        add(format!("a page, {len:#x} bytes at {offset:#x}"), after);
    }
    add(
        "a sum that overflows".to_owned(),
        request(LMEM, RDWR, &[(0, top), (0, top), (0, 2 * PAGE)]),
    );
    add(
        "a sum with the highest bit".to_owned(),
        request(LMEM, RDWR, &[(0, high - PAGE), (0, PAGE)]),
    );
    add(
        "ranges that overlap".to_owned(),
        request(LMEM, RDWR, &[(0, 2 * PAGE), (PAGE, 2 * PAGE), (0, PAGE)]),
    );
    add("no ranges".to_owned(), request(LMEM, RDWR, &[]));

    for flag in [1, 1 << 31] {
        let mut words = good.clone();
        words[2] |= flag;
        add(format!("dma-buf flags {flag:#x}"), words);
    }
    for open_flags in [
        0,
        libc::O_WRONLY,
        libc::O_RDWR,
        libc::O_ACCMODE,
        libc::O_NONBLOCK | libc::O_RDWR,
        libc::O_CLOEXEC,
        libc::O_APPEND | libc::O_DIRECT,
        -1,
    ] {
        let words = request(LMEM, open_flags as u32, &[(0, PAGE)]);
        add(format!("open flags {open_flags:#x}"), words);
    }
    for count in [2, 1 << 16, 1 << 20, u32::MAX] {
        let mut words = good.clone();
        words[2] = u64::from(count) << 32;
        add(format!("{count} ranges, of which one is there"), words);
    }

    for flags in [
        0,
        sys::FEATURE_SET,
        sys::FEATURE_GET | sys::FEATURE_SET,
        sys::FEATURE_PROBE,
        sys::FEATURE_PROBE | sys::FEATURE_GET,
        sys::FEATURE_PROBE | sys::FEATURE_SET,
        1 << 19,
    ] {
        let words = with_flags(good.clone(), flags | sys::DMA_BUF);
        add(format!("feature flags {flags:#x}"), words);
    }
    for feature in [0, 1, 6, 12, 13, 99] {
        let words = with_flags(good.clone(), sys::FEATURE_PROBE | feature);
        add(format!("whether there is feature {feature}"), words);
    }
    for argsz in [0, 8, 16, 23, 24, 25] {
        let mut words = good.clone();
        words[0] = (words[0] & !0xffff_ffff) | argsz;
        add(format!("argument of {argsz} bytes"), words);
    }
    calls
}

/// What came of a call: a size, or an error.
fn result(function: &Function, call: &Call) -> Outcome<raw::Result<u64>> {
    let mut words = call.1.clone();
    // Behind what is given there is nothing but zeros.
    words.resize(words.len() + 4, 0);
    let asks = (words[0] >> 32) & u64::from(sys::FEATURE_PROBE) != 0;
    match sys::feature_words(function, &mut words) {
        Err(errno) => Ok(Err(errno)),
        Ok(value) if asks => Ok(Ok(value as u64)),
        Ok(fd) => {
            // SAFETY: the ioctl has made the descriptor for us.
            let dmabuf = hlrs::DmaBuf::from(unsafe { OwnedFd::from_raw_fd(fd) });
            // What became of the flags is part of it.
            // SAFETY: the descriptor is open.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
            // SAFETY: as above.
            let cloexec = unsafe { libc::fcntl(fd, libc::F_GETFD) };
            let flags = ((flags as u64) << 40) | ((cloexec as u64) << 60);
            Ok(Ok(dmabuf.size()? | flags))
        }
    }
}

/// The same for an argument that ends at memory which cannot be accessed.
fn faults(function: &Function) -> Outcome<Vec<raw::Result<i32>>> {
    let words = request(LMEM, RDWR, &[(0, PAGE)]);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    [8, 16, 24, 32]
        .iter()
        .map(|&len| {
            let pages = raw::Pages::new(&bytes[..len], true)?;
            Ok(sys::feature_at(function, &pages, len))
        })
        .collect()
}

fn refusals_are_those_of_vfio_pci(_: &Context) -> Outcome {
    let taken = Taken::by(Driver::Theirs)?;
    let mut found = Vec::new();
    for driver in Driver::BOTH {
        taken.give(driver)?;
        let function = taken.open()?;
        let calls = calls(function.region_size(LMEM)?);
        let results = calls
            .iter()
            .map(|call| result(&function, call))
            .collect::<Outcome<Vec<_>>>()?;
        found.push((calls, results, faults(&function)?));
    }
    let (calls, theirs, their_faults) = &found[0];
    let (_, ours, our_faults) = &found[1];
    check_eq!(ours.len(), theirs.len());
    let mut errors: Vec<Errno> = Vec::new();
    for ((call, theirs), ours) in calls.iter().zip(theirs).zip(ours) {
        check!(
            ours == theirs,
            "{}: {ours:x?}, vfio-pci: {theirs:x?}",
            call.0
        );
        errors.extend(theirs.err());
    }
    check_eq!(our_faults, their_faults);
    // The comparison is worth what it has met.
    for errno in [Errno::INVAL, Errno::NODEV, Errno::OVERFLOW, Errno::NOTTY] {
        check!(errors.contains(&errno), "nothing was refused with {errno}");
    }
    check!(
        our_faults.iter().all(|result| *result == Err(Errno::FAULT)),
        "{our_faults:?}"
    );
    println!("{} calls, {} refused", calls.len(), errors.len());
    Ok(())
}
