/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What bindgen reads. The ioctl numbers are macros that only a compiler can
 * evaluate, so they are named here as enumerators: the numbers in the crate
 * then come from the header, as everything else in it. The flags of PRIME are
 * macros of that kind, too.
 */
#include <fcntl.h>
#include <linux/dma-buf.h>
#include "hlrs_accel.h"

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
	/* Of the DRM core, on the same file. VERSION is in lib.rs: it has size_t. */
	NR(GEM_CLOSE),
	NR(PRIME_HANDLE_TO_FD),
	NR(PRIME_FD_TO_HANDLE),
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
