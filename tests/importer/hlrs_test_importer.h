/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Ioctls of /dev/hlrs-test-importer, for tests only.
 *
 * An open file has attachments of dma-bufs, each in the name of a PCI device
 * and with the behaviour of one kind of importer. What the file has when it is
 * closed is unmapped and detached then, whatever its kind.
 *
 * The importing device must keep its driver while something is mapped for it
 * through an IOMMU: this module is not its driver, and does not learn of it.
 *
 * Errors that several ioctls have: EINVAL for an argument that does not exist
 * or that must be 0, ENOENT for an attachment that does not exist, EINTR for a
 * signal while waiting for the reservation lock.
 */
#ifndef HLRS_TEST_IMPORTER_H
#define HLRS_TEST_IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* What an importer does when its mapping is invalidated. */
enum hlrs_test_kind {
	/* Unmaps as soon as its fences have signalled, from a work item. */
	HLRS_TEST_DYNAMIC,
	/* Has no callback for it, and says so by not having one. */
	HLRS_TEST_NO_INVALIDATE,
	/* Has no operations at all: dma_buf_attach(). */
	HLRS_TEST_STATIC,
	/* As HLRS_TEST_DYNAMIC, and pins the buffer while it is mapped. */
	HLRS_TEST_PIN,
	/* Unmaps within the callback, after its fences have signalled. */
	HLRS_TEST_UNMAP_INSIDE,
	/* Unmaps delay_ms after the callback, and after its fences. */
	HLRS_TEST_UNMAP_LATE,
	/* Does nothing, although it has promised to. */
	HLRS_TEST_NEVER_UNMAP,
};

/* The longest time that anything here can be made to take; less than hung tasks are given. */
#define HLRS_TEST_MAX_MS		20000

/* The importer can use memory of peers, which has no struct pages. */
#define HLRS_TEST_ALLOW_PEER2PEER	(1 << 0)

/*
 * Attach a device. Also fails with: the errors of dma_buf_get(); ENXIO if there
 * is no such PCI device; those of the exporter, unchanged.
 */
struct hlrs_test_attach {
	__s32 fd;
	__u32 kind;
	/* The importing device. */
	__u32 domain;
	__u8 bus;
	__u8 devfn;
	__u16 pad;
	/* For HLRS_TEST_UNMAP_LATE, otherwise 0. */
	__u32 delay_ms;
	__u32 flags;
	/* out */
	__u32 id;
};

struct hlrs_test_segment {
	__u64 dma_address;
	__u64 length;
};

/*
 * Map an attachment, after pinning it if its kind does, and wait for the
 * kernel's own fences (clearing, moving). Also fails with: EBUSY if it is mapped
 * already, as it is when a mapping was invalidated and not undone; those of the
 * exporter, unchanged; ETIME if a fence does not signal; EFAULT, which leaves it
 * unmapped.
 */
struct hlrs_test_map {
	/* Address of an array of struct hlrs_test_segment. */
	__u64 segments;
	__u32 id;
	/* As enum dma_data_direction: 0 both, 1 to the device, 2 from the device. */
	__u32 direction;
	/* Entries in the array. */
	__u32 max_segments;
	/* out: segments of the mapping, which can be more. */
	__u32 num_segments;
};

/*
 * UNMAP: at once, without waiting for any fence; ENOTCONN if it is not mapped.
 * DETACH: signals the fences, unmaps, detaches; nothing can fail but the id.
 * SIGNAL: signals the fences of the attachment. Waits for no lock.
 * VMAP: maps the buffer into the address space of the kernel; EBUSY if it is
 * already; the errors of the exporter.
 * VUNMAP: undoes that, as DETACH does; ENOTCONN if there is nothing.
 */
struct hlrs_test_id {
	__u32 id;
	__u32 pad;
};

