/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Userspace interface of the hlrs accelerator driver.
 *
 * The device is a DRM accel node, /dev/accel/accelN, one for the physical
 * function and one for each virtual function that the driver is bound to.
 * Rules that hold for every ioctl:
 *
 *  - An argument structure that has @extensions must have it 0: there are no
 *    extensions yet. Fields named pad or reserved, and bits of flags that are
 *    not defined here, must be zero. Otherwise the call fails with -EINVAL.
 *  - A call that fails has changed nothing, unless its description says more.
 *  - After the device was removed every call fails with -ENODEV. During a
 *    reset calls wait for its end.
 *  - Structures have the same layout for 32- and 64-bit processes.
 *
 * The fdinfo of an open file has the keys of drm-usage-stats. Its engine is
 * "copy"; what the NIC does is on the files of the NIC's driver, /dev/hlrs_nicN.
 * Its regions are "vram0" and "system", memory of this device, and "imported":
 * buffers made of dma-bufs of others, wherever their memory is. Further,
 * hlrs-exported is the size of the dma-bufs that the file has made and that
 * exist.
 *
 * Copying memory of an unreadable or unwritable argument fails with -EFAULT,
 * allocation failures with -ENOMEM, a pending signal with -EINTR or a restart
 * of the call; this is not repeated below.
 */
#ifndef _UAPI_DRM_HLRS_ACCEL_H_
#define _UAPI_DRM_HLRS_ACCEL_H_

#include <drm/drm.h>

