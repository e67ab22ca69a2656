// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every ioctl, with each of its allocations failing once.

use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

use hlrs::Access;
use hlrs::Buffer;
use hlrs::Errno;
use hlrs::Node;
use hlrs_sys as sys;

use super::inject::Injected;
use super::inject::Injection;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::raw;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::importer::Importers;
use crate::system::importer::Kind;
use crate::system::random::Random;
use crate::system::strays::Known;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        queries: 180,
        creation: 300,
        mapping: 180,
        operations: 300,
        export_and_import: 300,
        ranges_and_importers: 300,
        owning: 180,
        opening: 180,
    ]
}

/// No call allocates more often than this.
const MOST: u64 = 3000;

/// What a failed allocation, or a failed copy from or to user memory, may be
/// reported as.
const REASONS: [Errno; 4] = [Errno::NOMEM, Errno::FAULT, Errno::NOSPC, Errno::AGAIN];

/// Makes each allocation of a call fail in turn, until it has no more.
pub fn each(what: &str, injection: &Injection, call: &mut dyn FnMut() -> raw::Result) -> Outcome {
    each_of(
        what,
        injection,
        &mut || Ok(()),
        &mut |()| call(),
        &mut |()| Ok(()),
    )
}

/// As [`each`], for what can be done only once with a thing: `prepare` makes it,
/// `check` looks at what has become of it. Nothing fails in these two.
pub fn each_of<T>(
    what: &str,
    injection: &Injection,
    prepare: &mut dyn FnMut() -> Outcome<T>,
    call: &mut dyn FnMut(&T) -> raw::Result,
    check: &mut dyn FnMut(T) -> Outcome,
) -> Outcome {
    let mut refused = 0;
    for n in 1..MOST {
        let thing = prepare()?;
        let (result, injected) = injection.run(n, || call(&thing))?;
        check(thing).map_err(|stop| stop.during(format!("{what}, failure {n}, {result:?}")))?;
        match (result, injected) {
            (Ok(()), Injected::No(_)) => {
                println!("{what}: {} failures, {refused} reported", n - 1);
                return Ok(());
            }
            // An allocation that has a substitute may fail unnoticed.
            (Ok(()), Injected::Yes) => {}
            (Err(errno), injected) => {
                check!(
                    injected == Injected::Yes && REASONS.contains(&errno),
                    "{what}: {errno} with failure {n}, {injected:?}"
                );
                refused += 1;
            }
        }
    }
    check!(false, "{what} never succeeds");
    Ok(())
}

fn queries(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let device = cards::first()?;
    for query in 0..3 {
        each(&format!("query {query}"), &injection, &mut || {
            let mut answer = [0; 256];
            let mut arg = sys::drm_hlrs_device_query {
                query,
                size: 2048,
                ..Default::default()
            };
            raw::query(&device, &mut arg, &mut answer)
        })?;
    }
    Ok(())
}

fn creation(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let device = cards::first()?;
    let used = cards::used(&device)?;
    let lmem = device.lmem()?.instance;
    for region in device.regions()? {
        let flags: &[u32] = match region.instance == lmem {
            true => &[
                0,
                sys::DRM_HLRS_MEM_CPU_VISIBLE,
                sys::DRM_HLRS_MEM_CONTIGUOUS,
            ],
            false => &[0],
        };
        for &flags in flags {
            let what = format!("create in region {} with flags {flags}", region.instance);
            // A file of its own each time: the failure to copy the result out
            // leaves a handle that nobody knows.
            let own = cards::first()?;
            each(&what, &injection, &mut || {
                let mut arg = sys::drm_hlrs_mem_create {
                    size: 65536,
                    region: region.instance,
                    flags,
                    ..Default::default()
                };
                raw::create(&own, &mut arg)?;
                raw::close(
                    &own,
                    &mut sys::drm_gem_close {
                        handle: arg.handle,
                        pad: 0,
                    },
                )
            })?;
        }
    }
    cards::settles(&device, used)
}

fn mapping(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let device = cards::first()?;
    for place in [Place::System, Place::Visible] {
        let buffer = place.create(&device, 65536)?;
        buffer.fill(0, 65536, 0x77)?;
        each(&format!("offset in {place:?}"), &injection, &mut || {
            let handle = buffer.handle();
            let mut arg = sys::drm_hlrs_mem_mmap_offset {
                handle,
                ..Default::default()
            };
            raw::mmap_offset(&device, &mut arg)
        })?;
        each(&format!("mmap of {place:?}"), &injection, &mut || {
            buffer
                .map()
                .map(drop)
                .map_err(|err| err.errno().unwrap_or(Errno::IO))
        })?;
        check_eq!(
            buffer.map()?.to_vec(4096, 8)?,
            0x77u64.to_le_bytes(),
            "{place:?}"
        );
    }
    Ok(())
}

