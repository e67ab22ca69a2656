/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Ioctls of /dev/hlrs-test-vmN, for tests only: a user of VMs of the function
 * of the accelerator that has accelN, without an engine. Each ioctl is a
 * function of include/linux/hlrs.h, and has its errors.
 *
 * What an open file has registered when it is closed is unregistered then. All
 * ioctls also fail with: EINVAL for an argument that does not exist or that
 * must be 0; ENOENT for a user that does not exist; ENODEV when the driver was
 * unbound.
 */
#ifndef HLRS_TEST_VM_H
#define HLRS_TEST_VM_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The longest time that anything here can be made to take; less than hung tasks are given. */
#define HLRS_TEST_VM_MAX_MS		20000

/* Name an auxiliary device that is not the accelerator's. */
#define HLRS_TEST_VM_FOREIGN		(1 << 0)
/* Have no operations. */
#define HLRS_TEST_VM_NO_OPS		(1 << 1)
/* Have operations, but no function in them. */
#define HLRS_TEST_VM_NO_CALLBACK	(1 << 2)
/* When the VM is revoked, leave fences to their time instead of signalling them. */
#define HLRS_TEST_VM_LATE		(1 << 3)
/* When it is unregistered, leave fences to their time, or to the end of the file. */
#define HLRS_TEST_VM_LEAVE		(1 << 4)

struct hlrs_test_vm_register {
	__s32 fd;
	__u32 flags;
	/* How long the callback takes. */
	__u32 delay_ms;
	/* out, as all that follows */
	__u32 id;
	__u32 context;
	__u32 pad;
};

/*
 * UNREGISTER: also while others use the same number; of several callers one
 * gets it. SIGNAL: the fences of all accesses for the user. RECOVER: also fails
 * with ESTALE when the VM cannot be used.
 */
struct hlrs_test_vm_id {
	__u32 id;
	__u32 pad;
};

/*
 * Announce an access. If that succeeds, it "begins", unless a VM was revoked
 * meanwhile, and ends after timeout_ms, 1 to HLRS_TEST_VM_MAX_MS, or when a VM
 * is revoked, or by SIGNAL.
 */
struct hlrs_test_vm_access {
	/* Address of an array of __u32: users. */
	__u64 ids;
	__u32 count;
	__u32 timeout_ms;
	/* out: whether it has begun */
	__u32 begun;
	__u32 pad;
};

/* Tell the state; waits for nothing, so also while the VM is being revoked. */
struct hlrs_test_vm_state {
	__u32 id;
	/* out, as all that follows: calls of the callback, and how many of them have ended */
	__u32 calls;
	__u32 returned;
	/* Accesses for the user that are not over. */
	__u32 fences;
};

struct hlrs_test_vm_same {
	__u32 a;
	__u32 b;
	/* out */
	__u32 same;
	__u32 pad;
};

#define HLRS_TEST_VM_IOC_REGISTER	_IOWR(0xb9, 0, struct hlrs_test_vm_register)
#define HLRS_TEST_VM_IOC_UNREGISTER	_IOW(0xb9, 1, struct hlrs_test_vm_id)
#define HLRS_TEST_VM_IOC_ACCESS		_IOWR(0xb9, 2, struct hlrs_test_vm_access)
#define HLRS_TEST_VM_IOC_SIGNAL		_IOW(0xb9, 3, struct hlrs_test_vm_id)
#define HLRS_TEST_VM_IOC_STATE		_IOWR(0xb9, 4, struct hlrs_test_vm_state)
#define HLRS_TEST_VM_IOC_SAME		_IOWR(0xb9, 5, struct hlrs_test_vm_same)
#define HLRS_TEST_VM_IOC_RECOVER	_IOW(0xb9, 6, struct hlrs_test_vm_id)

#endif /* HLRS_TEST_VM_H */
