/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Userspace interface of the hlrs NIC driver.
 *
 * The NIC engine of an hlrs accelerator copies between address spaces (VMs) of
 * the accelerator. It is driven by a driver of its own, with a character device
 * /dev/hlrs_nicN for each function of the accelerator (see "device" in sysfs for
 * which). A process makes a VM with the accelerator's driver, exports it as a
 * file descriptor (DRM_IOCTL_HLRS_VM_EXPORT), and registers that here.
 *
 * What an open file is: the set of VMs that were registered through it, and the
 * copies that were submitted through it. Whoever has a descriptor of the file
 * may copy between its VMs; two processes that want to copy between their VMs
 * share an open file (fork(), SCM_RIGHTS), and each registers its own VM. VMs of
 * different accelerators, or of different functions of one, do not go together.
 * Who may register a VM is decided by the VM, see DRM_IOCTL_HLRS_VM_CREATE.
 *
 * Copies of one open file run and end in the order in which they were submitted.
 *
 * Rules that hold for every ioctl:
 *
 *  - @extensions must be 0: there are no extensions yet. Fields named pad or
 *    reserved, and bits of flags that are not defined here, must be zero.
 *    Otherwise the call fails with -EINVAL. Unknown calls fail with -ENOTTY.
 *  - A call that fails has changed nothing, unless its description says more.
 *  - When the NIC's driver is unbound, or the accelerator removed, copies that
 *    have not ended do so with -ENODEV, calls that wait return, every call fails
 *    with -ENODEV, and poll(2) says POLLHUP | POLLERR. The file is of no use
 *    after that, also if the driver comes back.
 *  - Structures have the same layout for 32- and 64-bit processes.
 *
 * Copying memory of an unreadable or unwritable argument fails with -EFAULT,
 * allocation failures with -ENOMEM, a pending signal with -EINTR or a restart of
 * the call; this is not repeated below.
 */
#ifndef _UAPI_MISC_HLRS_NIC_H_
#define _UAPI_MISC_HLRS_NIC_H_

#include <linux/ioctl.h>
#include <linux/types.h>

