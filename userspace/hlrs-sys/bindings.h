/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What bindgen reads. The ioctl numbers are macros that only a compiler can
 * evaluate, so they are named here as enumerators: the numbers in the crate
 * then come from the header, as everything else in it. The flags of PRIME are
 * macros of that kind, too.
 */
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/sync_file.h>
#include "hlrs_accel.h"
#include "hlrs_nic.h"

#define NR(name) HLRS_SYS_IOCTL_##name = DRM_IOCTL_##name
enum hlrs_sys_ioctl {
	NR(HLRS_DEVICE_QUERY),
	NR(HLRS_MEM_CREATE),
	NR(HLRS_MEM_MMAP_OFFSET),
	NR(HLRS_MEM_COPY),
	NR(HLRS_MEM_FILL),
	NR(HLRS_MEM_CRC32C),
	NR(HLRS_MEM_WAIT),
	NR(HLRS_MEM_EXPORT),
	NR(HLRS_MEM_REVOKE),
	NR(HLRS_DEVICE_OWN),
	NR(HLRS_VM_CREATE),
	NR(HLRS_VM_DESTROY),
	NR(HLRS_VM_BIND),
	NR(HLRS_VM_QUERY),
	NR(HLRS_VM_EXPORT),
	NR(HLRS_QUEUE_CREATE),
	NR(HLRS_QUEUE_DESTROY),
	NR(HLRS_QUEUE_SUBMIT),
	NR(HLRS_QUEUE_QUERY),
	NR(HLRS_MEM_QUERY),
	/* Of the DRM core, on the same file. VERSION is in lib.rs: it has size_t. */
	NR(GEM_CLOSE),
	NR(PRIME_HANDLE_TO_FD),
	NR(PRIME_FD_TO_HANDLE),
	NR(SYNCOBJ_CREATE),
	NR(SYNCOBJ_DESTROY),
	NR(SYNCOBJ_HANDLE_TO_FD),
	NR(SYNCOBJ_FD_TO_HANDLE),
	NR(SYNCOBJ_TRANSFER),
	NR(SYNCOBJ_TIMELINE_WAIT),
	NR(SYNCOBJ_TIMELINE_SIGNAL),
	NR(SYNCOBJ_SIGNAL),
	NR(SYNCOBJ_RESET),
	NR(SYNCOBJ_QUERY),
};

/* Of the NIC's node. */
#define NIC_NR(name) HLRS_SYS_IOCTL_HLRS_NIC_##name = HLRS_NIC_IOCTL_##name
enum hlrs_sys_nic_ioctl {
	NIC_NR(QUERY),
	NIC_NR(VM_REGISTER),
	NIC_NR(VM_UNREGISTER),
	NIC_NR(COPY),
	NIC_NR(WAIT),
};

/* Of dma-buf, on the descriptor that an export gives. */
enum hlrs_sys_dma_buf {
	HLRS_SYS_DMA_BUF_IOCTL_SYNC = DMA_BUF_IOCTL_SYNC,
	HLRS_SYS_DMA_BUF_IOCTL_EXPORT_SYNC_FILE = DMA_BUF_IOCTL_EXPORT_SYNC_FILE,
	HLRS_SYS_DMA_BUF_IOCTL_IMPORT_SYNC_FILE = DMA_BUF_IOCTL_IMPORT_SYNC_FILE,
	HLRS_SYS_DMA_BUF_SYNC_READ = DMA_BUF_SYNC_READ,
	HLRS_SYS_DMA_BUF_SYNC_WRITE = DMA_BUF_SYNC_WRITE,
	HLRS_SYS_DMA_BUF_SYNC_END = DMA_BUF_SYNC_END,
};

/* Of sync files, on the descriptor that a fence is in. */
enum hlrs_sys_sync_file {
	HLRS_SYS_SYNC_IOC_FILE_INFO = SYNC_IOC_FILE_INFO,
};

/* Flags of the ioctls of syncobjs. */
enum hlrs_sys_syncobj {
	HLRS_SYS_SYNCOBJ_CREATE_SIGNALED = DRM_SYNCOBJ_CREATE_SIGNALED,
	HLRS_SYS_SYNCOBJ_IMPORT_SYNC_FILE = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE,
	HLRS_SYS_SYNCOBJ_EXPORT_SYNC_FILE = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE,
	HLRS_SYS_SYNCOBJ_WAIT_ALL = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL,
	HLRS_SYS_SYNCOBJ_WAIT_FOR_SUBMIT = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT,
	HLRS_SYS_SYNCOBJ_WAIT_AVAILABLE = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE,
};

/* The access modes and the flag that an export takes. */
enum hlrs_sys_fd {
	HLRS_SYS_O_RDONLY = O_RDONLY,
	HLRS_SYS_O_WRONLY = O_WRONLY,
	HLRS_SYS_O_RDWR = O_RDWR,
	HLRS_SYS_O_CLOEXEC = O_CLOEXEC,
};

enum hlrs_sys_prime {
	HLRS_SYS_DRM_CLOEXEC = DRM_CLOEXEC,
	HLRS_SYS_DRM_RDWR = DRM_RDWR,
};
