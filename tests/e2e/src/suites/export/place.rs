// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exports of memory that lies outside the aperture: it is moved into it. For
//! the machine whose aperture shows only a part of the memory.

use hlrs::Buffer;
use hlrs::Device;
use hlrs::Errno;

use super::part;
use super::random_buffer;
use super::PAGE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::skip;
use crate::suites::faults::each_of;
use crate::suites::faults::Injection;
use crate::suites::mem::exhaust;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::strays::Known;
use crate::system::wait_until;
use crate::system::JOB;
use crate::system::MIB;
use crate::system::REACTION;
use crate::tests;

/// For machines whose aperture shows a part of LMEM.
pub fn aperture_tests() -> Vec<Test> {
    tests![
        hidden_memory_is_moved,
        hidden_memory_is_moved_after_its_jobs,
        a_full_aperture: 120,
        an_aperture_in_pieces: 120,
        moves_that_fail: 300,
        another_export_holds_it_in_place: 120,
    ]
}

/// Two accelerators of which part of the memory is invisible.
fn small_aperture() -> Outcome<(Device, Device)> {
    let (a, b) = cards::two()?;
    let lmem = a.lmem()?;
    if lmem.cpu_visible == lmem.total {
        skip!("the aperture shows all of LMEM; this is for the machine with a small one");
    }
    Ok((a, b))
}

/// The peer sees what is expected.
fn peer_sees(what: &str, peer: &Device, window: &Buffer, expected: &[u8]) -> Outcome {
    let target = Place::Lmem.create(peer, window.size())?;
    target.copy_from(0, window, 0, window.size())?;
    cards::compare(what, &cards::read(&target, 0, window.size())?, expected)
}

fn hidden_memory_is_moved(context: &Context) -> Outcome {
    let (a, b) = small_aperture()?;
    let mut random = Random::new(context.seed);
    for (offset, size) in [(0, 0), (MIB, 3 * PAGE)] {
        let (buffer, bytes) = random_buffer(&a, Place::Lmem, 4 * MIB, &mut random)?;
        let hidden = a.lmem()?;
        check_errno!(buffer.map(), NXIO, "before the export");
        let export = buffer.dma_buf().range(offset, size);

        // A probe does not move it.
        check!(export.probe()?.revocable, "nobody could import it");
        check_eq!(a.lmem()?.cpu_visible_used, hidden.cpu_visible_used);
        check_errno!(buffer.map(), NXIO, "after a probe");

        let dmabuf = export.create()?;
        let moved = a.lmem()?;
        check_eq!(
            moved.cpu_visible_used,
            hidden.cpu_visible_used + buffer.size(),
            "visible memory in use after the export"
        );
        check_eq!(moved.used, hidden.used, "memory in use after the export");
        check_eq!(
            buffer.crc32c(0, buffer.size())?,
            hlrs::crc32c(0, &bytes),
            "checksum by its own device after the move"
        );
        let expected = part(&bytes, offset, dmabuf.size()?);
        peer_sees("moved memory", &b, &b.import(&dmabuf)?, expected)?;
        let map = buffer.map()?;
        cards::compare("moved, by the CPU", &map.to_vec(0, 4096)?, &bytes[..4096])?;

        // It stays there, and what it left is free, and zero for the next.
        drop((map, dmabuf));
        check!(buffer.map().is_ok(), "it was moved back");
        let rest = exhaust(&a, Place::Lmem, 4 * MIB)?;
        for other in &rest {
            cards::holds_pattern("memory handed out after a move", other, 0)?;
        }
    }
    Ok(())
}

fn hidden_memory_is_moved_after_its_jobs(context: &Context) -> Outcome {
    let (a, b) = small_aperture()?;
    let mut random = Random::new(context.seed);
    for _ in context.each(3, 100) {
        let buffer = Place::Lmem.create(&a, 8 * MIB)?;
        let pattern = random.next();
        for n in 0..16 {
            let _job = buffer.fill_async(0, buffer.size(), n)?;
        }
        let _last = buffer.fill_async(0, buffer.size(), pattern)?;
        let window = b.import(&buffer.dma_buf().create()?)?;
        cards::holds_pattern("what the peer sees", &window, pattern)?;
        cards::holds_pattern("after the move", &buffer, pattern)?;
    }
    Ok(())
}

fn a_full_aperture(context: &Context) -> Outcome {
    let (a, b) = small_aperture()?;
    let mut random = Random::new(context.seed);
    let (buffer, bytes) = random_buffer(&a, Place::Lmem, 4 * MIB, &mut random)?;
    let mut full = exhaust(&a, Place::Visible, MIB)?;
    let before = a.lmem()?;
    check_eq!(before.cpu_visible_used, before.cpu_visible, "not full");
    check_errno!(buffer.dma_buf().create(), NXIO);
    check_errno!(buffer.dma_buf().probe(), NXIO);
    check_errno!(buffer.dma_buf().range(0, PAGE).create(), NXIO, "a part");
    check_errno!(buffer.export(), NXIO, "by PRIME");
    check_eq!(a.lmem()?, before, "the memory after refused exports");
    check_eq!(buffer.crc32c(0, 4 * MIB)?, hlrs::crc32c(0, &bytes));
    check_eq!(a.usage()?.exported, Some(0), "bytes exported");

    // All of the buffer has to fit, not only the range.
    full.truncate(full.len() - 2);
    check_errno!(buffer.dma_buf().range(0, PAGE).create(), NXIO);
    full.truncate(full.len() - 2);
    check!(buffer.dma_buf().probe()?.any(), "there is room now");
    let window = b.import(&buffer.dma_buf().create()?)?;
    peer_sees("moved memory", &b, &window, &bytes)
}