#if defined(__cplusplus)
extern "C" {
#endif

/* Version of this interface; minor grows with every addition. */
#define DRM_HLRS_ABI_MAJOR	1
#define DRM_HLRS_ABI_MINOR	3

/* Ioctl numbers, relative to DRM_COMMAND_BASE. */
enum drm_hlrs_ioctl_id {
	DRM_HLRS_DEVICE_QUERY = 0,
	DRM_HLRS_MEM_CREATE,
	DRM_HLRS_MEM_MMAP_OFFSET,
	DRM_HLRS_MEM_COPY,
	DRM_HLRS_MEM_FILL,
	DRM_HLRS_MEM_CRC32C,
	DRM_HLRS_MEM_WAIT,
	DRM_HLRS_MEM_EXPORT,
	DRM_HLRS_MEM_REVOKE,
	DRM_HLRS_DEVICE_OWN,
	DRM_HLRS_VM_CREATE,
	DRM_HLRS_VM_DESTROY,
	DRM_HLRS_VM_BIND,
	DRM_HLRS_VM_QUERY,
	DRM_HLRS_VM_EXPORT,
	DRM_HLRS_QUEUE_CREATE,
	DRM_HLRS_QUEUE_DESTROY,
	DRM_HLRS_QUEUE_SUBMIT,
	DRM_HLRS_QUEUE_QUERY,
	DRM_HLRS_MEM_QUERY,
};

#define DRM_IOCTL_HLRS(nr, type) \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_HLRS_##nr, struct drm_hlrs_##type)

#define DRM_IOCTL_HLRS_DEVICE_QUERY	DRM_IOCTL_HLRS(DEVICE_QUERY, device_query)
#define DRM_IOCTL_HLRS_MEM_CREATE	DRM_IOCTL_HLRS(MEM_CREATE, mem_create)
#define DRM_IOCTL_HLRS_MEM_MMAP_OFFSET	DRM_IOCTL_HLRS(MEM_MMAP_OFFSET, mem_mmap_offset)
#define DRM_IOCTL_HLRS_MEM_COPY		DRM_IOCTL_HLRS(MEM_COPY, mem_copy)
#define DRM_IOCTL_HLRS_MEM_FILL		DRM_IOCTL_HLRS(MEM_FILL, mem_fill)
#define DRM_IOCTL_HLRS_MEM_CRC32C	DRM_IOCTL_HLRS(MEM_CRC32C, mem_crc32c)
#define DRM_IOCTL_HLRS_MEM_WAIT		DRM_IOCTL_HLRS(MEM_WAIT, mem_wait)
#define DRM_IOCTL_HLRS_MEM_EXPORT	DRM_IOCTL_HLRS(MEM_EXPORT, mem_export)
#define DRM_IOCTL_HLRS_MEM_REVOKE	DRM_IOCTL_HLRS(MEM_REVOKE, mem_revoke)
#define DRM_IOCTL_HLRS_DEVICE_OWN	DRM_IOCTL_HLRS(DEVICE_OWN, device_own)
#define DRM_IOCTL_HLRS_VM_CREATE	DRM_IOCTL_HLRS(VM_CREATE, vm_create)
#define DRM_IOCTL_HLRS_VM_DESTROY	DRM_IOCTL_HLRS(VM_DESTROY, vm_destroy)
#define DRM_IOCTL_HLRS_VM_BIND		DRM_IOCTL_HLRS(VM_BIND, vm_bind)
#define DRM_IOCTL_HLRS_VM_QUERY		DRM_IOCTL_HLRS(VM_QUERY, vm_query)
#define DRM_IOCTL_HLRS_VM_EXPORT	DRM_IOCTL_HLRS(VM_EXPORT, vm_export)
#define DRM_IOCTL_HLRS_QUEUE_CREATE	DRM_IOCTL_HLRS(QUEUE_CREATE, queue_create)
#define DRM_IOCTL_HLRS_QUEUE_DESTROY	DRM_IOCTL_HLRS(QUEUE_DESTROY, queue_destroy)
#define DRM_IOCTL_HLRS_QUEUE_SUBMIT	DRM_IOCTL_HLRS(QUEUE_SUBMIT, queue_submit)
#define DRM_IOCTL_HLRS_QUEUE_QUERY	DRM_IOCTL_HLRS(QUEUE_QUERY, queue_query)
#define DRM_IOCTL_HLRS_MEM_QUERY	DRM_IOCTL_HLRS(MEM_QUERY, mem_query)

/**
 * struct drm_hlrs_device_query - ask the driver about the device
 *
 * With @size 0 the call only sets @size to the number of bytes that the answer
 * takes. Otherwise @size must be at least that number (-EINVAL), the answer
 * goes to @data, and @size is set to the number of bytes written. An unknown
 * @query fails with -EINVAL.
 */
struct drm_hlrs_device_query {
	/** @extensions: must be zero */
	__u64 extensions;

#define DRM_HLRS_DEVICE_QUERY_INFO		0	/* struct drm_hlrs_query_info */
#define DRM_HLRS_DEVICE_QUERY_MEM_REGIONS	1	/* struct drm_hlrs_query_mem_regions */
#define DRM_HLRS_DEVICE_QUERY_ENGINES		2	/* struct drm_hlrs_query_engines */
	/** @query: what is asked, DRM_HLRS_DEVICE_QUERY_* */
	__u32 query;

	/** @size: in, room at @data; out, size of the answer; bytes */
	__u32 size;

	/** @data: user pointer to the answer */
	__u64 data;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_query_info - the device, DRM_HLRS_DEVICE_QUERY_INFO
 */
struct drm_hlrs_query_info {
	/** @abi_major: DRM_HLRS_ABI_MAJOR of the driver */
	__u32 abi_major;

	/** @abi_minor: DRM_HLRS_ABI_MINOR of the driver */
	__u32 abi_minor;

	/** @device_id: PCI vendor in the low 16 bits, PCI device in the high 16 */
	__u32 device_id;

	/** @revision: PCI revision */
	__u32 revision;

	/** @uid: unique number of the card, the same for a PF and its VFs */
	__u64 uid;

#define DRM_HLRS_SRIOV_NONE	0	/* a PF without SR-IOV */
#define DRM_HLRS_SRIOV_PF	1
#define DRM_HLRS_SRIOV_VF	2
	/** @sriov_mode: DRM_HLRS_SRIOV_* */
	__u32 sriov_mode;

	/** @vf_id: 0 on a PF, otherwise the number of the VF, from 1 */
	__u32 vf_id;

#define DRM_HLRS_CAP_P2P	(1ull << 0)	/* exports can be imported by PCIe peers */
#define DRM_HLRS_CAP_LINK	(1ull << 1)	/* the card has a link to another card */
	/** @capabilities: DRM_HLRS_CAP_* */
	__u64 capabilities;

	/** @max_copy_size: largest size of one copy, fill or checksum, bytes */
	__u64 max_copy_size;

	/** @reserved: zero */
	__u64 reserved[4];
};

/**
 * struct drm_hlrs_mem_region - a place that memory can be allocated in
 */
struct drm_hlrs_mem_region {
#define DRM_HLRS_MEM_CLASS_SYSMEM	0
#define DRM_HLRS_MEM_CLASS_LMEM		1
	/** @mem_class: DRM_HLRS_MEM_CLASS_* */
	__u16 mem_class;

	/** @instance: number of the region, its bit in &drm_hlrs_mem_create.region */
	__u16 instance;

	/** @min_page_size: smallest unit of allocation and alignment, bytes */
	__u32 min_page_size;

	/** @total_size: bytes of the region; 0 for system memory, which has no limit of its own */
	__u64 total_size;

	/** @used: bytes allocated now, by all clients */
	__u64 used;

	/** @cpu_visible_size: bytes of the region that the CPU and PCIe peers can reach */
	__u64 cpu_visible_size;

	/** @cpu_visible_used: bytes allocated of the CPU-visible part */
	__u64 cpu_visible_used;

	/** @reserved: zero */
	__u64 reserved[3];
};

/**
 * struct drm_hlrs_query_mem_regions - DRM_HLRS_DEVICE_QUERY_MEM_REGIONS
 */
struct drm_hlrs_query_mem_regions {
	/** @num_regions: elements of @regions */
	__u32 num_regions;

	/** @pad: zero */
	__u32 pad;

	/** @regions: the regions */
	struct drm_hlrs_mem_region regions[];
};

/**
 * struct drm_hlrs_engine - engines of one class
 */
struct drm_hlrs_engine {
#define DRM_HLRS_ENGINE_CLASS_COPY	0
#define DRM_HLRS_ENGINE_CLASS_NIC	1
	/** @engine_class: DRM_HLRS_ENGINE_CLASS_* */
	__u16 engine_class;

	/** @capacity: number of engines of the class */
	__u16 capacity;

	/** @pad: zero */
	__u32 pad;

	/** @reserved: zero */
	__u64 reserved[3];
};

/**
 * struct drm_hlrs_query_engines - DRM_HLRS_DEVICE_QUERY_ENGINES
 */
struct drm_hlrs_query_engines {
	/** @num_engines: elements of @engines */
	__u32 num_engines;

	/** @pad: zero */
	__u32 pad;

	/** @engines: the classes */
	struct drm_hlrs_engine engines[];
};

/**
 * struct drm_hlrs_mem_create - create a buffer
 *
 * The memory is zero when the call returns. It is closed with
 * DRM_IOCTL_GEM_CLOSE, shared with DRM_IOCTL_PRIME_HANDLE_TO_FD.
 *
 * Errors: -EINVAL, @size is 0 or not a multiple of @page_size, or @page_size
 * is not one of the allowed, or a flag does not fit the region; -ENXIO, no
 * such region; -E2BIG, @size is larger than the region, or than the CPU-visible
 * part where that is asked for, or than the machine's memory; -ENOSPC, the
 * region, or the CPU-visible part of it, is full, or no contiguous range is
 * left.
 */
struct drm_hlrs_mem_create {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @size: bytes */
	__u64 size;

	/** @region: instance of a memory region, from the query */
	__u32 region;

#define DRM_HLRS_MEM_CONTIGUOUS		(1u << 0)	/* LMEM: one contiguous range */
#define DRM_HLRS_MEM_CPU_VISIBLE	(1u << 1)	/* LMEM: inside the aperture */
	/** @flags: DRM_HLRS_MEM_* */
	__u32 flags;

	/**
	 * @page_size: least alignment and size of each block of the buffer: 0
	 * for the region's minimum, otherwise 4096, 65536 or 2097152. System
	 * memory takes 0 and 4096.
	 */
	__u32 page_size;

	/** @handle: out, the GEM handle */
	__u32 handle;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_mem_mmap_offset - offset for mmap() on the device file
 *
 * An access to a mapping whose memory is gone (device removed, buffer revoked)
 * raises SIGBUS. Memory keeps its contents over a reset of the device: an
 * access meanwhile waits for its end, and raises SIGBUS only if that does not
 * come within 2 seconds.
 *
 * Errors: -ENOENT, no such handle; -ENXIO, part of the buffer lies outside
 * the aperture; -EOPNOTSUPP, the buffer was imported.
 */
struct drm_hlrs_mem_mmap_offset {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @handle: GEM handle */
	__u32 handle;

	/** @flags: must be zero */
	__u32 flags;

	/** @offset: out, for mmap() */
	__u64 offset;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/*
 * For MEM_COPY and MEM_FILL: return when the job is queued, not when it is
 * done. MEM_WAIT, and every other user of the buffers, waits for it.
 */
#define DRM_HLRS_MEM_OP_ASYNC	(1u << 0)

/**
 * struct drm_hlrs_mem_copy - copy between buffers by the device
 *
 * Source and destination may be the same buffer, but not overlap.
 *
 * Errors, of this and the next two: -ENOENT, no such handle; -EINVAL, @size is
 * 0, or the ranges overlap; -ERANGE, a range ends beyond its buffer;
 * -EOVERFLOW, offset plus size exceeds 64 bits; -EACCES, the buffer was
 * imported from a dma-buf that does not allow it; -EIO, the device reported a
 * fault; -ETIMEDOUT, the job did not end in time and its queue was reset;
 * -ECANCELED, the device was reset before the job ended. When one of the last
 * three is returned the destination is undefined.
 */
struct drm_hlrs_mem_copy {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @src_handle: GEM handle of the source */
	__u32 src_handle;

	/** @dst_handle: GEM handle of the destination */
	__u32 dst_handle;

	/** @src_offset: bytes */
	__u64 src_offset;

	/** @dst_offset: bytes */
	__u64 dst_offset;

	/** @size: bytes */
	__u64 size;

	/** @flags: DRM_HLRS_MEM_OP_* */
	__u32 flags;

	/** @pad: must be zero */
	__u32 pad;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_mem_fill - fill a range of a buffer by the device
 *
 * @pattern is laid down little-endian and repeated from @offset on. Errors as
 * for &struct drm_hlrs_mem_copy.
 */
struct drm_hlrs_mem_fill {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @handle: GEM handle */
	__u32 handle;

	/** @flags: DRM_HLRS_MEM_OP_* */
	__u32 flags;

	/** @offset: bytes */
	__u64 offset;

	/** @size: bytes */
	__u64 size;

	/** @pattern: eight bytes */
	__u64 pattern;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_mem_crc32c - checksum of a range of a buffer by the device
 *
 * CRC-32C (Castagnoli) as in iSCSI and ext4. Errors as for &struct
 * drm_hlrs_mem_copy.
 */
struct drm_hlrs_mem_crc32c {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @handle: GEM handle */
	__u32 handle;

	/** @flags: must be zero */
	__u32 flags;

	/** @offset: bytes */
	__u64 offset;

	/** @size: bytes */
	__u64 size;

	/** @crc: in, the checksum of what comes before the range, or 0; out, the checksum */
	__u32 crc;

	/** @pad: must be zero */
	__u32 pad;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_mem_export - make a dma-buf of a range of a buffer
 *
 * Each call makes a new dma-buf, also for a range that was exported before.
 * The dma-buf holds the buffer, not the open file: importers keep what they
 * have mapped when the handle, the file or the process is gone.
 *
 * The access mode in @fd_flags is what importers get: a dma-buf that was
 * exported with O_RDONLY can neither be mapped for writing by a device nor
 * written to by the CPU, also not through a file of the importer. The kernel's
 * own mappings, which are for reading and writing, need O_RDWR.
 *
 * LMEM goes to PCIe peers that support memory without pages, can be told to
 * let go of it, and have a route to the aperture; others are refused when they
 * attach, with -EOPNOTSUPP and a debug message that says why. System memory
 * goes to any importer.
 *
 * Only the copying of this structure to user space comes after the descriptor
 * was installed: if that fails with -EFAULT the descriptor exists, as with
 * every ioctl of DRM.
 *
 * A buffer of which the range lies outside the aperture is moved into it, after
 * the jobs that use it have ended, and stays there. If that fails the memory is
 * where it was.
 *
 * Errors: -ENOENT, no such handle; -EINVAL, an unknown flag in @flags or
 * @fd_flags, no access mode, or a field that must be zero and is not; -EINVAL,
 * @offset or @size is not a multiple of 4096, or the range ends beyond the
 * buffer or is empty; -EOVERFLOW, @offset plus @size exceeds 64 bits; -ENXIO,
 * the range lies outside the aperture, and the buffer cannot be moved into it,
 * for want of room or because another part of it was exported; -ETIMEDOUT, the
 * buffer has to be moved, and its jobs did not end within 10 s; -EIO,
 * -ETIMEDOUT or -ECANCELED, the copy of the move failed as a MEM_COPY does;
 * -EOPNOTSUPP, the buffer was imported, or the device offers no peer-to-peer
 * memory; -EDQUOT, the file has exported as much as the module parameter
 * export_limit_mib allows; -EMFILE, the process has too many descriptors;
 * -EADDRNOTAVAIL, there is no PCI function @peer; -ENODEV, the device is gone.
 */
struct drm_hlrs_mem_export {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @handle: GEM handle */
	__u32 handle;

/*
 * Do not export, and do not move the buffer: only find out whether it could be
 * exported now, with the errors that the export would have, and to whom.
 */
#define DRM_HLRS_MEM_EXPORT_PROBE	(1u << 0)
/* With PROBE: what @importers says is about the PCI function @peer. */
#define DRM_HLRS_MEM_EXPORT_PROBE_PEER	(1u << 1)
	/** @flags: DRM_HLRS_MEM_EXPORT_* */
	__u32 flags;

	/** @offset: where the range begins, bytes */
	__u64 offset;

	/** @size: bytes; 0 for everything from @offset on */
	__u64 size;

	/** @fd_flags: O_CLOEXEC, and O_RDONLY, O_WRONLY or O_RDWR */
	__u32 fd_flags;

	/** @fd: out, the dma-buf; -1 after a probe */
	__s32 fd;

	/**
	 * @peer: for PROBE_PEER, a PCI address: domain << 16 | bus << 8 |
	 * device << 3 | function; must be zero otherwise
	 */
	__u32 peer;

#define DRM_HLRS_IMPORTER_REVOCABLE	(1u << 0)	/* one that can be told to let go */
#define DRM_HLRS_IMPORTER_PINNED	(1u << 1)	/* one that cannot, see DEVICE_OWN */
#define DRM_HLRS_IMPORTER_STATIC	(1u << 2)	/* one that needs memory with pages */
	/** @importers: out, after a probe: who may attach, DRM_HLRS_IMPORTER_* */
	__u32 importers;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_mem_revoke - take back what was exported of a buffer
 *
 * Applies to the dma-bufs that this open file has made of the buffer, by
 * MEM_EXPORT or by PRIME. Other files of the same device that have imported the
 * whole buffer with all rights have the buffer itself, and keep it. Importers are told to let go; those that use the
 * memory are waited for, in all at most as long as the module parameter
 * revoke_timeout_ms says. Afterwards importers get -ENODEV when they map, and
 * the CPU SIGBUS when it accesses a mapping of the dma-buf.
 *
 * With DRM_HLRS_MEM_REVOKE_UNDO importers may map again. What was revoked for
 * another reason, such as a reset, comes back when that is over.
 *
 * Errors: -ENOENT, no such handle; -ETIMEDOUT, an importer has not let go. It
 * is named in the kernel's log, and the memory is not used for anything else
 * until it does; no further importer can map.
 */
struct drm_hlrs_mem_revoke {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @handle: GEM handle */
	__u32 handle;

#define DRM_HLRS_MEM_REVOKE_UNDO	(1u << 0)
	/** @flags: DRM_HLRS_MEM_REVOKE_* */
	__u32 flags;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_device_own - have the device to oneself
 *
 * While a file owns the device, every open of the node fails with -EBUSY. If
 * the module parameter pinned_importers is "own", importers that cannot be
 * revoked may attach to what the owner exports; they would be refused
 * otherwise. The ownership ends with the file, or when it is released. As long
 * as such an importer is attached the device cannot be owned anew; debugfs
 * names it.
 *
 * Errors: -EINVAL, no such operation; -EBUSY, another file is open, a pinned
 * importer is still attached, or the file owns the device already; -EPERM, release by a file that does not
 * own the device.
 */
struct drm_hlrs_device_own {
	/** @extensions: must be zero */
	__u64 extensions;

#define DRM_HLRS_DEVICE_OWN_ACQUIRE	0
#define DRM_HLRS_DEVICE_OWN_RELEASE	1
	/** @op: DRM_HLRS_DEVICE_OWN_* */
	__u32 op;

	/** @pad: must be zero */
	__u32 pad;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_mem_wait - wait until nothing uses a buffer any more
 *
 * Waits for all jobs, of whatever process and device, that read or write the
 * buffer. Errors: -ENOENT, no such handle; -ETIME, the time is up; -EIO, one
 * of the jobs of this device that wrote the buffer failed since the last wait
 * that reported it.
 */
struct drm_hlrs_mem_wait {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @handle: GEM handle */
	__u32 handle;

	/** @flags: must be zero */
	__u32 flags;

	/** @timeout_ns: longest time to wait, relative, nanoseconds; 0 only asks */
	__u64 timeout_ns;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_sync - a DRM syncobj to wait for, or to signal
 *
 * Without SIGNAL the operation begins after the fence that the syncobj has now
 * (or will have at the point @timeline_value, if that was submitted). With
 * SIGNAL the syncobj gets the fence of the operation, which carries its error.
 * What became of the work that was waited for makes no difference: an operation
 * begins also after a fence with an error.
 *
 * Errors: -ENOENT, no such syncobj; -EINVAL, no fence to wait for, a timeline
 * value of 0, or one without TIMELINE.
 */
struct drm_hlrs_sync {
	/** @handle: handle of the syncobj */
	__u32 handle;

#define DRM_HLRS_SYNC_SIGNAL	(1u << 0)
#define DRM_HLRS_SYNC_TIMELINE	(1u << 1)
	/** @flags: DRM_HLRS_SYNC_* */
	__u32 flags;

	/** @timeline_value: with TIMELINE the point, otherwise zero */
	__u64 timeline_value;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/* Most elements of an array of struct drm_hlrs_sync. */
#define DRM_HLRS_MAX_SYNCS	64

/**
 * struct drm_hlrs_vm_create - create a device address space
 *
 * Addresses have 48 bits. Nothing is mapped at first. The VM has a context of
 * the device to itself until it is destroyed.
 *
 * Errors: -EMFILE, the file has 8 VMs; -ENOSPC, all contexts of the device are
 * taken, or the CPU-visible LMEM has no room for a page table.
 */
struct drm_hlrs_vm_create {
	/** @extensions: must be zero */
	__u64 extensions;

/*
 * The file descriptor of VM_EXPORT may be used by any process that gets hold of
 * it, not only by those with the credentials of the exporting one.
 */
#define DRM_HLRS_VM_CREATE_SHARED	(1u << 0)
	/** @flags: DRM_HLRS_VM_CREATE_* */
	__u32 flags;

	/** @vm_id: out, number of the VM within the file, never 0 */
	__u32 vm_id;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_vm_destroy - destroy a device address space
 *
 * What is mapped in it is unmapped. The fences of binds that still wait signal
 * with -ECANCELED, not before what they wait for.
 *
 * Errors: -ENOENT, no such VM; -EBUSY, it has queues, is exported, or is
 * registered with another driver.
 */
struct drm_hlrs_vm_destroy {
	/** @vm_id: number of the VM */
	__u32 vm_id;

	/** @pad: must be zero */
	__u32 pad;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_vm_bind_op - map or unmap a range of addresses
 *
 * MAP replaces whatever is mapped in the range, UNMAP removes it; mappings that
 * are only partly in the range keep the rest. @va and @range are multiples of
 * 4096.
 */
struct drm_hlrs_vm_bind_op {
#define DRM_HLRS_VM_BIND_OP_MAP		0
#define DRM_HLRS_VM_BIND_OP_UNMAP	1
	/** @op: DRM_HLRS_VM_BIND_OP_* */
	__u32 op;

#define DRM_HLRS_VM_BIND_READONLY	(1u << 0)	/* writing faults */
#define DRM_HLRS_VM_BIND_NULL		(1u << 1)	/* reads zeros, drops writes; no buffer */
	/** @flags: for MAP, DRM_HLRS_VM_BIND_*; for UNMAP zero */
	__u32 flags;

	/** @handle: for MAP without NULL, GEM handle; otherwise zero */
	__u32 handle;

	/** @pad: must be zero */
	__u32 pad;

	/** @va: first address */
	__u64 va;

	/** @range: bytes */
	__u64 range;

	/**
	 * @offset: for MAP without NULL, where in the buffer the mapping begins,
	 * a multiple of 4096; otherwise zero
	 */
	__u64 offset;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/* Most operations of one VM_BIND. */
#define DRM_HLRS_MAX_BIND_OPS	4096

/**
 * struct drm_hlrs_vm_bind - map and unmap ranges of a device address space
 *
 * The operations take effect in their order. If one of them cannot be done,
 * none is, and @failed_op is its index. Without syncobjs to wait for, the call
 * returns when it is done; otherwise it is done when these have signalled, and
 * jobs that are submitted later wait for that. Binds of a VM are done in their
 * order: a call without syncobjs to wait for waits for those before it.
 *
 * Jobs in flight are not waited for: what they access must not be unmapped.
 *
 * A buffer that is moved, or taken back by its exporter, is unmapped by the
 * kernel, and mapped again by the next submission.
 *
 * Errors: -ENOENT, no such VM, buffer or syncobj; -EINVAL, no operation, an
 * unknown one, unaligned addresses or sizes, a range of 0 bytes; -EOVERFLOW, a
 * sum exceeds 64 bits; -EADDRNOTAVAIL, a range ends beyond 48 bits; -ERANGE, it
 * ends beyond the buffer; -E2BIG, too many operations or syncobjs; -EACCES, the
 * buffer was imported read-only and READONLY is missing, or write-only;
 * -ENOSPC, no room for page tables; -ECANCELED, the VM is banned; -ENODEV, the
 * device is gone, or an exporter has taken its memory back; otherwise the error
 * of the exporter of an imported buffer.
 *
 * When the call fails before it looks at operations, @failed_op is ~0.
 */
struct drm_hlrs_vm_bind {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @vm_id: number of the VM */
	__u32 vm_id;

	/** @flags: must be zero */
	__u32 flags;

	/** @ops: user pointer to an array of struct drm_hlrs_vm_bind_op */
	__u64 ops;

	/** @syncs: user pointer to an array of struct drm_hlrs_sync */
	__u64 syncs;

	/** @num_ops: operations */
	__u32 num_ops;

	/** @num_syncs: syncobjs */
	__u32 num_syncs;

	/** @failed_op: out, index of the operation that failed, or ~0 */
	__u32 failed_op;

	/** @pad: must be zero */
	__u32 pad;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_fault - why a VM was banned
 */
struct drm_hlrs_fault {
	/** @va: address of the access that failed; 0 after a time-out */
	__u64 va;

#define DRM_HLRS_FAULT_NONE		0	/* not banned */
#define DRM_HLRS_FAULT_NOT_PRESENT	1	/* nothing is mapped at @va */
#define DRM_HLRS_FAULT_READ_ONLY	2	/* a write to a read-only mapping */
#define DRM_HLRS_FAULT_VA_RANGE		3	/* beyond the address space */
#define DRM_HLRS_FAULT_BUS		4	/* the memory behind @va did not answer */
#define DRM_HLRS_FAULT_LMEM_ERROR	5	/* uncorrectable error in LMEM */
#define DRM_HLRS_FAULT_TIMEOUT		6	/* a job did not end in time */
#define DRM_HLRS_FAULT_OTHER		7
	/** @reason: DRM_HLRS_FAULT_* */
	__u32 reason;

#define DRM_HLRS_FAULT_WRITE	(1u << 0)
	/** @flags: DRM_HLRS_FAULT_WRITE if the access was a write */
	__u32 flags;

	/** @queue_id: the queue whose job failed */
	__u32 queue_id;

	/** @pad: zero */
	__u32 pad;

	/** @reserved: zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_vm_query - the state of a device address space
 *
 * Errors: -ENOENT, no such VM.
 */
struct drm_hlrs_vm_query {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @vm_id: number of the VM */
	__u32 vm_id;

#define DRM_HLRS_VM_BANNED	(1u << 0)	/* by a fault; only destroying it is left */
#define DRM_HLRS_VM_EXPORTED	(1u << 1)	/* a descriptor of VM_EXPORT is open */
#define DRM_HLRS_VM_REGISTERED	(1u << 2)	/* with another driver */
	/** @state: out, DRM_HLRS_VM_* */
	__u32 state;

	/** @fault: out, why it was banned */
	struct drm_hlrs_fault fault;

	/** @mapped: out, bytes of addresses that are mapped */
	__u64 mapped;

	/** @page_tables: out, bytes of LMEM that page tables take */
	__u64 page_tables;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_vm_export - a file descriptor for a device address space
 *
 * Other drivers of the same device take the descriptor and access the address
 * space through their own engines. The descriptor has O_CLOEXEC set; it can be
 * duplicated, inherited and sent to another process. A driver accepts it from a
 * process with the credentials of the one that has called VM_EXPORT, or from
 * anybody if the VM was created with SHARED. When this device file is closed
 * the other drivers lose access, and the descriptor is good for nothing.
 *
 * Errors: -ENOENT, no such VM, or it is banned; -EEXIST, a descriptor of the VM
 * is open already; -EMFILE, no descriptor is free.
 */
struct drm_hlrs_vm_export {
	/** @vm_id: number of the VM */
	__u32 vm_id;

	/** @pad: must be zero */
	__u32 pad;

	/** @fd: out, the descriptor */
	__s32 fd;

	/** @pad1: must be zero */
	__u32 pad1;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_queue_create - create a queue of jobs
 *
 * The jobs of a queue run in their order, in the address space of one VM.
 * Files take turns on the device's engines, and so do the queues of a file.
 *
 * Errors: -ENOENT, no such VM; -ECANCELED, the VM is banned; -EINVAL, no such
 * engine class; -EMFILE, the file has 64 queues.
 */
struct drm_hlrs_queue_create {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @vm_id: number of the VM */
	__u32 vm_id;

	/** @engine_class: DRM_HLRS_ENGINE_CLASS_COPY */
	__u32 engine_class;

	/** @flags: must be zero */
	__u32 flags;

	/** @queue_id: out, number of the queue within the file, never 0 */
	__u32 queue_id;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_queue_destroy - destroy a queue
 *
 * Jobs that have not begun end with -ECANCELED, those that wait for syncobjs not
 * before these have signalled. One that runs is waited for.
 * Errors: -ENOENT, no such queue.
 */
struct drm_hlrs_queue_destroy {
	/** @queue_id: number of the queue */
	__u32 queue_id;

	/** @pad: must be zero */
	__u32 pad;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_command - something for the engine to do
 *
 * COPY moves @size bytes from @src to @dst, which must not overlap; FILL writes
 * the eight bytes of @data to @dst over and over; CRC32C writes the CRC-32C of
 * @size bytes at @src, as if they followed bytes with the checksum @data, to
 * @dst as two 32-bit words, the checksum and 1; FENCE writes @data and the
 * device time in nanoseconds, 64 bits each, to @dst, a multiple of 16. HANG
 * never ends; it is for tests and needs CAP_SYS_ADMIN.
 *
 * Addresses are those of the VM. What a command does not name must be zero.
 */
struct drm_hlrs_command {
#define DRM_HLRS_COMMAND_COPY	0
#define DRM_HLRS_COMMAND_FILL	1
#define DRM_HLRS_COMMAND_CRC32C	2
#define DRM_HLRS_COMMAND_FENCE	3
#define DRM_HLRS_COMMAND_HANG	4
	/** @op: DRM_HLRS_COMMAND_* */
	__u32 op;

	/** @flags: must be zero */
	__u32 flags;

	/** @src: address that is read */
	__u64 src;

	/** @dst: address that is written */
	__u64 dst;

	/** @size: bytes, 1 to 2^32 */
	__u64 size;

	/** @data: see above */
	__u64 data;

	/** @reserved: must be zero */
	__u64 reserved;
};

/* Most commands of one job. */
#define DRM_HLRS_MAX_COMMANDS	64

/**
 * struct drm_hlrs_queue_submit - submit a job
 *
 * The commands are done in their order, when the syncobjs to wait for have
 * signalled. Syncobjs to signal get the job's fence. Its error is -EFAULT after
 * a fault, -ETIMEDOUT when the job did not end in time; both ban the VM with
 * its queues. It is -ECANCELED if the VM was banned by another job, the queue
 * was destroyed, or the device was reset; -ENODEV if the device is gone.
 *
 * Errors: -ENOENT, no such queue or syncobj; -EINVAL, no command, an unknown
 * one, a size of 0, @dst of a FENCE that is unaligned, or a field that must be
 * zero; -E2BIG, too many commands or syncobjs, or a size beyond 2^32;
 * -EOVERFLOW, address plus size exceeds 64 bits; -EADDRNOTAVAIL, it exceeds 48
 * bits; -EPERM, HANG without CAP_SYS_ADMIN; -ECANCELED, the VM is banned;
 * -EFAULT, a buffer that was taken from the VM cannot be mapped again, and
 * @fault_va is where it was mapped.
 */
struct drm_hlrs_queue_submit {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @queue_id: number of the queue */
	__u32 queue_id;

	/** @flags: must be zero */
	__u32 flags;

	/** @commands: user pointer to an array of struct drm_hlrs_command */
	__u64 commands;

	/** @syncs: user pointer to an array of struct drm_hlrs_sync */
	__u64 syncs;

	/** @num_commands: commands */
	__u32 num_commands;

	/** @num_syncs: syncobjs */
	__u32 num_syncs;

	/** @fault_va: out, an address that cannot be mapped; otherwise ~0 */
	__u64 fault_va;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_queue_query - the state of a queue
 *
 * Errors: -ENOENT, no such queue.
 */
struct drm_hlrs_queue_query {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @queue_id: number of the queue */
	__u32 queue_id;

#define DRM_HLRS_QUEUE_BANNED	(1u << 0)	/* with its VM; jobs are refused */
	/** @state: out, DRM_HLRS_QUEUE_* */
	__u32 state;

	/** @vm_id: out, number of the VM */
	__u32 vm_id;

	/**
	 * @pending: out, jobs that have not ended; shortly after its fence has
	 * signalled a job may still be counted
	 */
	__u32 pending;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

/**
 * struct drm_hlrs_mem_query - how the memory of a buffer is reached
 *
 * A buffer that PRIME has made of a dma-buf of another device is reached over
 * the bus, by a scatterlist, or natively: if the memory is that of a VF and
 * the buffer one of its PF, the PF's engines find it inside the device; if it
 * is that of the card at the other end of a link, they reach it over the link.
 * Which of these, is agreed with the exporter when the buffer is made, and does not
 * change afterwards.
 *
 * Making a buffer of a VF's memory on its PF fails with -ERANGE if the exporter
 * names something beyond the VF's memory or aperture, -E2BIG if he names more
 * ranges than the buffer has pages, and -EINVAL if they overlap, are not whole
 * pages, are of another BAR, or have not the size of the buffer together. What
 * he names later, after he has moved the memory, is checked as well: jobs fail
 * with these errors then. -ENODEV: the VF is not there any more.
 *
 * Errors: -ENOENT, no such handle.
 */
struct drm_hlrs_mem_query {
	/** @extensions: must be zero */
	__u64 extensions;

	/** @handle: GEM handle */
	__u32 handle;

	/** @flags: must be zero */
	__u32 flags;

	/** @size: out, bytes of the buffer */
	__u64 size;

#define DRM_HLRS_MEM_PATH_OWN	0	/* memory of this function, or system memory that it has allocated */
#define DRM_HLRS_MEM_PATH_SGT	1	/* imported, by a scatterlist */
#define DRM_HLRS_MEM_PATH_IOV	2	/* imported, memory of a VF, inside the device */
#define DRM_HLRS_MEM_PATH_LINK	3	/* imported, memory of the card at the other end of the link */
	/** @path: out, DRM_HLRS_MEM_PATH_* */
	__u32 path;

#define DRM_HLRS_MEM_REASON_NONE	0	/* it is no scatterlist */
#define DRM_HLRS_MEM_REASON_EXPORTER	1	/* the exporter knows of nothing else */
#define DRM_HLRS_MEM_REASON_IMPORTER	2	/* this function is no PF that can have VFs */
#define DRM_HLRS_MEM_REASON_UNRELATED	3	/* it is not device memory of a VF of this function, nor of the card it is linked with */
	/** @reason: out, why it is a scatterlist, DRM_HLRS_MEM_REASON_* */
	__u32 reason;

	/** @vf_id: out, number of the VF whose memory it is, from 1; 0 if it is none */
	__u32 vf_id;

	/** @ranges: out, ranges of the VF's BAR, or of the other card, that the exporter has named; 0 while nothing is mapped */
	__u32 ranges;

	/** @extents: out, contiguous pieces of device memory that these are */
	__u32 extents;

	/** @pad: must be zero */
	__u32 pad;

	/** @reserved: must be zero */
	__u64 reserved[2];
};

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_DRM_HLRS_ACCEL_H_ */
