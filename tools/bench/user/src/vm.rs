// SPDX-License-Identifier: MIT OR Apache-2.0
//! What it costs to map memory in a VM, for each page-table entry, and to export
//! a VM.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Instant;

use hlrs_sys as sys;
use rustix::event::{eventfd, EventfdFlags};

use crate::call::Call;
use crate::line;
use crate::map::scattered_buffer;
use crate::measure::{alone, batch_over, in_turn, settle};
use crate::node::{open_node, Node};

/// What is mapped, and by entries of which size.
const SIZE: u64 = 1 << 30;
const PAGE_SIZE: u64 = 4096;
const LEAVES: u64 = SIZE / PAGE_SIZE;

/// Where it is mapped: not aligned as a large page would have to be.
const VA: u64 = (1 << 40) + PAGE_SIZE;

/// The buffers, of which as many mappings as needed make up the size: the memory
/// has room for tables, too, and every second page of it for one in pieces.
const CONTIGUOUS: u64 = 128 << 20;
const SCATTERED: u64 = 64 << 20;

/// Memory for tables: more than enough.
const TABLES: u64 = 8 << 20;

/// Memory of the device that the peer stores to.
const TARGET: u64 = LEAVES * 8;

/// VMs that a file may have, and files that have them: fewer than contexts.
const VMS: usize = 8;
const FILES: usize = 3;

/// One range of memory, so mapped that every page needs an entry.
pub fn bind_1g() -> io::Result<String> {
    bind(CONTIGUOUS, |node| {
        node.create(CONTIGUOUS, sys::DRM_HLRS_MEM_CONTIGUOUS)
    })
}

/// Pages no two of which are neighbours.
pub fn bind_1g_4k() -> io::Result<String> {
    bind(SCATTERED, |node| {
        // Nothing else would be left for tables.
        let room = node.create(TABLES, sys::DRM_HLRS_MEM_CPU_VISIBLE)?;
        let handle = scattered_buffer(node, (SCATTERED / PAGE_SIZE) as usize)?;

        node.close(room)?;
        Ok(handle)
    })
}

/// The bind ioctl, for each entry, against a loop that stores as many.
fn bind(size: u64, buffer: impl Fn(&Node) -> io::Result<u32>) -> io::Result<String> {
    let peer_node = open_node("hlrs-bench-peer")?;
    let node = open_node("hlrs")?;
    let address = node.address()?;

    // At the beginning of the memory, which is in the aperture. The buffer is kept.
    let target = node.create(
        TARGET,
        sys::DRM_HLRS_MEM_CONTIGUOUS | sys::DRM_HLRS_MEM_CPU_VISIBLE,
    )?;
    let offset = node.lmem_offset(&peer_node, target)?;

    let vm = create_vm(&node)?;
    let handle = buffer(&node)?;
    let ranges: Vec<_> = (0..SIZE / size)
        .map(|i| (handle, 0, size, VA + i * size))
        .collect();

    let ours = alone(|| {
        let start = Instant::now();
        map(&node, vm, &ranges)?;
        let cost = start.elapsed().as_nanos() as f64;

        unmap(&node, vm, VA, SIZE)?;
        settle();
        Ok(cost / LEAVES as f64)
    })?;
    let peer = alone(|| Ok(peer_node.store(address, offset, LEAVES)? / LEAVES as f64))?;

    Ok(line(ours, peer, "loop_of_stores", "instructions"))
}

/// The export ioctl, against the system call that makes the simplest file.
pub fn export() -> io::Result<String> {
    let nodes: io::Result<Vec<_>> = (0..FILES).map(|_| open_node("hlrs")).collect();
    let nodes = nodes?;
    let mut vms = Vec::new();

    for node in &nodes {
        for _ in 0..VMS {
            vms.push((node, create_vm(node)?));
        }
    }

    let (ours, peer) = in_turn(
        || batch_over(vms.iter(), &mut |(node, vm)| export_vm(node, *vm)),
        || batch_over(vms.iter(), &mut |_| Ok(eventfd(0, EventfdFlags::CLOEXEC)?)),
    )?;
    Ok(line(ours, peer, "eventfd_create", "instructions"))
}

fn export_vm(node: &Node, vm: u32) -> io::Result<OwnedFd> {
    let mut export = sys::drm_hlrs_vm_export {
        vm_id: vm,
        ..Default::default()
    };

    export.call(&node.file)?;
    // SAFETY: The ioctl has made the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(export.fd) })
}

/// Makes a VM; its number.
pub fn create_vm(node: &Node) -> io::Result<u32> {
    let mut create = sys::drm_hlrs_vm_create::default();

    create.call(&node.file)?;
    Ok(create.vm_id)
}

/// Maps ranges of buffers: handle, offset, size, address.
pub fn map(node: &Node, vm: u32, ranges: &[(u32, u64, u64, u64)]) -> io::Result<()> {
    let ops: Vec<_> = ranges
        .iter()
        .map(|&(handle, offset, range, va)| sys::drm_hlrs_vm_bind_op {
            op: sys::DRM_HLRS_VM_BIND_OP_MAP,
            handle,
            va,
            range,
            offset,
            ..Default::default()
        })
        .collect();

    bind_ops(node, vm, &ops)
}

fn unmap(node: &Node, vm: u32, va: u64, range: u64) -> io::Result<()> {
    bind_ops(
        node,
        vm,
        &[sys::drm_hlrs_vm_bind_op {
            op: sys::DRM_HLRS_VM_BIND_OP_UNMAP,
            va,
            range,
            ..Default::default()
        }],
    )
}

fn bind_ops(node: &Node, vm: u32, ops: &[sys::drm_hlrs_vm_bind_op]) -> io::Result<()> {
    sys::drm_hlrs_vm_bind {
        vm_id: vm,
        ops: ops.as_ptr() as u64,
        num_ops: ops.len() as u32,
        ..Default::default()
    }
    .call(&node.file)
}
