// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keys of `drm-usage-stats` in fdinfo.

use std::time::Duration;
use std::time::Instant;

use hlrs::Device;
use hlrs::EngineClass;
use hlrs::MemoryUsage;

use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::timing::Slow;
use crate::system::wait_until;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        identification,
        memory_of_the_device,
        system_memory_is_not_device_memory,
        imported_memory_is_neither,
        a_part_that_came_back,
        shared_memory,
        active_memory: 120,
        busy_time,
    ]
}

fn vram(device: &Device) -> Outcome<MemoryUsage> {
    let usage = device.usage()?;
    check!(
        usage.memory.contains_key("vram0"),
        "no region vram0: {:?}",
        usage.memory
    );
    Ok(usage.memory["vram0"])
}

fn identification(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (one, two) = (node.open()?, node.open()?);
    let (a, b) = (one.usage()?, two.usage()?);
    check_eq!(a.driver, "hlrs");
    check_eq!(a.pci_address, Some(node.address.clone()));
    check!(a.client_id.is_some(), "no drm-client-id");
    check!(
        a.client_id != b.client_id,
        "two files have the same drm-client-id"
    );
    let copy = one
        .engines()?
        .into_iter()
        .find(|e| e.class == EngineClass::Copy);
    let capacity = a.engine_capacity.get("copy").copied();
    check_eq!(
        capacity,
        copy.map(|e| u64::from(e.capacity)),
        "capacity of the engine copy"
    );
    // What the NIC does is no work of this file.
    let engines: Vec<_> = a.engine_ns.keys().map(String::as_str).collect();
    check_eq!(engines, ["copy"], "engines with a busy time");
    let regions: Vec<_> = a.memory.keys().map(String::as_str).collect();
    check_eq!(regions, ["imported", "system", "vram0"], "regions");
    Ok(())
}

fn memory_of_the_device(_: &Context) -> Outcome {
    let (device, other) = (cards::first()?, cards::first()?);
    check_eq!(vram(&device)?, MemoryUsage::default(), "a new file");
    let buffers = [
        Place::Lmem.create(&device, 3 * MIB)?,
        Place::Visible.create(&device, MIB)?,
    ];
    let now = vram(&device)?;
    check_eq!((now.total, now.resident), (4 * MIB, 4 * MIB));
    check_eq!(now.shared, 0);
    check_eq!(vram(&other)?, MemoryUsage::default(), "another file");
    drop(buffers);
    check_eq!(
        vram(&device)?,
        MemoryUsage::default(),
        "after all was closed"
    );
    Ok(())
}

fn system_memory_is_not_device_memory(_: &Context) -> Outcome {
    let device = cards::first()?;
    let _lmem = Place::Lmem.create(&device, MIB)?;
    let before = device.usage()?;
    let elsewhere = |usage: &hlrs::Usage| -> u64 {
        let others = usage.memory.iter().filter(|(region, _)| *region != "vram0");
        others.map(|(_, memory)| memory.total).sum()
    };
    check_eq!(
        elsewhere(&before),
        0,
        "other memory of a file that has LMEM only"
    );
    let _system = Place::System.create(&device, 2 * MIB)?;
    let after = device.usage()?;
    check_eq!(elsewhere(&after), 2 * MIB, "system memory");
    check_eq!(after.memory["vram0"], before.memory["vram0"], "vram0");
    Ok(())
}

/// Memory of another device is not memory of this one, and above all not system
/// memory. Nobody tells what it is.
fn imported_memory_is_neither(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    for place in [Place::Visible, Place::System] {
        let (mine, before) = (a.usage()?, b.usage()?);
        let dmabuf = place.create(&a, MIB)?.export()?;
        let window = b.import(&dmabuf)?;
        window.fill(0, MIB, 1)?;
        let after = b.usage()?;
        for region in ["system", "vram0"] {
            check_eq!(
                after.memory[region],
                before.memory[region],
                "{region} after an import of {place:?}"
            );
        }
        let imported = after.memory["imported"];
        check_eq!((imported.total, imported.shared), (MIB, MIB), "{place:?}");
        check_eq!(imported.resident, 0, "{place:?} is here");
        drop((window, dmabuf));
        wait_until("the exporter has nothing left", JOB, || {
            a.usage().is_ok_and(|now| now.memory == mine.memory)
        })?;
        check_eq!(b.usage()?.memory, before.memory, "without the import");
    }
    Ok(())
}

