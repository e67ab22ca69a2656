// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asking who could import, and how much a file may export.

use std::time::Duration;
use std::time::Instant;

use hlrs::Access;
use hlrs::Importers;

use super::PAGE;
use super::PLACES;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::descriptors;
use crate::system::driver;
use crate::system::importer;
use crate::system::importer::Kind;
use crate::system::importer::Usage;
use crate::system::space::Space;
use crate::system::vfs::Vfs;
use crate::system::wait_until;
use crate::system::JOB;
use crate::system::MIB;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        who_may_import,
        functions_of_the_card: 120,
        no_such_function,
        a_probe_leaves_nothing,
        exported_bytes_in_fdinfo,
        other_module_parameters: 120,
    ]
}

/// Memory without pages, for those that can be told to let go.
const LMEM: Importers = Importers {
    revocable: true,
    pinned: false,
    needs_pages: false,
};

const ANYBODY: Importers = Importers {
    revocable: true,
    pinned: true,
    needs_pages: true,
};

fn expected(place: Place) -> Importers {
    match place {
        Place::System => ANYBODY,
        _ => LMEM,
    }
}

/// The answer is what happens then.
fn who_may_import(_: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let devices = [nodes[0].open()?, nodes[1].open()?];
    for (from, to) in [(0, 1), (1, 0)] {
        for place in PLACES {
            let buffer = place.create(&devices[from], MIB)?;
            let export = buffer.dma_buf().range(PAGE, PAGE);
            check_eq!(export.probe()?, expected(place), "{place:?}: anybody");
            let peer = &nodes[to].address;
            let answer = export.probe_peer(peer)?;
            check_eq!(answer, expected(place), "{place:?}: to {peer}");
            let window = devices[to].import(&export.create()?)?;
            check_eq!(window.crc32c(0, PAGE)?, hlrs::crc32c(0, &[0; 4096]));
        }
    }
    Ok(())
}

/// Of one card and of another one.
fn functions_of_the_card(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let nodes = cards::nodes()?;
    let (pf, other) = (nodes[0].open()?, nodes[1].open()?);
    let (vf, vf_device) = (vfs.vf_node(1)?, vfs.open(1)?);
    for (device, peer, target) in [
        (&pf, &vf.address, &vf_device),
        (&vf_device, &nodes[0].address, &pf),
        (&vf_device, &nodes[1].address, &other),
        (&other, &vf.address, &vf_device),
    ] {
        let buffer = Place::Visible.create(device, 4 * PAGE)?;
        buffer.fill(0, 4 * PAGE, 0x99)?;
        let export = buffer.dma_buf().range(PAGE, PAGE);
        let answer = export.probe_peer(peer)?;
        let imported = target.import(&export.create()?);
        check_eq!(
            answer.revocable,
            imported.is_ok(),
            "{peer} may import, and does"
        );
        if let Ok(window) = imported {
            cards::holds_pattern(peer, &window, 0x99)?;
        }
    }
    Ok(())
}

fn no_such_function(_: &Context) -> Outcome {
    let device = cards::first()?;
    for place in PLACES {
        let buffer = place.create(&device, MIB)?;
        for address in ["0000:ff:1f.7", "ffff:00:00.0"] {
            let refused = buffer.dma_buf().probe_peer(address);
            check_errno!(refused, ADDRNOTAVAIL, "{address}");
        }
    }
    Ok(())
}

fn a_probe_leaves_nothing(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    for place in Place::ALL {
        let buffer = place.create(&device, MIB)?;
        let (open, lmem) = (descriptors()?, device.lmem()?);
        for _ in 0..10 {
            buffer.dma_buf().probe()?;
            buffer.dma_buf().probe_peer(&node.address)?;
        }
        check_eq!(descriptors()?, open, "descriptors");
        check_eq!(device.lmem()?, lmem, "memory");
        check_eq!(device.usage()?.exported, Some(0), "bytes exported");
        if let Some(exports) = node.exports() {
            check!(exports.is_empty(), "debugfs shows {exports:?}");
        }
    }
    Ok(())
}

fn exported_bytes_in_fdinfo(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let other = cards::first()?;
    let exported = || Ok::<_, hlrs::Error>(a.usage()?.exported);
    check_eq!(exported()?, Some(0), "a new file");
    let buffer = Place::Visible.create(&a, MIB)?;
    let part = buffer.dma_buf().range(PAGE, 3 * PAGE).create()?;
    check_eq!(exported()?, Some(3 * PAGE), "a part");
    let whole = buffer.dma_buf().create()?;
    check_eq!(exported()?, Some(MIB + 3 * PAGE), "and all of it");
    let prime = buffer.export()?;
    check_eq!(exported()?, Some(2 * MIB + 3 * PAGE), "and by PRIME");
    check_eq!(other.usage()?.exported, Some(0), "another file");
    check_eq!(b.usage()?.exported, Some(0), "the importer's file");

    // An import keeps the dma-buf, not the descriptor.
    let window = b.import(&part)?;
    drop((part, whole));
    let settles = |bytes| {
        wait_until("the bytes exported", REACTION, || {
            exported().is_ok_and(|found| found == Some(bytes))
        })
    };
    settles(MIB + 3 * PAGE)?;
    drop((window, buffer, prime));
    settles(0)
}

