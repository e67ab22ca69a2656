/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* Ioctls of the benchmark peer, for tools/bench only. */
#ifndef HLRS_BENCH_PEER_H
#define HLRS_BENCH_PEER_H

#include <drm/drm.h>

/**
 * struct drm_bench_create - allocate from the GPU buddy allocator, make a GEM object
 */
struct drm_bench_create {
	/** @size: bytes, a multiple of 4096 */
	__u64 size;

	/** @handle: out, the GEM handle */
	__u32 handle;

	/** @pad: not used */
	__u32 pad;
};

#define DRM_IOCTL_BENCH_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + 0, struct drm_bench_create)

#endif /* HLRS_BENCH_PEER_H */
