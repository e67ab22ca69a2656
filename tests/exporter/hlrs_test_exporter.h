/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interface of /dev/hlrs-test-exporter, for the end-to-end tests.
 *
 * A dma-buf of this exporter has no memory. It is offered as memory of a VF, by
 * the interconnect and in no other way, and consists of whatever ranges of the
 * VF's BAR the test names: nothing of what is named is checked.
 */
#ifndef _HLRS_TEST_EXPORTER_H_
#define _HLRS_TEST_EXPORTER_H_

#include <linux/ioctl.h>
#include <linux/types.h>

/* Most ranges of a buffer. */
#define HLRS_TEST_MAX_RANGES	(1u << 20)

/**
 * struct hlrs_test_range - a range of a BAR
 * @offset: from the beginning of the BAR, bytes
 * @len: bytes
 * @bar: number of the BAR
 * @pad: ignored
 */
struct hlrs_test_range {
	__u64 offset;
	__u64 len;
	__u32 bar;
	__u32 pad;
};

/**
 * struct hlrs_test_export - make a dma-buf
 * @ranges: user pointer to an array of &struct hlrs_test_range
 * @size: size of the dma-buf, bytes; not 0 (-EINVAL)
 * @count: elements of @ranges, at most HLRS_TEST_MAX_RANGES (-E2BIG)
 * @bar: the BAR that is offered
 * @domain: of the PCI address of the function that is offered
 * @bus: of that address
 * @devfn: of that address; -ENODEV if there is no such function
 * @pad: must be 0 (-EINVAL)
 * @fd: out, the descriptor
 * @pad1: must be 0 (-EINVAL)
 */
struct hlrs_test_export {
	__u64 ranges;
	__u64 size;
	__u32 count;
	__u32 bar;
	__u32 domain;
	__u8 bus;
	__u8 devfn;
	__u16 pad;
	__s32 fd;
	__u32 pad1;
};

/**
 * struct hlrs_test_change - change what a dma-buf consists of
 * @ranges: user pointer to an array of &struct hlrs_test_range
 * @count: elements of @ranges, as above
 * @fd: a descriptor of a dma-buf of this exporter (-EINVAL)
 * @silent: whether importers are not told: they keep the old mapping
 * @mappings: out, number of mappings that there are afterwards
 */
struct hlrs_test_change {
	__u64 ranges;
	__u32 count;
	__s32 fd;
	__u32 silent;
	__u32 mappings;
};

#define HLRS_TEST_IOC_EXPORT	_IOWR('x', 0, struct hlrs_test_export)
#define HLRS_TEST_IOC_CHANGE	_IOWR('x', 1, struct hlrs_test_change)

#endif /* _HLRS_TEST_EXPORTER_H_ */