fn operations(context: &Context) -> Outcome {
    let injection = Injection::new()?;
    let device = cards::first()?;
    let source = Place::Lmem.create(&device, MIB)?;
    let bytes = cards::randomize(&source, &mut Random::new(context.seed))?;
    let target = Place::System.create(&device, MIB)?;
    for flags in [0, sys::DRM_HLRS_MEM_OP_ASYNC] {
        each(&format!("copy with flags {flags}"), &injection, &mut || {
            let mut arg = sys::drm_hlrs_mem_copy {
                src_handle: source.handle(),
                dst_handle: target.handle(),
                size: MIB,
                flags,
                ..Default::default()
            };
            raw::copy(&device, &mut arg)
        })?;
        let found = cards::read(&target, 0, MIB)?;
        cards::compare("after the copies", &found, &bytes)?;
        each(&format!("fill with flags {flags}"), &injection, &mut || {
            let mut arg = sys::drm_hlrs_mem_fill {
                handle: target.handle(),
                size: MIB,
                pattern: 0x33,
                flags,
                ..Default::default()
            };
            raw::fill(&device, &mut arg)
        })?;
        cards::holds_pattern("after the fills", &target, 0x33)?;
    }
    let expected = hlrs::crc32c(0, &bytes);
    let mut crc = 0;
    each("checksum", &injection, &mut || {
        let handle = source.handle();
        let mut arg = sys::drm_hlrs_mem_crc32c {
            handle,
            size: MIB,
            ..Default::default()
        };
        raw::crc32c(&device, &mut arg)?;
        crc = arg.crc;
        Ok(())
    })?;
    check_eq!(crc, expected, "CRC32C in the end");
    each("wait", &injection, &mut || {
        let handle = target.handle();
        raw::wait(
            &device,
            &mut sys::drm_hlrs_mem_wait {
                handle,
                ..Default::default()
            },
        )
    })
}

fn export_and_import(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let (a, b) = cards::two()?;
    let failed = |err: hlrs::Error| err.errno().unwrap_or(Errno::IO);
    // A new buffer each time, because a buffer keeps its dma-buf.
    each("export", &injection, &mut || {
        let buffer = Place::Visible.create(&a, 65536).map_err(failed)?;
        buffer.export().map(drop).map_err(failed)
    })?;
    let buffer = Place::Visible.create(&a, 65536)?;
    buffer.fill(0, 65536, 0x44)?;
    let dmabuf = buffer.export()?;
    each("import", &injection, &mut || {
        let window = b.import(&dmabuf).map_err(failed)?;
        window.crc32c(0, 4096).map(drop).map_err(failed)
    })?;
    cards::holds_pattern("through an import", &b.import(&dmabuf)?, 0x44)?;
    // Handles and descriptors whose numbers could not be copied out stay until
    // this process ends; the harness looks at the memory then.
    Ok(())
}

