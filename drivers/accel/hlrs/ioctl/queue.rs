// SPDX-License-Identifier: GPL-2.0

//! `DRM_IOCTL_HLRS_QUEUE_*`: queues of jobs.

use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};
use kernel_ext::task;

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
    exec::{
        Queue,
        MAX_COMMANDS, //
    },
    queue::{
        Address,
        Command, //
    },
    sync::Syncs,
    vm::page_table::VA_END, //
};

/// `fault_va` when no address is to blame.
const NO_ADDRESS: u64 = u64::MAX;

/// Alignment of what FENCE writes.
const FENCE_ALIGN: u64 = 16;

/// Bytes that FENCE and CRC32C write.
const FENCE_SIZE: u64 = 16;
const CRC_SIZE: u64 = 8;

/// `DRM_IOCTL_HLRS_QUEUE_CREATE`.
pub(crate) fn create(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_queue_create,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;
    check_flags(args.flags, 0)?;
    if args.engine_class != hlrs_abi::DRM_HLRS_ENGINE_CLASS_COPY {
        return Err(EINVAL);
    }

    let bound = dev.enter().ok_or(ENODEV)?;
    let inner = file.inner();
    let vm = inner.vms.get(args.vm_id)?;
    vm.check_usable()?;
    args.queue_id = inner
        .queues
        .add(|id| Queue::new(&bound, &inner.client, &vm, id))?;
    Ok(0)
}

/// `DRM_IOCTL_HLRS_QUEUE_DESTROY`.
pub(crate) fn destroy(
    _dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_queue_destroy,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[u64::from(args.pad), args.reserved[0], args.reserved[1]])?;

    let queue = file.inner().queues.remove(args.queue_id, |_| Ok(()))?;
    queue.close(false);
    Ok(0)
}

/// `DRM_IOCTL_HLRS_QUEUE_SUBMIT`.
pub(crate) fn submit(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_queue_submit,
    file: &File,
) -> Result<u32> {
    args.fault_va = NO_ADDRESS;
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;
    check_flags(args.flags, 0)?;

    let queue = file.inner().queues.get(args.queue_id)?;
    if args.num_commands == 0 {
        return Err(EINVAL);
    }
    // CAST: At most 64.
    let count = args.num_commands as usize;
    if count > MAX_COMMANDS {
        return Err(E2BIG);
    }

    let len = count * size_of::<hlrs_abi::drm_hlrs_command>();
    // CAST: An address of user space.
    let mut reader = UserSlice::new(UserPtr::from_addr(args.commands as usize), len).reader();
    let mut commands = KVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        commands.push(command(&read_element(&mut reader)?)?, GFP_KERNEL)?;
    }
    let syncs = Syncs::read(file, args.syncs, args.num_syncs)?;

    let _bound = dev.enter().ok_or(ENODEV)?;
    queue
        .submit(file.client_id(), commands, syncs)
        .map_err(|(error, va)| {
            args.fault_va = va.unwrap_or(NO_ADDRESS);
            error
        })?;
    Ok(0)
}

/// Checks a command of user space.
fn command(args: &hlrs_abi::drm_hlrs_command) -> Result<Command> {
    must_be_zero(&[args.reserved])?;
    check_flags(args.flags, 0)?;

    Ok(match args.op {
        hlrs_abi::DRM_HLRS_COMMAND_COPY => {
            must_be_zero(&[args.data])?;
            let size = size(args.size)?;
            Command::copy(address(args.src, size)?, address(args.dst, size)?, size)
        }
        hlrs_abi::DRM_HLRS_COMMAND_FILL => {
            must_be_zero(&[args.src])?;
            let size = size(args.size)?;
            Command::fill(address(args.dst, size)?, size, args.data)
        }
        hlrs_abi::DRM_HLRS_COMMAND_CRC32C => {
            let size = size(args.size)?;
            let initial = u32::try_from(args.data).map_err(|_| EINVAL)?;
            Command::crc32c_to(
                address(args.src, size)?,
                address(args.dst, CRC_SIZE)?,
                size,
                initial,
            )
        }
        hlrs_abi::DRM_HLRS_COMMAND_FENCE => {
            must_be_zero(&[args.src, args.size])?;
            must_be_zero(&[args.dst % FENCE_ALIGN])?;
            Command::user_fence(address(args.dst, FENCE_SIZE)?, args.data)
        }
        hlrs_abi::DRM_HLRS_COMMAND_HANG => {
            must_be_zero(&[args.src, args.dst, args.size, args.data])?;
            if !task::is_capable(task::CAP_SYS_ADMIN) {
                return Err(EPERM);
            }
            Command::hang()
        }
        _ => return Err(EINVAL),
    })
}

/// The size of what a command is about. Fails with `EINVAL`, `E2BIG`.
fn size(size: u64) -> Result<u64> {
    match size {
        0 => Err(EINVAL),
        size if size > hlrs_abi::HLRS_CMD_MAX_BYTES => Err(E2BIG),
        size => Ok(size),
    }
}

/// The address of `size` bytes. Fails with `EOVERFLOW`, `EADDRNOTAVAIL`.
fn address(va: u64, size: u64) -> Result<Address> {
    if va.checked_add(size).ok_or(EOVERFLOW)? > VA_END {
        return Err(EADDRNOTAVAIL);
    }
    Ok(Address::Virtual(va))
}

/// `DRM_IOCTL_HLRS_QUEUE_QUERY`.
pub(crate) fn query(
    _dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_queue_query,
    file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;

    let queue = file.inner().queues.get(args.queue_id)?;
    args.state = if queue.vm().is_banned() {
        hlrs_abi::DRM_HLRS_QUEUE_BANNED
    } else {
        0
    };
    args.vm_id = queue.vm().id();
    args.pending = queue.pending();
    Ok(0)
}
