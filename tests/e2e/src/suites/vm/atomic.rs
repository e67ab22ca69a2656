// SPDX-License-Identifier: MIT OR Apache-2.0
//! A vector of operations of which one cannot be done: nothing has happened, and
//! the error says which it was.

use hlrs::BindOp;
use hlrs::Buffer;
use hlrs::Errno;
use hlrs_sys as sys;

use super::contiguous;
use super::foreign;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::raw;
use crate::suites::mem::exhaust;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::space::Space;
use crate::system::space::END;
use crate::system::space::LARGE;
use crate::system::space::PAGE;
use crate::system::MIB;
use crate::tests;

use sys::drm_hlrs_vm_bind as Bind;
use sys::drm_hlrs_vm_bind_op as Op;

pub fn tests() -> Vec<Test> {
    tests![
        the_operation_that_cannot_be_done: 120,
        an_exporter_that_has_taken_its_memory_back,
        room_that_jobs_have_just_left,
        no_room_for_page_tables: 120,
    ]
}

const MAP: u32 = sys::DRM_HLRS_VM_BIND_OP_MAP;
const UNMAP: u32 = sys::DRM_HLRS_VM_BIND_OP_UNMAP;
const NULL: u32 = sys::DRM_HLRS_VM_BIND_NULL;

/// What cannot be done, and why.
fn wrong(buffer: &Buffer, reader: &Buffer, writer: &Buffer) -> Vec<(Errno, Op)> {
    let map = Op {
        op: MAP,
        handle: buffer.handle(),
        va: BASE + (1 << 35),
        range: PAGE,
        ..Default::default()
    };
    let unmap = Op {
        op: UNMAP,
        handle: 0,
        ..map
    };
    let null = Op {
        flags: NULL,
        handle: 0,
        ..map
    };
    let large = u64::MAX - PAGE + 1;
    let (handle, size) = (map.handle, buffer.size());
    let mut wrong = Vec::new();
    let mut add = |errno, ops: &[Op]| wrong.extend(ops.iter().map(|op| (errno, *op)));
    for op in [map, unmap, null] {
        let va = |va| Op { va, ..op };
        let range = |range| Op { range, ..op };
        let unaligned = [va(1), va(op.va + 512), range(0), range(1), range(PAGE + 1)];
        add(Errno::INVAL, &unaligned);
        add(Errno::INVAL, &[Op { pad: 1, ..op }]);
        for reserved in [[1, 0], [0, 1 << 63]] {
            add(Errno::INVAL, &[Op { reserved, ..op }]);
        }
        for number in [2, 1 << 31, u32::MAX] {
            add(Errno::INVAL, &[Op { op: number, ..op }]);
        }
        for flags in [1 << 2, 1 << 31, u32::MAX] {
            add(Errno::INVAL, &[Op { flags, ..op }]);
        }
        let beyond = [va(END), va(END + PAGE), va(1 << 63), range(END)];
        add(Errno::ADDRNOTAVAIL, &beyond);
        let last = Op {
            va: END - PAGE,
            range: 2 * PAGE,
            ..op
        };
        add(Errno::ADDRNOTAVAIL, &[last]);
        let wrapping = Op {
            range: 2 * PAGE,
            ..va(large)
        };
        add(Errno::OVERFLOW, &[range(large), wrapping]);
    }
    let offset = |offset| Op { offset, ..map };
    add(Errno::INVAL, &[offset(1), offset(PAGE - 1)]);
    add(Errno::OVERFLOW, &[offset(large)]);
    let longer = Op {
        range: size + PAGE,
        ..map
    };
    add(Errno::RANGE, &[offset(size), offset(1 << 40), longer]);
    for handle in [0, handle + 1000, u32::MAX] {
        add(Errno::NOENT, &[Op { handle, ..map }]);
    }
    // What an operation does not name must be zero.
    for op in [unmap, null] {
        let named = [Op { handle, ..op }, Op { offset: PAGE, ..op }];
        add(Errno::INVAL, &named);
    }
    for flags in [sys::DRM_HLRS_VM_BIND_READONLY, NULL] {
        add(Errno::INVAL, &[Op { flags, ..unmap }]);
    }
    let import = |buffer: &Buffer| Op {
        handle: buffer.handle(),
        ..map
    };
    let mut read = import(writer);
    read.flags = sys::DRM_HLRS_VM_BIND_READONLY;
    add(Errno::ACCESS, &[import(reader), import(writer), read]);
    wrong
}