/// A part of a buffer of this very device is what that buffer is.
fn a_part_that_came_back(_: &Context) -> Outcome {
    let (device, other) = (cards::first()?, cards::first()?);
    for (place, region) in [(Place::Visible, "vram0"), (Place::System, "system")] {
        let buffer = place.create(&device, MIB)?;
        buffer.fill(0, MIB, 1)?;
        let before = other.usage()?;
        let dmabuf = buffer.dma_buf().range(65536, 131_072).create()?;
        let part = other.import(&dmabuf)?;
        let mut expected = before.memory.clone();
        expected.insert(
            region.to_owned(),
            MemoryUsage {
                total: 131_072,
                shared: 131_072,
                resident: 131_072,
                ..Default::default()
            },
        );
        check_eq!(other.usage()?.memory, expected, "a part of {place:?}");
        drop(part);
        check_eq!(other.usage()?.memory, before.memory, "without the part");
    }
    Ok(())
}

fn shared_memory(_: &Context) -> Outcome {
    let (a, b) = (cards::first()?, cards::first()?);
    let buffer = Place::Visible.create(&a, MIB)?;
    check_eq!(vram(&a)?.shared, 0, "before sharing");
    let import = b.import(&buffer.export()?)?;
    check_eq!(vram(&a)?.shared, MIB, "the exporter's file");
    check_eq!(vram(&b)?.shared, MIB, "the importer's file");
    check_eq!(vram(&b)?.total, MIB);
    drop(import);
    check_eq!(
        vram(&b)?,
        MemoryUsage::default(),
        "after the import is gone"
    );
    Ok(())
}

fn active_memory(_: &Context) -> Outcome {
    let device = cards::first()?;
    let size = device.lmem()?.total / 4;
    let buffer = Place::Lmem.create(&device, size)?;
    let mut seen = false;
    for _ in 0..20 {
        for n in 0..8 {
            let _job = buffer.fill_async(0, size, n)?;
        }
        let active = vram(&device)?.active;
        check!(
            active == 0 || active == size,
            "{active} of {size} bytes are active"
        );
        seen |= active == size;
        buffer.wait(JOB)?;
        if seen {
            break;
        }
    }
    check!(seen, "a buffer with jobs in flight was never active");
    check_eq!(vram(&device)?.active, 0, "when idle");
    Ok(())
}

fn busy_time(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (device, other) = (node.open()?, node.open()?);
    let copy = |device: &Device| -> Outcome<u64> {
        Ok(device.usage()?.engine_ns.get("copy").copied().unwrap_or(0))
    };
    let idle = copy(&other)?;
    let buffer = Place::Lmem.create(&device, 8 * MIB)?;
    let before = copy(&device)?;
    // So slow that little else counts: 8 ms each.
    let time = Duration::from_micros(1);
    let _slow = Slow::lmem(&node.address, time)?;
    let start = Instant::now();
    let fills = 10;
    for n in 0..fills {
        buffer.fill(0, buffer.size(), n)?;
    }
    let elapsed = start.elapsed();
    // One after the other, and booked before those who wait are told.
    let busy = Duration::from_nanos(copy(&device)? - before);
    let least = time * fills as u32 * (buffer.size() / 1024) as u32;
    check!(
        (least..=elapsed).contains(&busy),
        "busy for {busy:?}, expected at least {least:?} and at most {elapsed:?}"
    );
    check_eq!(copy(&other)?, idle, "busy time of a file that does nothing");
    Ok(())
}
