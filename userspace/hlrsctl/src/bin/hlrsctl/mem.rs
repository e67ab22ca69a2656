// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hlrsctl mem`: a quick test of a device's memory and engines.

use std::time::Duration;
use std::time::Instant;

use hlrs::Buffer;
use hlrs::Device;
use hlrs::Region;
use hlrs::RegionClass;
use hlrsctl::parse_size;
use hlrsctl::Size;

use crate::select;
use crate::Failure;
use crate::Result;

const DEFAULT_SIZE: u64 = 4 << 20;

/// Different in every byte, so that a shift by less than eight bytes shows.
const PATTERN: u64 = 0x0123_4567_89ab_cdef;

pub fn run(name: Option<&str>, size: Option<&str>) -> Result<()> {
    let size = match size {
        None => DEFAULT_SIZE,
        Some(text) => parse_size(text).map_err(Failure::Usage)?,
    };
    if size == 0 || size % 4096 != 0 {
        return Err(Failure::Usage("SIZE must be a multiple of 4096".to_owned()));
    }
    let node = select::node(name)?;
    let device = node.open()?;
    println!("{}, buffers of {}", node.path.display(), Size(size));
    let mut buffers: Vec<(Region, Buffer)> = Vec::new();
    for region in device.regions()? {
        let buffer = new(&device, &region, size)?;
        filled(&region, &buffer)?;
        buffers.push((region, buffer));
    }
    for (from, source) in &buffers {
        for (to, _) in &buffers {
            copied(&device, from, source, to)?;
        }
    }
    println!("all contents are as they should be");
    Ok(())
}

fn new(device: &Device, region: &Region, size: u64) -> Result<Buffer> {
    let builder = device.buffer(size).region(region.instance);
    let builder = match region.class {
        RegionClass::Lmem => builder.cpu_visible(),
        _ => builder,
    };
    let start = Instant::now();
    let buffer = builder.create()?;
    report(
        &format!("create in {:?}", region.class),
        size,
        start.elapsed(),
    );
    let bytes = contents(&buffer)?;
    expect("new memory", &bytes, &vec![0; bytes.len()])?;
    Ok(buffer)
}

fn filled(region: &Region, buffer: &Buffer) -> Result<()> {
    let start = Instant::now();
    buffer.fill(0, buffer.size(), PATTERN)?;
    report(
        &format!("fill {:?}", region.class),
        buffer.size(),
        start.elapsed(),
    );
    let bytes = contents(buffer)?;
    expect(
        "filled memory",
        &bytes,
        &PATTERN.to_le_bytes().repeat(bytes.len() / 8),
    )?;

    let start = Instant::now();
    let crc = buffer.crc32c(0, buffer.size())?;
    report(
        &format!("checksum {:?}", region.class),
        buffer.size(),
        start.elapsed(),
    );
    let expected = hlrs::crc32c(0, &bytes);
    if crc != expected {
        let text = format!("the device's CRC32C is {crc:08x}, the CPU's {expected:08x}");
        return Err(Failure::Failed(text));
    }
    Ok(())
}

fn copied(device: &Device, from: &Region, source: &Buffer, to: &Region) -> Result<()> {
    let builder = device.buffer(source.size()).region(to.instance);
    let target = match to.class {
        RegionClass::Lmem => builder.cpu_visible().create()?,
        _ => builder.create()?,
    };
    let start = Instant::now();
    target.copy_from(0, source, 0, source.size())?;
    let what = format!("copy {:?} to {:?}", from.class, to.class);
    report(&what, source.size(), start.elapsed());
    expect("copied memory", &contents(&target)?, &contents(source)?)
}

fn contents(buffer: &Buffer) -> Result<Vec<u8>> {
    Ok(buffer.map()?.to_vec(0, buffer.size() as usize)?)
}

fn expect(what: &str, got: &[u8], expected: &[u8]) -> Result<()> {
    match got.iter().zip(expected).position(|(a, b)| a != b) {
        None if got.len() == expected.len() => Ok(()),
        None => Err(Failure::Failed(format!("{what} has a wrong length"))),
        Some(n) => Err(Failure::Failed(format!(
            "{what}: byte {n} is {:#04x} instead of {:#04x}",
            got[n], expected[n]
        ))),
    }
}

fn report(what: &str, size: u64, time: Duration) {
    let rate = size as f64 / f64::from(1 << 20) / time.as_secs_f64().max(1e-9);
    println!(
        "  {what:<32} {:>9.3} ms {rate:>10.1} MiB/s",
        time.as_secs_f64() * 1e3
    );
}