/* Always set: what is detached is not found any more. */
#define HLRS_TEST_STATE_ATTACHED	(1 << 0)
#define HLRS_TEST_STATE_MAPPED		(1 << 1)
#define HLRS_TEST_STATE_PINNED		(1 << 2)
/* Mapped, but invalidated since: the importer owes an unmap. */
#define HLRS_TEST_STATE_STALE		(1 << 3)

/* Tell the state. Waits for no lock, so also while the exporter revokes. */
struct hlrs_test_state {
	__u32 id;
	/* out, as all that follows */
	__u32 flags;
	/* Calls of invalidate_mappings, mapped or not. */
	__u32 invalidations;
	/* Segments of the mapping, 0 without one. */
	__u32 segments;
	/* Fences that have not signalled. */
	__u32 fences;
	__u32 pad;
	/* From the first invalidation of the last mapping that had one to its end; 0 before. */
	__u64 unmap_ns;
};

/* READ, WRITE: through the mapping of the kernel, not that of the device. */
#define HLRS_TEST_ACCESS_VMAP		(1 << 0)

/*
 * READ, WRITE: the memory through the mapping, as the device would, also through
 * a stale one. Waits for no fences. Also fails with: ERANGE outside the buffer;
 * ENOTCONN if it is not mapped; EACCES if it is not mapped for this direction;
 * EOPNOTSUPP if the addresses are for an IOMMU that translates, and not the
 * CPU's; ENXIO if the mapping is shorter than the buffer; EFAULT. With
 * HLRS_TEST_ACCESS_VMAP only ERANGE, ENOTCONN and EFAULT are left.
 */
struct hlrs_test_access {
	/* Address of the data. */
	__u64 data;
	__u64 offset;
	__u64 length;
	__u32 id;
	__u32 flags;
};

/* Where in the reservation object a fence goes. */
enum hlrs_test_usage {
	HLRS_TEST_BOOKKEEP,
	HLRS_TEST_WRITE,
	HLRS_TEST_READ,
};

/*
 * Add a fence, as for a job that takes timeout_ms, 1 to HLRS_TEST_MAX_MS. Also
 * fails with: ESTALE if the mapping was invalidated: an importer must not begin
 * anything then.
 */
struct hlrs_test_fence {
	__u32 id;
	__u32 timeout_ms;
	__u32 usage;
	__u32 pad;
};

#define HLRS_TEST_IOC_ATTACH	_IOWR(0xb7, 0, struct hlrs_test_attach)
#define HLRS_TEST_IOC_MAP	_IOWR(0xb7, 1, struct hlrs_test_map)
#define HLRS_TEST_IOC_UNMAP	_IOW(0xb7, 2, struct hlrs_test_id)
#define HLRS_TEST_IOC_DETACH	_IOW(0xb7, 3, struct hlrs_test_id)
#define HLRS_TEST_IOC_STATE	_IOWR(0xb7, 4, struct hlrs_test_state)
#define HLRS_TEST_IOC_READ	_IOW(0xb7, 5, struct hlrs_test_access)
#define HLRS_TEST_IOC_WRITE	_IOW(0xb7, 6, struct hlrs_test_access)
#define HLRS_TEST_IOC_FENCE	_IOW(0xb7, 7, struct hlrs_test_fence)
#define HLRS_TEST_IOC_SIGNAL	_IOW(0xb7, 8, struct hlrs_test_id)
#define HLRS_TEST_IOC_VMAP	_IOW(0xb7, 9, struct hlrs_test_id)
#define HLRS_TEST_IOC_VUNMAP	_IOW(0xb7, 10, struct hlrs_test_id)

/*
 * mmap: the dma-buf of attachment N at N * HLRS_TEST_MMAP_STRIDE, by
 * dma_buf_mmap(). What may be done with the memory is the exporter's business:
 * the mode of this file says nothing about it. The attachment need not stay.
 * Also fails with the errors of dma_buf_mmap().
 */
#define HLRS_TEST_MMAP_STRIDE	(1ULL << 32)

#endif /* HLRS_TEST_IMPORTER_H */