#if defined(__cplusplus)
extern "C" {
#endif

/* Version of this interface; minor grows with every addition. */
#define HLRS_NIC_ABI_MAJOR	1
#define HLRS_NIC_ABI_MINOR	0

/* Ioctl numbers. */
enum hlrs_nic_ioctl_id {
	HLRS_NIC_ID_QUERY = 0,
	HLRS_NIC_ID_VM_REGISTER,
	HLRS_NIC_ID_VM_UNREGISTER,
	HLRS_NIC_ID_COPY,
	HLRS_NIC_ID_WAIT,
};

#define HLRS_NIC_IOCTL_BASE	0xbc

#define HLRS_NIC_IOCTL(nr, type) \
	_IOWR(HLRS_NIC_IOCTL_BASE, HLRS_NIC_ID_##nr, struct hlrs_nic_##type)

#define HLRS_NIC_IOCTL_QUERY		HLRS_NIC_IOCTL(QUERY, query)
#define HLRS_NIC_IOCTL_VM_REGISTER	HLRS_NIC_IOCTL(VM_REGISTER, vm_register)
#define HLRS_NIC_IOCTL_VM_UNREGISTER	HLRS_NIC_IOCTL(VM_UNREGISTER, vm_unregister)
#define HLRS_NIC_IOCTL_COPY		HLRS_NIC_IOCTL(COPY, copy)
#define HLRS_NIC_IOCTL_WAIT		HLRS_NIC_IOCTL(WAIT, wait)

/**
 * struct hlrs_nic_query - what the device and the driver can do
 */
struct hlrs_nic_query {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @abi_major: out, HLRS_NIC_ABI_MAJOR of the driver */
	__u32 abi_major;

	/** @abi_minor: out, HLRS_NIC_ABI_MINOR of the driver */
	__u32 abi_minor;

	/** @uid: out, unique number of the card, as in &struct drm_hlrs_query_info */
	__u64 uid;

	/** @vf_id: out, 0 on a PF, otherwise the number of the VF, from 1 */
	__u32 vf_id;

	/** @max_vms: out, VMs that can be registered at a time, by all open files */
	__u32 max_vms;

	/** @max_copy_size: out, largest size of one copy, bytes */
	__u64 max_copy_size;

	/** @max_pending: out, copies of one open file that can be pending at a time */
	__u32 max_pending;

	/** @max_results: out, copies of one open file whose results are remembered */
	__u32 max_results;

	/** @reserved: must be zero; zero */
	__u64 reserved[4];
};

/**
 * struct hlrs_nic_vm_register - let the engine use a VM
 *
 * The descriptor can be closed afterwards. The VM cannot be destroyed before it
 * is unregistered, but can be revoked: when the accelerator's device file that
 * it was made with is closed, pending copies of it end with -ECANCELED and new
 * ones fail with -ESTALE. The registration is then good for nothing but being
 * removed. The end of the open file removes all of its registrations.
 *
 * Errors: -EBADF, @fd is not open; -EINVAL, it is not a VM; -EXDEV, it is one
 * of another function or device; -EACCES, the VM does not allow the caller;
 * -ENOENT, the VM was banned, or its device file closed; -EEXIST, it is
 * registered in this open file; -EBUSY, the VM has as many users as it can;
 * -ENOSPC, @max_vms of the query.
 */
struct hlrs_nic_vm_register {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @fd: descriptor from DRM_IOCTL_HLRS_VM_EXPORT */
	__s32 fd;

	/** @flags: must be zero */
	__u32 flags;

	/** @vm: out, the VM's number in this open file; never 0 */
	__u32 vm;

	/** @pad: must be zero */
	__u32 pad;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct hlrs_nic_vm_unregister - take a VM away from the engine
 *
 * Pending copies of the VM end with -ECANCELED. When the call returns the engine
 * does not access the VM any more.
 *
 * Errors: -ENOENT, no such VM in this open file.
 */
struct hlrs_nic_vm_unregister {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @vm: number of the VM */
	__u32 vm;

	/** @flags: must be zero */
	__u32 flags;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct hlrs_nic_copy - copy between VMs
 *
 * Source and destination are any bytes, and may be in one VM, but not overlap
 * there. The call returns when the copy is queued; if it cannot write its argument
 * back (-EFAULT) the copy is queued all the same. The copy ends in one of these
 * ways, which HLRS_NIC_IOCTL_WAIT tells:
 *
 *   0           all bytes are there
 *   -EFAULT     an address is not mapped, or not for this kind of access
 *   -EIO        another fault, such as an error of memory
 *   -ETIMEDOUT  it did not end in the time that the driver allows
 *   -ECANCELED  a VM was unregistered, revoked or banned, or the accelerator was
 *               reset
 *   -ENODEV     the device is gone
 *
 * After anything but 0 the contents of the destination are undefined. It does
 * not affect other copies, nor the VMs' own jobs: a fault stops for a moment what
 * is going on in the VM, and the driver begins it again.
 *
 * Binds of the VMs that were submitted before, and wait for fences, come first:
 * the call waits for them. While @max_pending copies of the open file are pending
 * the call waits, too; if the file was opened with O_NONBLOCK it fails with
 * -EAGAIN then. poll(2) says POLLOUT when there is room, and POLLIN when no copy is
 * pending.
 *
 * Errors: -ENOENT, no such VM; -ESTALE, a VM was revoked or banned; -EINVAL, @size
 * is 0, or the ranges overlap; -E2BIG, @size exceeds @max_copy_size; -ERANGE, a
 * range ends beyond the 48 bits of virtual addresses; -EBADF, @eventfd is not open,
 * or -EINVAL, it is no eventfd; -EAGAIN, see above; -EFAULT, a buffer of one of the
 * VMs could not be brought back to where the engine reaches it.
 */
struct hlrs_nic_copy {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @src_vm: number of the VM to read from */
	__u32 src_vm;

	/** @dst_vm: number of the VM to write to */
	__u32 dst_vm;

	/** @src: virtual address in @src_vm */
	__u64 src;

	/** @dst: virtual address in @dst_vm */
	__u64 dst;

	/** @size: bytes */
	__u64 size;

#define HLRS_NIC_COPY_EVENTFD	(1u << 0)	/* add 1 to @eventfd at the end */
	/** @flags: HLRS_NIC_COPY_* */
	__u32 flags;

	/** @eventfd: with HLRS_NIC_COPY_EVENTFD an eventfd, otherwise 0 */
	__s32 eventfd;

	/** @seqno: out, the number of the copy in this open file, from 1 on, without holes */
	__u64 seqno;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct hlrs_nic_wait - wait until a copy has ended
 *
 * Asking again gives the same answer, as long as the copy is one of the last
 * @max_results that were submitted.
 *
 * Errors: -ETIME, the copy has not ended in time; -EINVAL, @seqno was not given
 * out, or @timeout_ns is negative; -ESTALE, it was so long ago that the result
 * is forgotten.
 */
struct hlrs_nic_wait {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @seqno: number of the copy */
	__u64 seqno;

	/** @timeout_ns: at most this long, nanoseconds; 0 only looks */
	__s64 timeout_ns;

	/** @flags: must be zero */
	__u32 flags;

	/** @result: out, 0 or the negative error with which the copy has ended */
	__s32 result;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_MISC_HLRS_NIC_H_ */