fn the_operation_that_cannot_be_done(_: &Context) -> Outcome {
    let (device, other) = cards::two()?;
    let space = Space::new(&device)?;
    let buffer = contiguous(&device, LARGE)?;
    buffer.fill(0, LARGE, 0xabc)?;
    space.vm.map(BASE, &buffer)?;
    let exported = Place::Visible.create(&other, MIB)?;
    let import = |access| -> Outcome<Buffer> {
        Ok(device.import(&exported.dma_buf().access(access).create()?)?)
    };
    let (reader, writer) = (import(hlrs::Access::Read)?, import(hlrs::Access::Write)?);

    let before = space.vm.state()?;
    let used = cards::used(&device)?;
    // What would be seen if it had happened: a hole, other memory, more memory.
    let good = [
        BindOp::unmap(BASE + PAGE, PAGE).raw(),
        BindOp::map_null(BASE + 2 * PAGE, PAGE).raw(),
        BindOp::map(BASE + (1 << 36), &buffer).raw(),
        BindOp::map_range(BASE, &buffer, PAGE, PAGE).raw(),
    ];
    for (n, (errno, op)) in wrong(&buffer, &reader, &writer).into_iter().enumerate() {
        let at = n % (good.len() + 1);
        let mut ops = good.to_vec();
        ops.insert(at, op);
        let mut arg = Bind {
            vm_id: space.vm.id(),
            num_ops: ops.len() as u32,
            failed_op: 77,
            ..Default::default()
        };
        let refused = raw::vm_bind(&device, &mut arg, &ops, &[]);
        check!(
            refused == Err(errno),
            "{op:?}: {refused:?}, expected {errno:?}"
        );
        check_eq!(arg.failed_op, at as u32, "the index of {op:?}");
        check_eq!(space.vm.state()?, before, "the VM after {op:?}");
        check_eq!(cards::used(&device)?, used, "LMEM in use after {op:?}");
        if n % 16 == 0 {
            space.holds("what was mapped before", BASE, LARGE, 0xabc)?;
        }
    }
    space.holds("what was mapped before", BASE, LARGE, 0xabc)?;
    // The same without what is wrong.
    let mut arg = Bind {
        vm_id: space.vm.id(),
        num_ops: good.len() as u32,
        ..Default::default()
    };
    check_eq!(raw::vm_bind(&device, &mut arg, &good, &[]), Ok(()));
    check_eq!(arg.failed_op, u32::MAX, "the index after success");
    space.holds("nothing", BASE + 2 * PAGE, PAGE, 0)?;
    space.holds("more", BASE + (1 << 36), LARGE, 0xabc)?;
    space.faults_at(BASE + PAGE, false, hlrs::FaultReason::NotPresent)
}

fn an_exporter_that_has_taken_its_memory_back(_: &Context) -> Outcome {
    let (device, other) = cards::two()?;
    let space = Space::new(&device)?;
    let buffer = Place::Lmem.create(&device, MIB)?;
    let (exported, window) = foreign(&device, &other, Place::Visible, MIB)?;
    exported.fill(0, MIB, 0xbeef)?;
    exported.revoke()?;
    let bind = |vm: &hlrs::Vm| {
        vm.bind()
            .map(BASE, &buffer)
            .map(2 * BASE, &window)
            .map(3 * BASE, &buffer)
            .submit()
    };
    let before = space.vm.state()?;
    let refused = bind(&space.vm);
    check_errno!(refused, NODEV, "what was taken back");
    let index = refused.err().and_then(|err| err.failed_op());
    check_eq!(index, Some(1), "the index");
    check_eq!(space.vm.state()?, before, "the VM");
    exported.undo_revoke()?;
    bind(&space.vm)?;
    space.holds("what was given again", 2 * BASE, MIB, 0xbeef)
}

fn no_room_for_page_tables(_: &Context) -> Outcome {
    let device = cards::first()?;
    let space = Space::new(&device)?;
    let buffer = Place::Lmem.create(&device, PAGE)?;
    buffer.fill(0, PAGE, 0x5a)?;
    space.vm.map(BASE, &buffer)?;
    let mut full = exhaust(&device, Place::Visible, MIB)?;
    full.extend(exhaust(&device, Place::Visible, PAGE)?);
    let before = space.vm.state()?;
    // One page where tables are, one where they are not.
    let bind = |vm: &hlrs::Vm| {
        vm.bind()
            .op(BindOp::unmap(BASE, PAGE))
            .map(BASE + PAGE, &buffer)
            .map(BASE + (1 << 40), &buffer)
            .submit()
    };
    let refused = bind(&space.vm);
    check_errno!(refused, NOSPC);
    check_eq!(space.vm.state()?, before, "the VM");
    space.holds("what was mapped before", BASE, PAGE, 0x5a)?;
    check_errno!(
        device.vm().create(),
        NOSPC,
        "a VM without room for its table"
    );
    full.truncate(full.len() / 2);
    bind(&space.vm)?;
    space.holds("in the end", BASE + (1 << 40), PAGE, 0x5a)?;
    drop(full);
    Ok(())
}

/// A job keeps its buffers for a moment when its fence has signalled. Who has
/// waited for that and freed them finds their memory free.
fn room_that_jobs_have_just_left(context: &Context) -> Outcome {
    let device = cards::first()?;
    let space = Space::new(&device)?;
    let buffer = Place::Lmem.create(&device, PAGE)?;
    let mut full = exhaust(&device, Place::Visible, MIB)?;
    full.extend(exhaust(&device, Place::Visible, PAGE)?);
    let mut leave = |pages: usize| -> Outcome {
        full.extend(exhaust(&device, Place::Visible, PAGE)?);
        for last in full.split_off(full.len() - pages) {
            last.fill(0, PAGE, 0x5a)?;
        }
        Ok(())
    };
    for round in context.each(4, 500) {
        leave(1)?;
        drop(device.vm().create()?);
        leave(8)?;
        // At most a table for each level below the root, at both ends.
        let va = u64::from(1 + round % 64) << 40;
        space.vm.map(va, &buffer)?;
        space.vm.unmap(va, PAGE)?;
    }
    Ok(())
}