fn ranges_and_importers(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let nodes = cards::nodes()?;
    check!(nodes.len() > 1, "two accelerators are needed");
    let device = nodes[0].open()?;
    let failed = |err: hlrs::Error| err.errno().unwrap_or(Errno::IO);
    let (known, used) = (Known::now()?, cards::used(&device)?);
    for place in [Place::Visible, Place::System] {
        // What did not arrive of it goes with the file.
        let importers = Importers::open()?;
        let buffer = place.create(&device, 65536)?;
        buffer.fill(0, 65536, 0x66)?;
        each(
            &format!("export of a range of {place:?}"),
            &injection,
            &mut || {
                let export = buffer.dma_buf().range(4096, 8192);
                export.create().map(drop).map_err(failed)
            },
        )?;
        known.close_others()?;
        let what = format!("{place:?} after failed exports");
        check_eq!(device.usage()?.exported, Some(0), "{what}: bytes exported");
        nothing_exported(&nodes[0], &what)?;
        each(&format!("probe of {place:?}"), &injection, &mut || {
            buffer.dma_buf().probe().map(drop).map_err(failed)
        })?;

        let dmabuf = buffer.dma_buf().range(8192, 16384).create()?;
        let attach = || {
            let importer = importers.attach(&dmabuf, &nodes[1].address, Kind::Dynamic);
            importer.unwrap_or(Err(Errno::IO))
        };
        each(&format!("attach to {place:?}"), &injection, &mut || {
            attach()?.detach()
        })?;
        let importer = attach().map_err(Stop::failed)?;
        each(&format!("map of {place:?}"), &injection, &mut || {
            // Both may fail after they have done their work.
            let mapped = importer.map().map(drop);
            let unmapped = importer.unmap();
            if unmapped.is_err() {
                let _ = importer.unmap();
            }
            mapped.and(unmapped)
        })?;
        each(&format!("vmap of {place:?}"), &injection, &mut || {
            // Both may fail before they have done their work.
            let mapped = importer.vmap();
            let unmapped = importer.vunmap();
            if unmapped.is_err() {
                let _ = importer.vunmap();
            }
            mapped.and(unmapped)
        })?;
        each(&format!("mmap of {place:?}"), &injection, &mut || {
            dmabuf.map().map(drop).map_err(failed)
        })?;
        let what = format!("mmap of {place:?} by an importer");
        each(&what, &injection, &mut || {
            importer.mmap(0, 16384, libc::PROT_READ).map(drop)
        })?;
        each(&format!("revoke of {place:?}"), &injection, &mut || {
            buffer.revoke().map_err(failed)?;
            buffer.undo_revoke().map_err(failed)
        })?;
        importer.map().map_err(Stop::failed)?;
        cards::holds_pattern("in the end", &buffer, 0x66)?;

        for_reading(&injection, &importers, &nodes[1], &buffer)?;
        check_eq!(device.usage()?.exported, Some(16384), "{place:?}: exported");
        importer.detach().map_err(Stop::failed)?;
        drop((importers, dmabuf));
        check_eq!(device.usage()?.exported, Some(0), "{place:?}: exported");
        nothing_exported(&nodes[0], &format!("{place:?} in the end"))?;
    }
    cards::settles(&device, used)
}

/// A failure does not make an export one for writing.
fn for_reading(
    injection: &Injection,
    importers: &Importers,
    importer: &Node,
    buffer: &Buffer,
) -> Outcome {
    let dmabuf = buffer.dma_buf().access(Access::Read).create()?;
    let attachment = importers
        .attach(&dmabuf, &importer.address, Kind::Dynamic)?
        .map_err(Stop::failed)?;
    let refused = |errno| match errno {
        // This is how it has to end.
        Errno::ACCESS => Ok(()),
        errno => Err(errno),
    };
    let writes: [(&str, &mut dyn FnMut() -> raw::Result); 3] = [
        ("map for writing", &mut || attachment.map().map(drop)),
        ("vmap for writing", &mut || attachment.vmap()),
        ("mmap for writing", &mut || {
            attachment.mmap(0, 4096, libc::PROT_WRITE).map(drop)
        }),
    ];
    for (what, write) in writes {
        let mut allowed = false;
        each(what, injection, &mut || {
            let result = write();
            allowed |= result.is_ok();
            result.or_else(refused)
        })?;
        check!(!allowed, "{what} of what was exported for reading");
    }
    Ok(())
}

/// Nothing that the device has exported is left.
fn nothing_exported(node: &Node, what: &str) -> Outcome {
    let exports = node.exports().unwrap_or_default();
    check!(exports.is_empty(), "{what}: {exports:?}");
    Ok(())
}

/// The device is given back each time, so that it can be taken again.
fn owning(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let node = cards::first_node()?;
    let device = node.open()?;
    let failed = |err: hlrs::Error| err.errno().unwrap_or(Errno::IO);
    each("own", &injection, &mut || {
        let owned = device.own().map_err(failed);
        // The answer may fail to arrive after all was done.
        let disowned = match device.disown().map_err(failed) {
            Err(Errno::PERM) if owned.is_err() => Ok(()),
            Err(Errno::FAULT) => {
                let _ = device.disown();
                Err(Errno::FAULT)
            }
            result => result,
        };
        owned.and(disowned)
    })?;
    drop(node.open()?);
    device.own()?;
    check!(node.open().is_err(), "the device is not owned");
    Ok(())
}

fn opening(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let path = cards::first_node()?.path;
    let path = std::ffi::CString::new(path.display().to_string()).unwrap_or_default();
    each("open", &injection, &mut || {
        // SAFETY: a string that ends with 0.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        if fd == -1 {
            let err = std::io::Error::last_os_error();
            return Err(Errno::from_io_error(&err).unwrap_or(Errno::IO));
        }
        // SAFETY: just opened, and owned by nobody else; this closes it.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(())
    })
}
