// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the interface documents error numbers to mean.

use rustix::io::Errno;

use super::Operation;

/// Name of an error number that the interface documents.
pub(super) fn name(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::INTR => "EINTR",
        Errno::IO => "EIO",
        Errno::NXIO => "ENXIO",
        Errno::TOOBIG => "E2BIG",
        Errno::BADF => "EBADF",
        Errno::AGAIN => "EAGAIN",
        Errno::NOMEM => "ENOMEM",
        Errno::ACCESS => "EACCES",
        Errno::FAULT => "EFAULT",
        Errno::BUSY => "EBUSY",
        Errno::EXIST => "EEXIST",
        Errno::NODEV => "ENODEV",
        Errno::INVAL => "EINVAL",
        Errno::NFILE => "ENFILE",
        Errno::MFILE => "EMFILE",
        Errno::NOTTY => "ENOTTY",
        Errno::NOSPC => "ENOSPC",
        Errno::RANGE => "ERANGE",
        Errno::NOSYS => "ENOSYS",
        Errno::OVERFLOW => "EOVERFLOW",
        Errno::DQUOT => "EDQUOT",
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::TIMEDOUT => "ETIMEDOUT",
        Errno::CANCELED => "ECANCELED",
        Errno::TIME => "ETIME",
        Errno::XDEV => "EXDEV",
        Errno::STALE => "ESTALE",
        _ => return None,
    })
}

