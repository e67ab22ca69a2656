// SPDX-License-Identifier: GPL-2.0

//! `DRM_IOCTL_HLRS_VM_*`: address spaces.

use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

use super::{
    check_flags,
    must_be_zero,
    read_element, //
};
use crate::{
    device::{
        File,
        HlrsDevice, //
    },
    gem::Buffer,
    lmem::PAGE_SIZE,
    sync::Syncs,
    vm::{
        page_table::{
            VaRange,
            VA_END, //
        },
        Bind,
        BindError,
        Operation,
        Vm, //
    },
};

const SHARED: u32 = hlrs_abi::DRM_HLRS_VM_CREATE_SHARED;
const READONLY: u32 = hlrs_abi::DRM_HLRS_VM_BIND_READONLY;
const NULL: u32 = hlrs_abi::DRM_HLRS_VM_BIND_NULL;

/// `failed_op` when no operation is to blame.
const NO_OPERATION: u32 = u32::MAX;

/// `DRM_IOCTL_HLRS_VM_CREATE`.
pub(crate) fn create(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_vm_create,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;
    check_flags(args.flags, SHARED)?;

    let bound = dev.enter().ok_or(ENODEV)?;
    let client = &file.inner().client;
    let shared = args.flags & SHARED != 0;
    let add = || {
        let vms = &file.inner().vms;
        vms.add(|id| Vm::new(&bound, client, id, shared))
    };
    args.vm_id = bound.retry_when_full(add, |e| *e)?;
    Ok(0)
}

/// `DRM_IOCTL_HLRS_VM_DESTROY`.
pub(crate) fn destroy(
    _dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_vm_destroy,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[u64::from(args.pad), args.reserved[0], args.reserved[1]])?;

    let vm = file
        .inner()
        .vms
        .remove(args.vm_id, |vm| vm.begin_destroy())?;
    vm.close();
    drop(vm);
    // What its jobs have held is free when the call returns.
    file.inner().client.settle();
    Ok(0)
}

/// `DRM_IOCTL_HLRS_VM_BIND`.
pub(crate) fn bind(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_vm_bind,
    file: &File,
) -> Result<u32> {
    args.failed_op = NO_OPERATION;
    must_be_zero(&[
        args.extensions,
        u64::from(args.pad),
        args.reserved[0],
        args.reserved[1],
    ])?;
    check_flags(args.flags, 0)?;

    bind_all(dev, args, file).map_err(|e| {
        // CAST: Less than `DRM_HLRS_MAX_BIND_OPS`.
        args.failed_op = e.index.map_or(NO_OPERATION, |index| index as u32);
        e.error
    })?;
    Ok(0)
}

fn bind_all(
    dev: &HlrsDevice,
    args: &hlrs_abi::drm_hlrs_vm_bind,
    file: &File,
) -> Result<(), BindError> {
    let vm = file.inner().vms.get(args.vm_id)?;
    if args.num_ops == 0 {
        return Err(EINVAL.into());
    }
    if args.num_ops > hlrs_abi::DRM_HLRS_MAX_BIND_OPS {
        return Err(E2BIG.into());
    }
    let syncs = Syncs::read(file, args.syncs, args.num_syncs)?;

    // CAST: An address of user space; at most 4096 elements.
    let count = args.num_ops as usize;
    let len = count * size_of::<hlrs_abi::drm_hlrs_vm_bind_op>();
    let mut reader = UserSlice::new(UserPtr::from_addr(args.ops as usize), len).reader();
    let mut binds = KVVec::with_capacity(count, GFP_KERNEL)?;
    for index in 0..count {
        let op: hlrs_abi::drm_hlrs_vm_bind_op = read_element(&mut reader)?;
        let bind = operation(file, &op).map_err(|error| BindError {
            error,
            index: Some(index),
        })?;

        binds.push(bind, GFP_KERNEL)?;
    }

    let bound = dev.enter().ok_or(ENODEV)?;
    vm.bind(&bound, &binds, syncs)
}

/// Checks an operation, and looks its buffer up.
fn operation(file: &File, op: &hlrs_abi::drm_hlrs_vm_bind_op) -> Result<Bind> {
    must_be_zero(&[u64::from(op.pad), op.reserved[0], op.reserved[1]])?;

    let null = op.flags & NULL != 0;
    let (known, has_buffer) = match op.op {
        hlrs_abi::DRM_HLRS_VM_BIND_OP_MAP => (READONLY | NULL, !null),
        hlrs_abi::DRM_HLRS_VM_BIND_OP_UNMAP => (0, false),
        _ => return Err(EINVAL),
    };
    check_flags(op.flags, known)?;
    if !has_buffer {
        must_be_zero(&[u64::from(op.handle), op.offset])?;
    }

    if op.range == 0 || (op.va | op.range | op.offset) % PAGE_SIZE != 0 {
        return Err(EINVAL);
    }
    let end = op.va.checked_add(op.range).ok_or(EOVERFLOW)?;
    if end > VA_END {
        return Err(EADDRNOTAVAIL);
    }

    let writable = op.flags & READONLY == 0;
    Ok(Bind {
        range: VaRange::new(op.va, op.range)?,
        operation: if has_buffer {
            let buffer_end = op.offset.checked_add(op.range).ok_or(EOVERFLOW)?;
            let buffer = Buffer::lookup(file, op.handle)?;

            if buffer_end > buffer.size() as u64 {
                return Err(ERANGE);
            }
            Operation::Map {
                buffer,
                offset: op.offset,
                writable,
            }
        } else if null {
            Operation::MapNull { writable }
        } else {
            Operation::Unmap
        },
    })
}

/// `DRM_IOCTL_HLRS_VM_QUERY`.
pub(crate) fn query(
    _dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_vm_query,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;

    let vm = file.inner().vms.get(args.vm_id)?;
    args.state = vm.state();
    args.fault = hlrs_abi::drm_hlrs_fault::default();
    if let Some(ban) = vm.why_banned() {
        args.state |= hlrs_abi::DRM_HLRS_VM_BANNED;
        args.fault.va = ban.va;
        args.fault.reason = ban.cause.code();
        args.fault.flags = if ban.write {
            hlrs_abi::DRM_HLRS_FAULT_WRITE
        } else {
            0
        };
        args.fault.queue_id = ban.queue_id;
    }
    args.mapped = vm.mapped_bytes();
    args.page_tables = vm.table_bytes();
    Ok(0)
}

/// `DRM_IOCTL_HLRS_VM_EXPORT`.
pub(crate) fn export(
    _dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_vm_export,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[
        u64::from(args.pad),
        u64::from(args.pad1),
        args.reserved[0],
        args.reserved[1],
    ])?;

    // Nothing of the hardware is needed: who registers a VM finds out that it is gone.
    let export = file.inner().vms.get(args.vm_id)?.export()?;
    args.fd = export.fd();
    // DRM copies the result to user space after this: should that fail, the descriptor is there all
    // the same, as with all ioctls of DRM that make one.
    export.install();
    Ok(0)
}
