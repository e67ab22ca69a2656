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

/**
 * struct drm_bench_export - dma_buf_export() and dma_buf_fd(), with empty operations
 */
struct drm_bench_export {
	/** @size: bytes, a multiple of 4096 */
	__u64 size;

	/** @fd_flags: O_CLOEXEC, and O_RDONLY, O_WRONLY or O_RDWR */
	__u32 fd_flags;

	/** @fd: out, the dma-buf */
	__s32 fd;
};

/**
 * struct drm_bench_segment - what an importer gets
 */
struct drm_bench_segment {
	/** @address: DMA address */
	__u64 address;

	/** @length: bytes */
	__u64 length;
};

/* Largest number of segments that are told; there may be more. */
#define DRM_BENCH_MAX_SEGMENTS	65536

/**
 * struct drm_bench_map - attach to a dma-buf, map, unmap and detach, over and over
 *
 * Once before the clock starts, then @rounds times.
 */
struct drm_bench_map {
	/** @fd: the dma-buf */
	__s32 fd;

	/**
	 * @importer: PCI address of the importing device: domain << 16 | bus << 8 |
	 * device << 3 | function
	 */
	__u32 importer;

	/** @rounds: how often */
	__u32 rounds;

	/** @max_segments: room at @segments */
	__u32 max_segments;

	/** @segments: user pointer to struct drm_bench_segment */
	__u64 segments;

	/** @ns: out, what the rounds took */
	__u64 ns;

	/** @num_segments: out, segments of the mapping */
	__u32 num_segments;

	/** @pad: not used */
	__u32 pad;
};

#define DRM_IOCTL_BENCH_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + 0, struct drm_bench_create)
#define DRM_IOCTL_BENCH_EXPORT \
	DRM_IOWR(DRM_COMMAND_BASE + 1, struct drm_bench_export)
#define DRM_IOCTL_BENCH_MAP \
	DRM_IOWR(DRM_COMMAND_BASE + 2, struct drm_bench_map)

#endif /* HLRS_BENCH_PEER_H */
