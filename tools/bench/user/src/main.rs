// SPDX-License-Identifier: MIT OR Apache-2.0
//! Microbenchmarks, each against a peer that goes the same way through the
//! kernel. They run in a guest whose clock counts executed instructions, so
//! that a nanosecond is an instruction.
//!
//! Output is a line for each, in the format of tests/benches.

mod binding;
mod call;
mod export;
mod interconnect;
mod map;
mod measure;
mod node;
mod submit;
mod vf;
mod vfio;
mod vm;

use std::io;
use std::process::ExitCode;

use call::{BenchCreate, Call};
use hlrs_sys as sys;
use measure::{batch, in_turn};
use node::{device_commands, open_node};

/// The BAR of the device's memory.
const LMEM_BAR: usize = 2;

const BUFFER_SIZE: u64 = 2 << 20;

type Benchmark = fn() -> io::Result<String>;

const BENCHMARKS: [(&str, Benchmark); 21] = [
    ("ioctl_empty", ioctl_empty),
    ("mem_create_close", mem_create_close),
    ("export_vs_core", export::vs_core),
    ("export_vs_vfio", export::vs_vfio),
    ("export_memory", export::memory),
    ("map_1_vs_vfio", || map::vs_vfio(1)),
    ("map_64_vs_vfio", || map::vs_vfio(64)),
    ("map_4096_vs_vfio", || map::vs_vfio(4096)),
    ("bind_1g", vm::bind_1g),
    ("bind_1g_4k", vm::bind_1g_4k),
    ("vm_export", vm::export),
    ("submit_fence", submit::fence),
    ("ic_map_1_vs_xarray", || interconnect::map_vs_xarray(1)),
    ("ic_map_64_vs_xarray", || interconnect::map_vs_xarray(64)),
    ("ic_map_4096_vs_xarray", || {
        interconnect::map_vs_xarray(4096)
    }),
    ("ic_map_1_vs_sgt", || interconnect::map_vs_scatterlist(1)),
    ("ic_map_64_vs_sgt", || interconnect::map_vs_scatterlist(64)),
    ("ic_map_4096_vs_sgt", || {
        interconnect::map_vs_scatterlist(4096)
    }),
    ("ic_attach", interconnect::attach),
    ("pf_pull_64m", interconnect::pull_time),
    ("pf_pull_64m_bus", interconnect::pull_bus),
];

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some((_, benchmark)) = BENCHMARKS.iter().find(|(known, _)| *known == name) else {
        let names = BENCHMARKS.map(|(known, _)| known).join("|");
        eprintln!("usage: hlrs-bench {names}");
        return ExitCode::from(2);
    };

    match benchmark() {
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
    let node = open_node("hlrs")?.file;

    let (ours, peer) = in_turn(
        || {
            batch(&mut || {
                let mut query = sys::drm_hlrs_device_query {
                    query: sys::DRM_HLRS_DEVICE_QUERY_INFO,
                    ..Default::default()
                };
                query.call(&node)
            })
        },
        || batch(&mut || call::empty_version().call(&node)),
    )?;
    Ok(line(ours, peer, "DRM_IOCTL_VERSION", "instructions"))
}

/// A buffer of 2 MiB made and closed, against an allocation from the buddy
/// allocator and a GEM object in a driver that has nothing else.
fn mem_create_close() -> io::Result<String> {
    let commands = device_commands()?;
    let node = open_node("hlrs")?;
    let peer_node = open_node("hlrs-bench-peer")?;

    let (ours, peer) = in_turn(
        || {
            batch(&mut || {
                let handle = node.create(BUFFER_SIZE, 0)?;
                node.close(handle)
            })
        },
        || {
            batch(&mut || {
                let mut create = BenchCreate {
                    size: BUFFER_SIZE,
                    ..Default::default()
                };
                create.call(&peer_node.file)?;
                peer_node.close(create.handle)
            })
        },
    )?;
    if device_commands()? != commands {
        return Err(io::Error::other("hlrs is not loaded with skip_zeroing=1"));
    }
    Ok(line(ours, peer, "gpu_buddy+drm_gem", "instructions"))
}

fn line(ours: f64, peer: f64, peer_name: &str, unit: &str) -> String {
    format!("ours={ours:.1} peer={peer:.1} peer_name={peer_name} unit={unit}")
}