/// What the interface documents an error number to mean for an operation.
pub(super) fn meaning(operation: Operation, errno: Errno) -> Option<&'static str> {
    use Operation as O;
    Some(match (operation, errno) {
        (O::Create, Errno::INVAL) => {
            "the size is 0 or no multiple of the page size, or the page size or a flag does not fit the region"
        }
        (O::Create, Errno::NXIO) => "the device has no such memory region",
        (O::Create, Errno::TOOBIG) => "the size is larger than the region",
        (O::Create, Errno::NOSPC) => {
            "the region, or the part of it that the CPU can see, is full, or no contiguous range is left"
        }
        (O::Map, Errno::NXIO) => {
            "part of the buffer lies outside the aperture; create it with cpu_visible()"
        }
        (O::Map, Errno::OPNOTSUPP) => "the buffer was imported; map it at its exporter",
        (O::Copy | O::Fill | O::Crc32c, Errno::INVAL) => "the size is 0, or the ranges overlap",
        (O::Copy | O::Fill | O::Crc32c, Errno::RANGE) => "a range ends beyond its buffer",
        (O::Copy | O::Fill | O::Crc32c, Errno::OVERFLOW) => "offset plus size exceeds 64 bits",
        (O::Copy | O::Fill | O::Crc32c, Errno::IO) => "the device reported a fault",
        (O::Copy | O::Fill | O::Crc32c, Errno::TIMEDOUT) => {
            "the job did not end in time, and its queue was reset"
        }
        (O::Copy | O::Fill | O::Crc32c, Errno::CANCELED) => {
            "the device was reset before the job ended"
        }
        (O::Wait, Errno::TIME) => "the time is up and the buffer is still in use",
        (O::Wait, Errno::IO) => "a job that wrote the buffer failed",
        (O::Export, Errno::INVAL) => {
            "the offset or the size is not a multiple of 4096, or the range is empty or ends beyond the buffer"
        }
        (O::Export, Errno::OVERFLOW) => "offset plus size exceeds 64 bits",
        (O::Export, Errno::NXIO) => {
            "the range lies outside the aperture, and the buffer cannot be moved into it"
        }
        (O::Export, Errno::OPNOTSUPP) => {
            "the buffer was imported, or the device offers no peer-to-peer memory"
        }
        (O::Export, Errno::DQUOT) => {
            "the file has exported as much as the module parameter export_limit_mib allows"
        }
        (O::Export, Errno::ADDRNOTAVAIL) => "there is no PCI function of this address",
        (O::Revoke, Errno::TIMEDOUT) => {
            "an importer has not let go; the kernel's log names it"
        }
        (O::Own, Errno::BUSY) => {
            "the device is open elsewhere, or an importer that cannot be revoked is attached"
        }
        (O::Own, Errno::PERM) => "this file does not own the device",
        (O::Open, Errno::BUSY) => "another file owns the device",
        (O::DmaBuf, Errno::ACCESS) => "the dma-buf was exported without the right to do this",
        (O::Copy | O::Fill | O::Crc32c, Errno::ACCESS) => {
            "a buffer was imported without the right to do this"
        }
        (O::Copy | O::Fill | O::Crc32c | O::Import | O::DmaBuf, Errno::NODEV) => {
            "the device is gone, or the memory was revoked"
        }
        (O::Import, Errno::OPNOTSUPP) => {
            "exporter and device have no way to reach each other's memory"
        }
        (O::Sriov, Errno::BUSY) => "virtual functions are enabled or in use; disable them first",
        (O::Sriov, Errno::INVAL) => "the value is not accepted; a quota must be a multiple of 2 MiB",
        (O::Sriov, Errno::NOSPC) => "the card has not enough free memory for these virtual functions",
        (O::Sriov, Errno::RANGE) => "the card has not so many virtual functions, or not so much memory",
        (O::Vm, Errno::MFILE) => "the file has as many as it may, or too many open files",
        (O::Vm, Errno::NOSPC) => {
            "all contexts of the device are taken, or there is no CPU-visible LMEM for a page table"
        }
        (O::Vm, Errno::NOENT) => "there is none of this number, or it is banned",
        (O::Vm, Errno::EXIST) => "a descriptor of it is open already",
        (O::Vm, Errno::BUSY) => "it has queues, is exported, or another driver uses it",
        (O::Bind, Errno::NOENT) => "the device does not know the address space, buffer or syncobj",
        (O::Bind, Errno::INVAL) => {
            "there is no operation, an address, size or offset is no multiple of 4096, a size is 0, or a syncobj has no fence to wait for"
        }
        (O::Bind | O::Submit, Errno::OVERFLOW) => "a sum exceeds 64 bits",
        (O::Bind | O::Submit, Errno::ADDRNOTAVAIL) => "addresses have 48 bits",
        (O::Bind, Errno::RANGE) => "the range ends beyond the buffer",
        (O::Bind, Errno::TOOBIG) => "too many operations or syncobjs",
        (O::Bind, Errno::ACCESS) => "the buffer was imported without the right to do this",
        (O::Bind, Errno::NOSPC) => "there is no CPU-visible LMEM for page tables",
        (O::Bind | O::Submit | O::Queue, Errno::CANCELED) => "the address space is banned",
        (O::Bind, Errno::NODEV) => "the device is gone, or the memory was revoked",
        (O::Queue, Errno::NOENT) => "the device does not know the queue or the address space",
        (O::Queue, Errno::MFILE) => "the file has as many queues as it may",
        (O::Submit, Errno::NOENT) => "the device does not know the queue or syncobj",
        (O::Submit, Errno::INVAL) => {
            "there is no command, one is malformed, or a syncobj has no fence to wait for"
        }
        (O::Submit, Errno::TOOBIG) => "too many commands or syncobjs, or a size beyond 4 GiB",
        (O::Submit, Errno::PERM) => "this command is for the administrator only",
        (O::Submit, Errno::FAULT) => "a buffer that was taken away cannot be mapped again",
        (O::Job, Errno::FAULT) => "it accessed an address in vain; the state of its address space has more",
        (O::Job, Errno::TIMEDOUT) => "it did not end in time; its address space is banned",
        (O::Job, Errno::CANCELED) => {
            "its address space was banned by another job, its queue destroyed, or the device reset"
        }
        (O::Syncobj, Errno::NOENT) => "the device does not know this syncobj",
        (O::Syncobj, Errno::INVAL) => "there is no fence, or no such point",
        (O::Syncobj | O::Fence, Errno::TIME) => "the time is up",
        (O::Nic, Errno::INVAL) => "the descriptor is not that of an address space",
        (O::Nic, Errno::BADF) => "there is no such descriptor",
        (O::Nic, Errno::XDEV) => "the address space is one of another function or device",
        (O::Nic, Errno::ACCESS) => {
            "the address space is for the credentials of the process that has exported it"
        }
        (O::Nic, Errno::NOENT) => {
            "the address space is banned, its device file closed, or it is not registered"
        }
        (O::Nic, Errno::EXIST) => "the address space is registered in this open file",
        (O::Nic, Errno::BUSY) => "the address space has as many users as it can have",
        (O::Nic, Errno::NOSPC) => "as many address spaces are registered as there can be",
        (O::NicCopy, Errno::NOENT) => "there is no address space of this number in this open file",
        (O::NicCopy, Errno::STALE) => {
            "an address space was revoked or banned, or the copy is so old that its result is forgotten"
        }
        (O::NicCopy, Errno::INVAL) => {
            "the size is 0, the ranges overlap, the descriptor is no eventfd, or no copy has this number"
        }
        (O::NicCopy, Errno::TOOBIG) => "the size is larger than the engine can copy at once",
        (O::NicCopy, Errno::RANGE) => "addresses have 48 bits",
        (O::NicCopy, Errno::AGAIN) => "as many copies are pending as there can be",
        (O::NicCopy, Errno::FAULT) => {
            "an address is not mapped, or not for this, or its buffer was taken away"
        }
        (O::NicCopy, Errno::IO) => "the device reported a fault",
        (O::NicCopy, Errno::TIMEDOUT) => "it did not end in time",
        (O::NicCopy, Errno::CANCELED) => {
            "an address space was unregistered, revoked or banned, or the device reset"
        }
        (O::Nic | O::NicCopy, Errno::TIME) => "the time is up",
        (O::Open | O::Sriov | O::Statistics, Errno::ACCESS | Errno::PERM) => "permission denied",
        (O::Open, Errno::NOENT) => "there is no such device node",
        (O::Open, Errno::NOTTY) => "this is no DRM device",
        (O::List, Errno::NOENT) => "this kernel has no accelerator devices",
        (_, Errno::NODEV | Errno::NXIO) if operation != O::Sriov => "the device is gone",
        (_, Errno::NOMEM) => "out of system memory",
        (_, Errno::NOENT) if !matches!(operation, O::Sriov | O::Statistics) => {
            "the device does not know this buffer handle"
        }
        (_, Errno::INTR) => "interrupted by a signal",
        (_, Errno::MFILE | Errno::NFILE) => "too many open files",
        _ => return None,
    })
}
