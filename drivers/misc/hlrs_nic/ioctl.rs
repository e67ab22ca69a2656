// SPDX-License-Identifier: GPL-2.0

//! The calls of user space; `include/uapi/misc/hlrs_nic.h` describes them.

use kernel::{
    ioctl::_IOWR,
    prelude::*,
    time::{
        msecs_to_jiffies,
        Jiffies, //
    }, //
};
use kernel_ext::{
    anon_inode::flags::O_NONBLOCK,
    char_device::Call,
    eventfd::EventFd,
    ioctl::with_argument, //
};

use hlrs_nic_abi::{
    hlrs_nic_copy,
    hlrs_nic_query,
    hlrs_nic_vm_register,
    hlrs_nic_vm_unregister,
    hlrs_nic_wait, //
};

use crate::{
    client,
    engine::{
        self,
        Request, //
    },
    file::NicFile,
    vms::{
        self,
        Registered, //
    }, //
};

/// A call on an open file.
type NicCall<'a> = Call<'a, NicFile>;

/// Number of the call `nr` with an argument of type `A`.
const fn command<A>(nr: u32) -> u32 {
    _IOWR::<A>(hlrs_nic_abi::HLRS_NIC_IOCTL_BASE, nr)
}

const QUERY: u32 = command::<hlrs_nic_query>(hlrs_nic_abi::hlrs_nic_ioctl_id_HLRS_NIC_ID_QUERY);
const VM_REGISTER: u32 =
    command::<hlrs_nic_vm_register>(hlrs_nic_abi::hlrs_nic_ioctl_id_HLRS_NIC_ID_VM_REGISTER);
const VM_UNREGISTER: u32 =
    command::<hlrs_nic_vm_unregister>(hlrs_nic_abi::hlrs_nic_ioctl_id_HLRS_NIC_ID_VM_UNREGISTER);
const COPY: u32 = command::<hlrs_nic_copy>(hlrs_nic_abi::hlrs_nic_ioctl_id_HLRS_NIC_ID_COPY);
const WAIT: u32 = command::<hlrs_nic_wait>(hlrs_nic_abi::hlrs_nic_ioctl_id_HLRS_NIC_ID_WAIT);

/// Handles a call. Sleeps.
pub(crate) fn dispatch(call: &NicCall<'_>, cmd: u32, arg: usize) -> Result<isize> {
    match cmd {
        QUERY => with_argument(arg, |args| query(call, args))?,
        VM_REGISTER => vm_register(call, arg)?,
        VM_UNREGISTER => with_argument(arg, |args| vm_unregister(call, args))?,
        COPY => with_argument(arg, |args| copy(call, args))?,
        WAIT => with_argument(arg, |args| wait(call, args))?,
        _ => return Err(ENOTTY),
    }
    Ok(0)
}

/// Fails with `EINVAL` unless all of `values`, which must be zero, are.
fn must_be_zero(values: &[u64]) -> Result {
    if values.iter().any(|value| *value != 0) {
        return Err(EINVAL);
    }
    Ok(())
}

fn query(call: &NicCall<'_>, args: &mut hlrs_nic_query) -> Result {
    let services = &call.device.services;

    must_be_zero(&[args.extensions])?;
    must_be_zero(&args.reserved)?;
    *args = hlrs_nic_query {
        extensions: 0,
        abi_major: hlrs_nic_abi::HLRS_NIC_ABI_MAJOR,
        abi_minor: hlrs_nic_abi::HLRS_NIC_ABI_MINOR,
        uid: services.uid,
        vf_id: services.vf_id,
        // CAST: These three are small.
        max_vms: vms::MAX_VMS as u32,
        max_copy_size: engine::MAX_COPY_SIZE,
        max_pending: client::MAX_PENDING as u32,
        max_results: client::MAX_RESULTS as u32,
        reserved: [0; 4],
    };
    Ok(())
}

fn vm_register(call: &NicCall<'_>, arg: usize) -> Result {
    let (device, id) = (call.device, call.data.client.id());
    let mut added = None;

    let result = with_argument(arg, |args: &mut hlrs_nic_vm_register| {
        must_be_zero(&[args.extensions, args.flags.into(), args.pad.into()])?;
        must_be_zero(&args.reserved)?;
        let vm = Registered::new(&*device.services.vms, &device.engine, args.fd)?;

        args.vm = device.vms.insert(id, vm)?;
        added = Some(args.vm);
        Ok(())
    });

    // User space has not learnt the number, and could not take the VM away.
    if let (Err(_), Some(vm)) = (&result, added) {
        let _ = device.vms.remove(id, vm);
    }
    result
}

fn vm_unregister(call: &NicCall<'_>, args: &mut hlrs_nic_vm_unregister) -> Result {
    must_be_zero(&[args.extensions, args.flags.into()])?;
    must_be_zero(&args.reserved)?;
    call.device.vms.remove(call.data.client.id(), args.vm)
}

/// Fails with `ERANGE` unless the range is one of virtual addresses.
fn check_range(start: u64, size: u64) -> Result<u64> {
    start
        .checked_add(size)
        .filter(|end| *end <= 1 << hlrs_nic_abi::HLRS_VA_BITS)
        .ok_or(ERANGE)
}

fn copy(call: &NicCall<'_>, args: &mut hlrs_nic_copy) -> Result {
    let (device, client) = (call.device, &call.data.client);

    must_be_zero(&[args.extensions])?;
    must_be_zero(&args.reserved)?;
    if args.flags & !hlrs_nic_abi::HLRS_NIC_COPY_EVENTFD != 0 || args.size == 0 {
        return Err(EINVAL);
    }
    if args.size > engine::MAX_COPY_SIZE {
        return Err(E2BIG);
    }
    let src_end = check_range(args.src, args.size)?;
    let dst_end = check_range(args.dst, args.size)?;

    let eventfd = if args.flags & hlrs_nic_abi::HLRS_NIC_COPY_EVENTFD != 0 {
        Some(EventFd::from_fd(args.eventfd)?)
    } else {
        if args.eventfd != 0 {
            return Err(EINVAL);
        }
        None
    };

    let src_vm = device.vms.get(client.id(), args.src_vm)?;
    let dst_vm = device.vms.get(client.id(), args.dst_vm)?;
    if args.src_vm == args.dst_vm && args.src < dst_end && args.dst < src_end {
        return Err(EINVAL);
    }

    let request = Request {
        src_vm,
        dst_vm,
        src: args.src,
        dst: args.dst,
        size: args.size,
        eventfd,
    };
    let wait = call.file.flags() & O_NONBLOCK == 0;

    args.seqno = device
        .engine
        .submit(&*device.services.vms, client, request, wait)?;
    Ok(())
}

/// Jiffies of a time in nanoseconds, rounded up; `EINVAL` if it is negative.
fn timeout(ns: i64) -> Result<Jiffies> {
    let ms = u64::try_from(ns).map_err(|_| EINVAL)?.div_ceil(1_000_000);

    // Longer than anybody waits.
    Ok(msecs_to_jiffies(
        u32::try_from(ms).unwrap_or(u32::MAX).min(i32::MAX as u32),
    ))
}

fn wait(call: &NicCall<'_>, args: &mut hlrs_nic_wait) -> Result {
    must_be_zero(&[args.extensions, args.flags.into()])?;
    must_be_zero(&args.reserved)?;

    let outcome = call
        .data
        .client
        .wait(args.seqno, timeout(args.timeout_ns)?)?;
    args.result = outcome.map_or_else(|e| e.to_errno(), |()| 0);
    Ok(())
}