/// There is room, but not in one piece: what has to be in one, or in large ones,
/// is not movable, and a probe knows that.
fn an_aperture_in_pieces(_: &Context) -> Outcome {
    let (a, b) = small_aperture()?;
    let hidden = |builder: hlrs::BufferBuilder<'_>| -> Outcome<Buffer> {
        let buffer = builder.create()?;
        buffer.fill(0, buffer.size(), 9)?;
        Ok(buffer)
    };
    let contiguous = hidden(a.buffer(2 * MIB).contiguous())?;
    let large = hidden(a.buffer(2 * MIB).page_size(2 << 20))?;
    let any = hidden(a.buffer(2 * MIB))?;
    let mut full = exhaust(&a, Place::Visible, MIB)?;
    // No two neighbours, wherever they lie.
    let mut keep = false;
    full.retain(|_| {
        keep = !keep;
        keep
    });
    let before = a.lmem()?;
    check!(
        before.cpu_visible - before.cpu_visible_used >= 4 * MIB,
        "{before:?}"
    );
    for buffer in [&contiguous, &large] {
        check_errno!(buffer.dma_buf().probe(), NXIO, "{buffer:?}");
        check_errno!(buffer.dma_buf().create(), NXIO, "{buffer:?}");
    }
    check!(any.dma_buf().probe()?.revocable, "there is room for pieces");
    check_eq!(a.lmem()?, before, "the memory after probes");
    let window = b.import(&any.dma_buf().create()?)?;
    cards::holds_pattern("moved into pieces", &window, 9)
}

/// A buffer of which one MiB lies in the aperture and one outside; returns it
/// with what fills the rest of the memory, and the offsets of the two halves.
fn half_visible(a: &Device) -> Outcome<(Buffer, Vec<Buffer>, u64, u64)> {
    // Pieces of one MiB, so that what is free is not one block.
    let mut all = exhaust(a, Place::Visible, MIB)?;
    let visible = all.len();
    all.extend(exhaust(a, Place::Lmem, MIB)?);
    all.pop();
    all.swap_remove(visible / 2);
    let buffer = Place::Lmem.create(a, 2 * MIB)?;
    let reachable = |offset| buffer.dma_buf().range(offset, MIB).probe().is_ok();
    let (inside, outside) = match (reachable(0), reachable(MIB)) {
        (true, false) => (0, MIB),
        (false, true) => (MIB, 0),
        other => skip!("the halves of the buffer are not where they should be: {other:?}"),
    };
    Ok((buffer, all, inside, outside))
}

/// What an importer may have does not move, also if there is room elsewhere.
fn another_export_holds_it_in_place(context: &Context) -> Outcome {
    let (a, b) = small_aperture()?;
    let (buffer, mut others, inside, outside) = half_visible(&a)?;
    let (window, bytes, crc) = {
        let bytes = Random::new(context.seed).bytes(2 * MIB as usize);
        cards::write(&buffer, 0, &bytes)?;
        let held = buffer.dma_buf().range(inside, MIB).create()?;
        let window = b.import(&held)?;
        let crc = hlrs::crc32c(0, part(&bytes, inside, MIB));
        check_eq!(window.crc32c(0, MIB)?, crc, "the visible half");

        // The CPU cannot reach the other half by any way.
        let map = held.map()?;
        cards::compare(
            "the visible half",
            &map.to_vec(0, 4096)?,
            part(&bytes, inside, PAGE),
        )?;
        check_errno!(buffer.map(), NXIO, "with a hidden half");

        let lmem = a.lmem()?;
        others.retain(|other| other.map().is_err());
        let room = lmem.cpu_visible - a.lmem()?.cpu_visible_used;
        check!(room >= 2 * MIB, "{room} bytes of the aperture are free");
        check_errno!(buffer.dma_buf().range(outside, MIB).create(), NXIO);
        check_errno!(buffer.dma_buf().range(outside, MIB).probe(), NXIO);
        check_errno!(buffer.dma_buf().create(), NXIO, "all of it");
        check_eq!(window.crc32c(0, MIB)?, crc, "after refused exports");
        (window, bytes, crc)
    };

    // As soon as nobody has it any more it can go. The importer's last job keeps
    // it for a moment after its end.
    drop(window);
    buffer.wait(JOB)?;
    wait_until("that it can be moved", REACTION, || {
        buffer.dma_buf().probe().is_ok()
    })?;
    let all = b.import(&buffer.dma_buf().create()?)?;
    check_eq!(all.crc32c(inside, MIB)?, crc, "the half that was visible");
    peer_sees("moved memory", &b, &all, &bytes)
}

/// Also with each allocation failing once: what could not be moved is where it
/// was, and whole.
fn moves_that_fail(_: &Context) -> Outcome {
    let (a, _) = small_aperture()?;
    let injection = Injection::new()?;
    let (used, known) = (cards::used(&a)?, Known::now()?);
    each_of(
        "an export with a move",
        &injection,
        &mut || {
            let buffer = Place::Lmem.create(&a, 16 * PAGE)?;
            buffer.fill(0, buffer.size(), 8)?;
            check!(buffer.map().is_err(), "the buffer need not be moved");
            Ok(buffer)
        },
        &mut |buffer| {
            let failed = |err: hlrs::Error| err.errno().unwrap_or(Errno::IO);
            buffer.dma_buf().create().map(drop).map_err(failed)
        },
        &mut |buffer| {
            known.close_others()?;
            check_eq!(a.usage()?.exported, Some(0), "bytes exported");
            cards::holds_pattern("after an export", &buffer, 8)
        },
    )?;
    cards::settles(&a, used)
}
