// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory is taken back from importers of every kind.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::RwLock;
use std::time::Instant;

use hlrs::Buffer;
use hlrs::DmaBuf;
use hlrs::Errno;

use super::Pair;
use super::BOUND;
use super::TICK;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::suites::reset::reset;
use crate::system::cards;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::importer::Attachment;
use crate::system::importer::Kind;
use crate::system::random::Random;
use crate::system::MIB;

const SIZE: u64 = 256 << 10;

/// A buffer with an importer.
struct Import<'a> {
    kind: Kind,
    buffer: Buffer,
    dmabuf: DmaBuf,
    importer: Attachment<'a>,
}

/// One buffer for each kind, mapped.
fn imports(pair: &Pair) -> Outcome<Vec<Import<'_>>> {
    let import = |kind| {
        let (buffer, dmabuf) = pair.shared(SIZE)?;
        let importer = pair.importers.map(&dmabuf, &pair.importer.address, kind)?;
        Ok(Import {
            kind,
            buffer,
            dmabuf,
            importer,
        })
    };
    Kind::REVOCABLE.into_iter().map(import).collect()
}

/// It was told, and did what its kind does. Whoever told it has waited.
fn was_invalidated(import: &Import<'_>) -> Outcome {
    let (kind, state) = (import.kind, import.importer.state()?);
    check!(state.invalidations > 0, "{kind:?} was not told: {state:?}");
    if kind == Kind::NeverUnmap {
        check!(state.mapped && state.stale, "{kind:?}: {state:?}");
        return Ok(());
    }
    check!(
        !state.mapped && !state.pinned,
        "{kind:?} was not waited for: {state:?}"
    );
    let after = state.unmapped_after.unwrap_or_default();
    check!(!after.is_zero(), "{kind:?}: {state:?}");
    if let Kind::UnmapLate(delay) = kind {
        check!(after + TICK >= delay, "{kind:?} unmapped after {after:?}");
    }
    Ok(())
}

/// Debugfs says of it that it has something that it should not have any more.
fn is_told_of(pair: &Pair, import: &Import<'_>) -> Outcome {
    let exports = pair.exporter.exports().unwrap_or_default();
    let quarantined: Vec<_> = exports
        .iter()
        .filter(|export| export.state == "quarantined")
        .collect();
    check!(
        quarantined.len() == 1 && quarantined[0].importers.iter().any(|user| user.stale),
        "after a reset, with {:?}: {exports:?}",
        import.kind
    );
    Ok(())
}

pub fn reset_invalidates_every_kind(context: &Context) -> Outcome {
    let pair = Pair::new()?;
    let mut random = Random::new(context.seed);
    let imports = imports(&pair)?;
    let contents = imports
        .iter()
        .map(|import| cards::randomize(&import.buffer, &mut random))
        .collect::<Outcome<Vec<_>>>()?;
    let start = Instant::now();
    reset(&pair.exporter.address)?;
    let took = start.elapsed();
    check!(took < BOUND, "the reset took {took:?}");
    for import in &imports {
        was_invalidated(import)?;
    }

    for (import, bytes) in imports.iter().zip(&contents) {
        let kind = import.kind;
        check_eq!(
            import.buffer.crc32c(0, SIZE)?,
            hlrs::crc32c(0, bytes),
            "{kind:?}: the content after the reset"
        );
        if kind == Kind::NeverUnmap {
            is_told_of(&pair, import)?;
            // The mapping that it should not have any more.
            if import.importer.reads()? {
                let seen = import.importer.read(0, SIZE).map_err(Stop::failed)?;
                cards::compare("through a stale mapping", &seen, bytes)?;
            }
            check_errno!(import.importer.map(), BUSY, "mapping over a stale mapping");
            import.importer.unmap().map_err(Stop::failed)?;
        }
        // A reset takes nothing away for good.
        import.importer.map().map_err(Stop::failed)?;
        if import.importer.reads()? {
            let seen = import.importer.read(0, SIZE).map_err(Stop::failed)?;
            cards::compare(&format!("{kind:?}, mapped anew"), &seen, bytes)?;
        }
    }
    Ok(())
}

