/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What bindgen reads. The ioctl numbers are macros that only a compiler can
 * evaluate, so they are named here as enumerators: the numbers in the crate
 * then come from the header, as everything else in it. The flags of PRIME are
 * macros of that kind, too.
 */
#include <fcntl.h>
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
	/* Of the DRM core, on the same file. VERSION is in lib.rs: it has size_t. */
	NR(GEM_CLOSE),
	NR(PRIME_HANDLE_TO_FD),
	NR(PRIME_FD_TO_HANDLE),
};

enum hlrs_sys_prime {
	HLRS_SYS_DRM_CLOEXEC = DRM_CLOEXEC,
	HLRS_SYS_DRM_RDWR = DRM_RDWR,
};
