// SPDX-License-Identifier: MIT OR Apache-2.0
//! Microbenchmarks, each against a peer that goes the same way through the
//! kernel. They run in a guest whose clock counts executed instructions, so
//! that a nanosecond is an instruction.
//!
//! Output is a line for each, in the format of tests/benches.

mod call;

use std::fs::{read_dir, read_to_string, File};
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use call::{BenchCreate, Call};
use hlrs_sys as sys;

/// Operations of a batch, and batches. The median batch counts: interrupts of
/// the guest's timer lengthen a few.
const OPERATIONS: u32 = 400;
const BATCHES: usize = 15;

const BUFFER_SIZE: u64 = 2 << 20;

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();

    let result = match name.as_str() {
        "ioctl_empty" => ioctl_empty(),
        "mem_create_close" => mem_create_close(),
        _ => {
            eprintln!("usage: hlrs-bench ioctl_empty|mem_create_close");
            return ExitCode::from(2);
        }
    };

    match result {
        Ok(line) => {
            println!("bench {name} {line}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("hlrs-bench: {name}: {e}");
            ExitCode::FAILURE
        }
    }
}

/// An ioctl that does nothing, against the one that every DRM driver has.
fn ioctl_empty() -> io::Result<String> {
    let node = open_node("hlrs")?;

    let (ours, peer) = measure(
        || {
            let mut query = sys::drm_hlrs_device_query {
                query: sys::DRM_HLRS_DEVICE_QUERY_INFO,
                ..Default::default()
            };
            query.call(&node)
        },
        || call::empty_version().call(&node),
    )?;
    Ok(line(ours, peer, "DRM_IOCTL_VERSION"))
}

/// A buffer of 2 MiB made and closed, against an allocation from the buddy
/// allocator and a GEM object in a driver that has nothing else.
fn mem_create_close() -> io::Result<String> {
    let commands = device_commands()?;
    let node = open_node("hlrs")?;
    let peer_node = open_node("hlrs-bench-peer")?;

    let (ours, peer) = measure(
        || {
            let mut create = sys::drm_hlrs_mem_create {
                size: BUFFER_SIZE,
                region: 1,
                ..Default::default()
            };
            create.call(&node)?;
            close(&node, create.handle)
        },
        || {
            let mut create = BenchCreate {
                size: BUFFER_SIZE,
                ..Default::default()
            };
            create.call(&peer_node)?;
            close(&peer_node, create.handle)
        },
    )?;
    if device_commands()? != commands {
        return Err(io::Error::other("hlrs is not loaded with skip_zeroing=1"));
    }
    Ok(line(ours, peer, "gpu_buddy+drm_gem"))
}

/// Commands that all devices have run so far.
fn device_commands() -> io::Result<u64> {
    let mut sum = 0;

    for entry in read_dir("/sys/kernel/debug")? {
        let path = entry?.path();
        if !path.to_string_lossy().contains("/hlrs-") {
            continue;
        }
        for line in read_to_string(path.join("counters"))?.lines() {
            if let Some(value) = line.strip_prefix("commands ") {
                sum += value.parse().unwrap_or(0);
            }
        }
    }
    Ok(sum)
}

fn close(node: &File, handle: u32) -> io::Result<()> {
    sys::drm_gem_close {
        handle,
        ..Default::default()
    }
    .call(node)
}

fn line(ours: f64, peer: f64, peer_name: &str) -> String {
    format!("ours={ours:.1} peer={peer:.1} peer_name={peer_name} unit=instructions")
}

/// The cost of one operation of each, measured in turn.
fn measure(
    mut ours: impl FnMut() -> io::Result<()>,
    mut peer: impl FnMut() -> io::Result<()>,
) -> io::Result<(f64, f64)> {
    let mut costs = (Vec::new(), Vec::new());

    // The first batch warms up.
    for batch in 0..=BATCHES {
        let pair = (batch_cost(&mut ours)?, batch_cost(&mut peer)?);
        if batch > 0 {
            costs.0.push(pair.0);
            costs.1.push(pair.1);
        }
    }
    Ok((median(costs.0), median(costs.1)))
}

fn batch_cost(operation: &mut impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let start = Instant::now();

    for _ in 0..OPERATIONS {
        operation()?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(OPERATIONS))
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

/// Opens the first accel node of a driver.
fn open_node(driver: &str) -> io::Result<File> {
    for index in 0..64 {
        let Ok(node) = File::options()
            .read(true)
            .write(true)
            .open(format!("/dev/accel/accel{index}"))
        else {
            continue;
        };
        if call::driver_name(&node)? == driver {
            return Ok(node);
        }
    }
    Err(io::Error::other(format!(
        "there is no accel node of {driver}"
    )))
}
