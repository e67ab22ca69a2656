// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that is full, or has no place that is large enough.

use hlrs::Buffer;
use hlrs::Device;
use hlrs::Errno;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::skip;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::log::DebugLog;
use crate::system::log::Log;
use crate::system::random::Random;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        lmem_until_it_is_full: 120,
        all_of_lmem_in_one_buffer: 120,
        fragmented_lmem: 180,
    ]
}

/// For machines whose aperture shows a part of LMEM.
pub fn aperture_tests() -> Vec<Test> {
    tests![
        the_aperture_until_it_is_full: 120,
        what_need_not_be_visible_spares_the_aperture: 120,
        memory_outside_the_aperture: 120,
        a_full_aperture_is_explained: 120,
    ]
}

/// Creates buffers until there is no space.
pub fn exhaust(device: &Device, place: Place, size: u64) -> Outcome<Vec<Buffer>> {
    let mut buffers = Vec::new();
    loop {
        match place.create(device, size) {
            Ok(buffer) => buffers.push(buffer),
            Err(err) if err.errno() == Some(Errno::NOSPC) => return Ok(buffers),
            Err(err) => return Err(err.into()),
        }
        check!(buffers.len() < 1 << 20, "the memory never becomes full");
    }
}

fn lmem_until_it_is_full(_: &Context) -> Outcome {
    let device = cards::first()?;
    let start = device.lmem()?;
    let mut buffers = exhaust(&device, Place::Lmem, 4 * MIB)?;
    let full = device.lmem()?;
    check!(
        full.total - full.used < 4 * MIB,
        "full with {} of {} bytes used",
        full.used,
        full.total
    );
    check_eq!(full.used - start.used, buffers.len() as u64 * 4 * MIB);
    // Smaller ones may still fit, and then nothing does.
    let rest = exhaust(&device, Place::Lmem, 4096)?;
    let end = device.lmem()?;
    check_eq!(end.used, end.total, "used when not even a page is left");
    check_errno!(Place::Visible.create(&device, 4096), NOSPC);
    // One leaves, one comes.
    buffers.pop();
    let again = Place::Lmem.create(&device, 4 * MIB)?;
    cards::holds_pattern("the last buffer", &again, 0)?;
    drop((buffers, rest, again));
    cards::settles(&device, start.used)
}

fn all_of_lmem_in_one_buffer(_: &Context) -> Outcome {
    let device = cards::first()?;
    let lmem = device.lmem()?;
    if lmem.used != 0 {
        skip!("{} bytes of LMEM are in use", lmem.used);
    }
    let buffer = Place::Lmem.create(&device, lmem.total)?;
    cards::holds_pattern("all of LMEM", &buffer, 0)?;
    buffer.fill(lmem.total - 8, 8, u64::MAX)?;
    check_eq!(cards::read(&buffer, lmem.total - 16, 16)?[..8], [0; 8]);
    check_eq!(cards::read(&buffer, lmem.total - 16, 16)?[8..], [0xff; 8]);
    check_errno!(Place::Lmem.create(&device, 4096), NOSPC);
    Ok(())
}

/// All of LMEM in pieces, of which every other is given back.
fn fragment(device: &Device, piece: u64) -> Outcome<Vec<Buffer>> {
    let mut buffers = Vec::new();
    loop {
        match device.buffer(piece).contiguous().create() {
            Ok(buffer) => buffers.push(buffer),
            Err(err) if err.errno() == Some(Errno::NOSPC) => break,
            Err(err) => return Err(err.into()),
        }
    }
    // Neighbours in the order of creation are neighbours in memory for any
    // allocator that fills an empty memory in order; if it does not, the
    // holes are larger, and the test below says so.
    let mut keep = true;
    buffers.retain(|_| {
        keep = !keep;
        keep
    });
    Ok(buffers)
}

fn fragmented_lmem(context: &Context) -> Outcome {
    let device = cards::first()?;
    let piece = 2 * MIB;
    let kept = fragment(&device, piece)?;
    check!(kept.len() > 8, "only {} pieces of LMEM", kept.len());
    for (n, buffer) in kept.iter().enumerate() {
        buffer.fill(0, piece, n as u64 + 1)?;
    }
    // There is room, but not in one place.
    check_errno!(device.buffer(2 * piece).contiguous().create(), NOSPC);
    let scattered = Place::Lmem.create(&device, 6 * piece)?;
    cards::holds_pattern("a scattered buffer", &scattered, 0)?;
    let bytes = cards::randomize(&scattered, &mut Random::new(context.seed))?;
    // Across the borders of its blocks, by content and by checksum.
    for border in (piece..6 * piece).step_by(piece as usize) {
        let (from, size) = (border - 5, 11);
        let found = cards::read(&scattered, from, size)?;
        cards::compare(
            "across a border",
            &found,
            &bytes[from as usize..(from + size) as usize],
        )?;
    }
    check_eq!(
        scattered.crc32c(0, scattered.size())?,
        hlrs::crc32c(0, &bytes)
    );
    for (n, buffer) in kept.iter().enumerate() {
        cards::holds_pattern("a neighbour", buffer, n as u64 + 1)?;
    }
    Ok(())
}

