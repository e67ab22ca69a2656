// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a job costs, from the ioctl to the return of the wait for its fence,
//! against a driver of the same device that does the least.

use std::fs::File;
use std::io;

use hlrs_sys as sys;

use crate::binding::Binding;
use crate::call::{BenchSubmit, Call, HardwareCommand};
use crate::line;
use crate::measure::{alone, batch};
use crate::node::{open_node, Node};
use crate::vm::{create_vm, map};

/// Where the job writes to.
const VA: u64 = 1 << 30;
const PAGE_SIZE: u64 = 4096;

/// A job with the smallest command there is for it, against one that does nothing.
pub fn fence() -> io::Result<String> {
    let peer_node = open_node("hlrs-bench-peer")?;
    let node = open_node("hlrs")?;
    let function = node.function()?;
    let address = node.address()?;

    peer_node.hurry(address)?;
    let ours = cost_of_ours(&node)?;
    drop(node);

    let _binding = Binding::new(&function, "hlrs-bench-submit")?;
    let node = open_node("hlrs-bench-submit")?;
    peer_node.hurry(address)?;
    let peer = cost_of_peer(&node)?;
    drop(node);

    Ok(line(ours, peer, "drm_sched_in_C", "instructions"))
}

fn cost_of_ours(node: &Node) -> io::Result<f64> {
    let vm = create_vm(node)?;
    let handle = node.create(PAGE_SIZE, 0)?;
    map(node, vm, &[(handle, 0, PAGE_SIZE, VA)])?;

    let mut queue = sys::drm_hlrs_queue_create {
        vm_id: vm,
        engine_class: sys::DRM_HLRS_ENGINE_CLASS_COPY,
        ..Default::default()
    };
    queue.call(&node.file)?;

    let command = sys::drm_hlrs_command {
        op: sys::DRM_HLRS_COMMAND_FENCE,
        dst: VA,
        ..Default::default()
    };
    let sync = sys::drm_hlrs_sync {
        handle: create_syncobj(&node.file)?,
        flags: sys::DRM_HLRS_SYNC_SIGNAL,
        ..Default::default()
    };
    alone(|| {
        batch(&mut || {
            sys::drm_hlrs_queue_submit {
                queue_id: queue.queue_id,
                commands: &raw const command as u64,
                num_commands: 1,
                syncs: &raw const sync as u64,
                num_syncs: 1,
                ..Default::default()
            }
            .call(&node.file)?;
            wait(&node.file, sync.handle)
        })
    })
}

fn cost_of_peer(node: &Node) -> io::Result<f64> {
    let command = HardwareCommand::default();
    let syncobj = create_syncobj(&node.file)?;

    alone(|| {
        batch(&mut || {
            BenchSubmit {
                commands: &raw const command as u64,
                num_commands: 1,
                syncobj,
            }
            .call(&node.file)?;
            wait(&node.file, syncobj)
        })
    })
}

fn create_syncobj(file: &File) -> io::Result<u32> {
    let mut create = sys::drm_syncobj_create {
        handle: 0,
        flags: 0,
    };
    create.call(file)?;
    Ok(create.handle)
}

fn wait(file: &File, syncobj: u32) -> io::Result<()> {
    let point = 0u64;

    sys::drm_syncobj_timeline_wait {
        handles: &raw const syncobj as u64,
        points: &raw const point as u64,
        timeout_nsec: i64::MAX,
        count_handles: 1,
        ..Default::default()
    }
    .call(file)
}
