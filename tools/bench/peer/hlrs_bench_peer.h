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

/**
 * struct drm_bench_store - store page-table entries by a plain loop
 *
 * What was there is lost.
 */
struct drm_bench_store {
	/** @device: PCI address of the device, as @importer above */
	__u32 device;

	/** @pad: not used */
	__u32 pad;

	/** @offset: where in the BAR of the device's memory, a multiple of 8 */
	__u64 offset;

	/** @count: entries, 8 bytes each */
	__u64 count;

	/** @ns: out, what the loop took */
	__u64 ns;
};

/**
 * struct drm_bench_hurry - let an accelerator take no time for what it does
 *
 * In a guest whose clock counts instructions, what is left is software. It lasts
 * until the device is reset as a PCI function.
 */
struct drm_bench_hurry {
	/** @device: PCI address of the device, as @importer above */
	__u32 device;

	/** @pad: not used */
	__u32 pad;
};

/* Ranges of a VF's BAR, as negotiated. */
#define DRM_BENCH_IC_IOV	0
/* An xarray of the same ranges. */
#define DRM_BENCH_IC_XARRAY	1
/* A scatterlist. */
#define DRM_BENCH_IC_SGT	2

/**
 * struct drm_bench_ic_map - map and unmap a dma-buf of a VF's memory, over and over
 *
 * Once before the clock starts, then @rounds times. Attaching is not timed.
 */
struct drm_bench_ic_map {
	/** @fd: the dma-buf */
	__s32 fd;

	/** @importer: PCI address of the importing device, as above; the PF except for a scatterlist */
	__u32 importer;

	/** @rounds: how often, not 0 */
	__u32 rounds;

	/** @form: DRM_BENCH_IC_* */
	__u32 form;

	/** @ns: out, what the rounds took */
	__u64 ns;

	/** @count: out, ranges of a mapping */
	__u32 count;

	/** @pad: not used */
	__u32 pad;
};

/**
 * struct drm_bench_ic_attach - attach to a dma-buf and detach, over and over
 *
 * Once before the clock starts, then @rounds times.
 */
struct drm_bench_ic_attach {
	/** @fd: the dma-buf */
	__s32 fd;

	/** @importer: PCI address of the importing device, as above */
	__u32 importer;

	/** @rounds: how often */
	__u32 rounds;

	/** @negotiate: whether with dma_buf_interconnect_attach(), or with dma_buf_dynamic_attach() */
	__u32 negotiate;

	/** @ns: out, what the rounds took */
	__u64 ns;
};

/**
 * struct drm_bench_submit - run commands, for the driver hlrs-bench-submit
 */
struct drm_bench_submit {
	/** @commands: user pointer to struct hlrs_cmd, which are run as they are */
	__u64 commands;

	/** @num_commands: commands */
	__u32 num_commands;

	/** @syncobj: handle of the syncobj that gets the fence */
	__u32 syncobj;
};

#define DRM_IOCTL_BENCH_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + 0, struct drm_bench_create)
#define DRM_IOCTL_BENCH_EXPORT \
	DRM_IOWR(DRM_COMMAND_BASE + 1, struct drm_bench_export)
#define DRM_IOCTL_BENCH_MAP \
	DRM_IOWR(DRM_COMMAND_BASE + 2, struct drm_bench_map)
#define DRM_IOCTL_BENCH_STORE \
	DRM_IOWR(DRM_COMMAND_BASE + 3, struct drm_bench_store)
#define DRM_IOCTL_BENCH_HURRY \
	DRM_IOWR(DRM_COMMAND_BASE + 4, struct drm_bench_hurry)
#define DRM_IOCTL_BENCH_IC_MAP \
	DRM_IOWR(DRM_COMMAND_BASE + 5, struct drm_bench_ic_map)
#define DRM_IOCTL_BENCH_IC_ATTACH \
	DRM_IOWR(DRM_COMMAND_BASE + 6, struct drm_bench_ic_attach)
/* Of another node. */
#define DRM_IOCTL_BENCH_SUBMIT \
	DRM_IOWR(DRM_COMMAND_BASE + 0, struct drm_bench_submit)

#endif /* HLRS_BENCH_PEER_H */