/// Both at once, since reloading the module takes longer than all the rest.
fn other_module_parameters(_: &Context) -> Outcome {
    let _loaded = driver::Parameters::load(&[
        "export_limit_mib=4",
        "pinned_importers=own",
        "revoke_timeout_ms=300",
    ])?;
    the_export_limit()?;
    the_time_for_importers()?;
    super::own::pinned_importers()
}

/// Where a test maps buffers.
const BASE: u64 = 1 << 40;

/// Timers of the kernel can be early by the length of a tick.
const TICK: Duration = Duration::from_millis(20);

/// What `revoke_timeout_ms` was set to.
const TIMEOUT: Duration = Duration::from_millis(300);

/// All importers together have it, those on the own device included.
fn the_time_for_importers() -> Outcome {
    let (a, _) = cards::two()?;
    let nodes = cards::nodes()?;
    let importers = importer::Importers::open()?;
    let buffer = Place::Visible.create(&a, MIB)?;
    let exports = (0..8)
        .map(|n| buffer.dma_buf().range(n * PAGE, PAGE).create())
        .collect::<hlrs::Result<Vec<_>>>()?;
    let _users = exports
        .iter()
        .map(|dmabuf| importers.map(dmabuf, &nodes[1].address, Kind::NeverUnmap))
        .collect::<Outcome<Vec<_>>>()?;
    takes_the_time("importers that stay", || {
        check_errno!(buffer.revoke(), TIMEDOUT);
        Ok(())
    })?;

    // Jobs on what has come back to its device are waited for as long, and fault then.
    let slow = Place::Visible.create(&a, MIB)?;
    let slow_dmabuf = slow.dma_buf().create()?;
    let work = importers.map(&slow_dmabuf, &nodes[1].address, Kind::Dynamic)?;
    work.fence(Duration::from_secs(20), Usage::Write)?;
    let event = a.syncobj()?;
    event.import_sync_file(&slow_dmabuf.export_sync_file(Access::Read)?)?;
    let space = Space::new(&a)?;
    let buffer = Place::Visible.create(&a, MIB)?;
    let exports = (0..8)
        .map(|n| buffer.dma_buf().range(n * PAGE, PAGE).create())
        .collect::<hlrs::Result<Vec<_>>>()?;
    for (n, dmabuf) in (0..).zip(&exports) {
        space.vm.map(BASE + n * PAGE, &a.import(dmabuf)?)?;
    }
    let job = space
        .queue
        .job()
        .fill(BASE, PAGE, 1)
        .wait_for(&event)
        .start()?;
    takes_the_time("own jobs", || Ok(buffer.revoke()?))?;
    work.signal().map_err(Stop::failed)?;
    check!(job.wait(JOB).is_err(), "a job on what was taken away");
    Ok(())
}

fn takes_the_time(what: &str, revoke: impl FnOnce() -> Outcome) -> Outcome {
    let start = Instant::now();
    revoke()?;
    let took = start.elapsed();
    check!(
        took + TICK >= TIMEOUT && took < 5 * TIMEOUT,
        "{what}: the revoke took {took:?}"
    );
    Ok(())
}

fn the_export_limit() -> Outcome {
    let (a, b) = cards::two()?;
    let other = cards::first()?;
    for place in PLACES {
        let buffer = place.create(&a, 8 * MIB)?;
        check_errno!(buffer.dma_buf().create(), DQUOT, "{place:?}: 8 MiB");
        check_errno!(buffer.dma_buf().probe(), DQUOT, "{place:?}: 8 MiB");
        check_errno!(buffer.export(), DQUOT, "{place:?}: 8 MiB by PRIME");
        check_eq!(a.usage()?.exported, Some(0), "after refused exports");

        let three = buffer.dma_buf().range(0, 3 * MIB);
        let one = buffer.dma_buf().range(0, MIB);
        let page = buffer.dma_buf().range(7 * MIB, PAGE);
        let (first, second) = (three.create()?, one.create()?);
        check_eq!(a.usage()?.exported, Some(4 * MIB), "{place:?}");
        check_errno!(page.create(), DQUOT, "{place:?}: a page too much");
        check_errno!(page.probe(), DQUOT, "{place:?}: a page too much");
        check_eq!(a.usage()?.exported, Some(4 * MIB), "{place:?}");
        // Each file has its own.
        let theirs = place.create(&other, 4 * MIB)?;
        drop(theirs.dma_buf().create()?);

        // What is released can be exported again; by whom it is held does not
        // matter.
        let window = b.import(&second)?;
        drop(second);
        check_errno!(page.create(), DQUOT, "{place:?}: while it is imported");
        drop(window);
        wait_until("a release", REACTION, || {
            a.usage().is_ok_and(|usage| usage.exported == Some(3 * MIB))
        })?;
        let again = one.create()?;
        check_errno!(page.create(), DQUOT, "{place:?}: after a release");
        drop((first, again));
        wait_until("the release of all", REACTION, || {
            a.usage().is_ok_and(|usage| usage.exported == Some(0))
        })?;
    }
    Ok(())
}