pub fn unbind_revokes_every_kind(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let imports = imports(&pair)?;
    // One that has attached and not mapped, and two that share a buffer.
    let (_buffer, dmabuf) = pair.shared(SIZE)?;
    let idle = pair
        .importers
        .attach(&dmabuf, &pair.importer.address, Kind::Dynamic)?
        .map_err(Stop::failed)?;
    let second = pair
        .importers
        .map(&imports[0].dmabuf, &pair.importer.address, Kind::Pin)?;

    let bound = Unbound(&pair.exporter.address);
    let start = Instant::now();
    driver::unbind(&pair.exporter.address)?;
    let took = start.elapsed();
    check!(took < BOUND, "unbinding took {took:?}");
    for import in &imports {
        was_invalidated(import)?;
    }
    let state = second.state()?;
    check!(
        !state.mapped && state.invalidations > 0,
        "the second importer of a buffer: {state:?}"
    );

    let dead = |when: &str| -> Outcome {
        for import in &imports {
            let kind = import.kind;
            if import.importer.state()?.mapped {
                check_errno!(import.importer.map(), BUSY, "{kind:?} {when}");
                // It may be late, but it must not make the kernel fall over.
                import.importer.unmap().map_err(Stop::failed)?;
            }
            check_errno!(import.importer.map(), NODEV, "{kind:?} {when}");
            let new = pair
                .importers
                .attach(&import.dmabuf, &pair.importer.address, kind)?;
            check_errno!(new, NODEV, "a new importer, {kind:?} {when}");
        }
        check_errno!(idle.map(), NODEV, "never mapped, {when}");
        check_errno!(second.map(), NODEV, "the second, {when}");
        Ok(())
    };
    dead("without the driver")?;
    drop(bound);
    driver::wait_node(&pair.exporter.address)?;
    dead("with the driver bound again")
}

/// What the threads of [`resets_while_importers_work`] share.
#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    /// Held shared while reading, as a function that is being reset does not
    /// decode its BAR. Mapping and unmapping meet the reset.
    reset: RwLock<()>,
    /// Odd while a reset runs.
    resets: AtomicU32,
}

const CONTENT: [u8; 8] = 0x77u64.to_le_bytes();

/// Maps, reads and unmaps until it is told to stop. Returns how often.
fn work(importer: &Attachment<'_>, kind: Kind, progress: &Progress) -> Outcome<u32> {
    let mut rounds = 0;
    while !progress.stop.load(Ordering::Relaxed) {
        let before = progress.resets.load(Ordering::SeqCst);
        match importer.map() {
            // Invalidated, and not unmapped yet.
            Ok(_) | Err(Errno::BUSY) => {}
            // Refused as long as the reset lasts.
            Err(Errno::NODEV) => {
                let quiet = before % 2 == 0 && progress.resets.load(Ordering::SeqCst) == before;
                check!(!quiet, "{kind:?} cannot map although there is no reset");
            }
            Err(errno) => return Err(Stop::failed(format!("{kind:?} cannot map: {errno}"))),
        }
        let between_resets = progress.reset.read();
        match importer.read(0, 4096) {
            Ok(bytes) => {
                let wrong = bytes.chunks(8).find(|part| *part != CONTENT);
                check!(wrong.is_none(), "{kind:?} reads {wrong:x?}");
            }
            // Unmapped since; or nothing to be seen here.
            Err(Errno::NOTCONN | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(Stop::failed(format!("{kind:?} cannot read: {errno}"))),
        }
        drop(between_resets);
        match importer.unmap() {
            Ok(()) | Err(Errno::NOTCONN) => rounds += 1,
            Err(errno) => return Err(Stop::failed(format!("{kind:?} cannot unmap: {errno}"))),
        }
    }
    Ok(rounds)
}

/// All on one buffer, and resets in between.
pub fn resets_while_importers_work(context: &Context) -> Outcome {
    let pair = Pair::new()?;
    let (buffer, dmabuf) = pair.shared(MIB)?;
    buffer.fill(0, MIB, u64::from_le_bytes(CONTENT))?;
    let progress = Progress::default();
    let importers = Kind::REVOCABLE
        .into_iter()
        .map(|kind| {
            let importer = pair
                .importers
                .attach(&dmabuf, &pair.importer.address, kind)?;
            Ok((kind, importer.map_err(Stop::failed)?))
        })
        .collect::<Outcome<Vec<_>>>()?;
    std::thread::scope(|scope| -> Outcome {
        let threads: Vec<_> = importers
            .iter()
            .map(|(kind, importer)| scope.spawn(|| work(importer, *kind, &progress)))
            .collect();
        let mut result = Ok(());
        for _ in context.each(3, 100) {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let nobody_reads = progress.reset.write();
            progress.resets.fetch_add(1, Ordering::SeqCst);
            result = reset(&pair.exporter.address);
            progress.resets.fetch_add(1, Ordering::SeqCst);
            drop(nobody_reads);
            if result.is_err() {
                break;
            }
        }
        progress.stop.store(true, Ordering::Relaxed);
        for thread in threads {
            let rounds = thread
                .join()
                .map_err(|_| Stop::failed("a working thread panicked"))??;
            check!(rounds > 0, "a thread did nothing");
        }
        result
    })?;
    for (kind, importer) in &importers {
        check!(
            importer.state()?.invalidations > 0,
            "{kind:?} was never told"
        );
    }
    cards::holds_pattern("the buffer", &buffer, u64::from_le_bytes(CONTENT))
}
