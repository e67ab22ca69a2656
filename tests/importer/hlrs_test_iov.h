/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Ioctls of /dev/hlrs-test-iov, for tests only. An open file is one attachment,
 * whose mapping is undone within invalidate_mappings().
 */
#ifndef HLRS_TEST_IOV_H
#define HLRS_TEST_IOV_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* How many ranges are told. */
#define HLRS_TEST_IOV_RANGES	8U

/*
 * Attach the device at a PCI address. Fails with: the errors of dma_buf_get();
 * ENXIO if there is no such device; EBUSY if the file is attached; those of
 * dma_buf_interconnect_attach().
 */
struct hlrs_test_iov_attach {
	__s32 fd;
	__u32 domain;
	__u8 bus;
	__u8 devfn;
	__u16 pad;
	/* The BAR through which the importer knows VFs. */
	__u32 bar;
};

struct hlrs_test_iov_range {
	__u64 offset;
	__u64 len;
	__u32 bar;
	__u32 pad;
};

/* Map, and tell what there is. Fails with ENOTCONN and the errors of the exporter. */
struct hlrs_test_iov_map {
	/* out, as all that follows: 1 if it is memory of a VF, 0 if a scatterlist. */
	__u32 native;
	/* Of memory of a VF: its number, from 1; whether the ranges pass the checks. */
	__u32 vf_number;
	__u32 valid;
	/* Number of ranges. */
	__u32 count;
	struct hlrs_test_iov_range ranges[HLRS_TEST_IOV_RANGES];
};

struct hlrs_test_iov_state {
	/* out */
	__u32 mapped;
	__u32 invalidations;
};

#define HLRS_TEST_IOV_IOC_ATTACH	_IOW(0xb7, 16, struct hlrs_test_iov_attach)
#define HLRS_TEST_IOV_IOC_MAP		_IOWR(0xb7, 17, struct hlrs_test_iov_map)
#define HLRS_TEST_IOV_IOC_STATE		_IOWR(0xb7, 18, struct hlrs_test_iov_state)

#endif /* HLRS_TEST_IOV_H */