/// Skips the test unless part of LMEM is invisible.
fn small_aperture() -> Outcome<Device> {
    let device = cards::first()?;
    let lmem = device.lmem()?;
    if lmem.cpu_visible == lmem.total {
        skip!("the aperture shows all of LMEM; this is for the machine with a small one");
    }
    Ok(device)
}

fn the_aperture_until_it_is_full(_: &Context) -> Outcome {
    let device = small_aperture()?;
    let start = device.lmem()?;
    let visible = exhaust(&device, Place::Visible, MIB)?;
    let full = device.lmem()?;
    check_eq!(
        full.cpu_visible_used,
        full.cpu_visible,
        "visible memory used"
    );
    check!(
        full.used < full.total,
        "LMEM is full, not only the aperture"
    );
    let hidden = Place::Lmem.create(&device, 16 * MIB)?;
    cards::holds_pattern("memory beside a full aperture", &hidden, 0)?;
    check_errno!(Place::Visible.create(&device, 4096), NOSPC);
    drop((visible, hidden));
    check_eq!(device.lmem()?.cpu_visible_used, start.cpu_visible_used);
    Ok(())
}

fn what_need_not_be_visible_spares_the_aperture(_: &Context) -> Outcome {
    let device = small_aperture()?;
    let lmem = device.lmem()?;
    let hidden_size = lmem.total - lmem.cpu_visible;
    let _hidden = exhaust_bytes(&device, hidden_size)?;
    let after = device.lmem()?;
    check_eq!(after.cpu_visible_used, lmem.cpu_visible_used);
    let visible = Place::Visible.create(&device, after.cpu_visible / 2)?;
    check_eq!(visible.map()?.len() as u64, visible.size());
    Ok(())
}

fn exhaust_bytes(device: &Device, bytes: u64) -> Outcome<Vec<Buffer>> {
    let step = 4 * MIB;
    (0..bytes / step)
        .map(|_| Ok(Place::Lmem.create(device, step)?))
        .collect()
}

fn memory_outside_the_aperture(context: &Context) -> Outcome {
    let device = small_aperture()?;
    let hidden = Place::Lmem.create(&device, 8 * MIB)?;
    check_errno!(hidden.map(), NXIO);
    let bytes = cards::randomize(&hidden, &mut Random::new(context.seed))?;
    check_eq!(hidden.crc32c(0, hidden.size())?, hlrs::crc32c(0, &bytes));
    cards::compare(
        "hidden memory",
        &cards::read(&hidden, 0, hidden.size())?,
        &bytes,
    )
}

fn a_full_aperture_is_explained(_: &Context) -> Outcome {
    let device = small_aperture()?;
    let _debug = DebugLog::on()?;
    let mut log = Log::from_now()?;
    let full = exhaust(&device, Place::Visible, 4 * MIB)?;
    let lmem = device.lmem()?;
    let (visible, total) = (lmem.cpu_visible, lmem.total);
    check!(
        lmem.used == lmem.cpu_visible_used && full.len() as u64 == visible / (4 * MIB),
        "{} buffers, {} bytes used",
        full.len(),
        lmem.used
    );
    says(
        &mut log,
        &format!(
            "no room for {} bytes in the aperture ({visible} of {visible} bytes used), \
             LMEM has {} of {total} free",
            4 * MIB,
            total - visible
        ),
    )?;
    // What never fits into it, but would into LMEM.
    let size = visible + MIB;
    check_errno!(Place::Visible.create(&device, size), TOOBIG);
    says(
        &mut log,
        &format!("{size} bytes do not fit into the aperture of {visible} bytes, LMEM has {total}"),
    )?;
    drop(full);
    Place::Lmem.create(&device, size)?;
    // And what does not fit into that either.
    check_errno!(Place::Lmem.create(&device, total + MIB), TOOBIG);
    says(
        &mut log,
        &format!("no {} bytes of LMEM, {total} of {total} free", total + MIB),
    )
}

/// The driver has said this, once, in the log that is looked at.
fn says(log: &mut Log, text: &str) -> Outcome {
    let lines = log.lines();
    let said = lines
        .iter()
        .filter(|line| line.contains("hlrs") && line.contains(text));
    check!(
        said.count() == 1,
        "the log does not say {text:?} once:\n{}",
        lines.concat()
    );
    Ok(())
}
