/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hardware interface of the HLRS accelerator: the one place for every number
 * that the driver and the device model share. The register specification is
 * docs/hardware.md; this header is its machine-readable form.
 *
 * Plain C preprocessor constants and fixed-width structures only: the header
 * is read by the C compiler of the device model, by bindgen for the driver
 * and by the tests. Registers of 64 bits take one 64-bit access or two of 32
 * bits, low half first. All structures are little-endian.
 */
#ifndef HLRS_HW_H
#define HLRS_HW_H

/* PCI identity. */
#define HLRS_PCI_VENDOR_ID		0x1af4
#define HLRS_PCI_DEVICE_ID_PF		0x10f0
#define HLRS_PCI_DEVICE_ID_VF		0x10f1
#define HLRS_PCI_CLASS			0x1200	/* processing accelerator */
#define HLRS_PCI_REVISION		0x01

/* BARs, the same on PF and VF. */
#define HLRS_BAR_REGS			0	/* 64-bit, HLRS_REGS_SIZE */
#define HLRS_BAR_LMEM			2	/* 64-bit prefetchable aperture */
#define HLRS_BAR_MSIX			4	/* 64-bit, MSI-X table and PBA */
#define HLRS_REGS_SIZE			0x10000
#define HLRS_MSIX_SIZE			0x4000
#define HLRS_MSIX_PBA_OFFSET		0x2000

/* Limits. */
#define HLRS_NR_VECTORS			8
#define HLRS_NR_CTX			32
#define HLRS_NR_COPY_QUEUES		16	/* queues 0 to 15 */
#define HLRS_NR_NIC_QUEUES		2	/* queues 16 and 17 */
#define HLRS_NR_QUEUES			(HLRS_NR_COPY_QUEUES + HLRS_NR_NIC_QUEUES)
#define HLRS_MAX_VFS			63
#define HLRS_LMTT_GRANULE_SHIFT		21
#define HLRS_LMTT_GRANULE		0x200000

/* Global block. */
#define HLRS_REG_ID			0x0000	/* RO */
#define   HLRS_ID			0x53524c48	/* "HLRS" */
#define HLRS_REG_VERSION		0x0004	/* RO, major in 31:16, minor in 15:0 */
#define   HLRS_VERSION			0x00010000
#define HLRS_REG_CAPS			0x0008	/* RO */
#define   HLRS_CAPS_VF			(1u << 0)	/* this function is a VF */
#define   HLRS_CAPS_LINK		(1u << 1)	/* has a link port */
#define   HLRS_CAPS_INJECT		(1u << 2)	/* error injection present */
#define   HLRS_CAPS_NR_CTX_SHIFT	8
#define   HLRS_CAPS_NR_CTX_MASK		0x0000ff00u
#define   HLRS_CAPS_NR_QUEUES_SHIFT	16
#define   HLRS_CAPS_NR_QUEUES_MASK	0x00ff0000u
#define HLRS_REG_FUNCTION		0x000c	/* RO, 0 for the PF, n for VF n (from 1) */
#define HLRS_REG_LMEM_SIZE		0x0010	/* RO 64: PF all of LMEM, VF its quota */
#define HLRS_REG_APERTURE_SIZE		0x0018	/* RO 64: size of BAR2 */
#define HLRS_REG_STATUS			0x0020	/* RO */
#define   HLRS_STATUS_READY		(1u << 0)
#define   HLRS_STATUS_RESETTING		(1u << 1)
#define   HLRS_STATUS_LMEM_ERROR	(1u << 2)	/* cleared by reset */
#define HLRS_REG_CTRL			0x0024	/* WO, reads 0 */
#define   HLRS_CTRL_RESET		(1u << 0)	/* this function's engines and contexts */
#define   HLRS_CTRL_RESET_ALL		(1u << 1)	/* PF: those of all functions */
#define HLRS_REG_SCRATCH		0x0028	/* RW, no effect; cleared by FLR only */
#define HLRS_REG_RESET_COUNT		0x002c	/* RO, resets of this function since power on */
#define HLRS_REG_TIMESTAMP		0x0030	/* RO 64: device time, nanoseconds */
#define HLRS_REG_TIME_CMD		0x0038	/* RW: ns that each command takes at least */
#define HLRS_REG_TIME_LMEM		0x003c	/* RW: ns per KiB moved to or from LMEM */
#define HLRS_REG_TIME_BUS		0x0040	/* RW: ns per KiB moved over the bus */
#define HLRS_REG_TIME_LINK		0x0044	/* RW: ns per KiB moved over the link */
#define   HLRS_TIME_CMD_DEFAULT		1000
#define   HLRS_TIME_LMEM_DEFAULT	2
#define   HLRS_TIME_BUS_DEFAULT		32
#define   HLRS_TIME_LINK_DEFAULT	8
#define   HLRS_TIME_MAX			1000000000	/* larger values are clamped */
#define HLRS_REG_DEVICE_UID		0x0048	/* RO 64: the same on PF and its VFs */

/* Interrupt block. Vector 0 carries events; a queue names its own vector. */
#define HLRS_REG_EVENT_STATUS		0x0100	/* W1C */
#define HLRS_REG_EVENT_ENABLE		0x0104	/* RW: only enabled events interrupt */
#define   HLRS_EVENT_FAULT		(1u << 0)	/* a context or queue stopped */
#define   HLRS_EVENT_LMEM_ERROR		(1u << 1)	/* uncorrectable error was consumed */
#define   HLRS_EVENT_RESET_DONE		(1u << 2)
#define   HLRS_EVENT_VF_FLR		(1u << 3)	/* PF: see HLRS_REG_VF_FLR */
#define   HLRS_EVENT_QUOTA		(1u << 4)	/* VF: the PF changed the quota */
#define   HLRS_EVENT_LINK		(1u << 5)	/* link went up or down */
#define   HLRS_EVENT_ALL		0x3fu
#define HLRS_REG_QUEUE_IRQ		0x0108	/* W1C: bit n, queue n had a fence with interrupt */
#define HLRS_EVENT_VECTOR		0

/* Error injection, present with HLRS_CAPS_INJECT. Each acts once. */
#define HLRS_REG_INJECT			0x0180	/* WO */
#define   HLRS_INJECT_LOSE_IRQ		(1u << 0)	/* drop this function's next interrupt */
#define   HLRS_INJECT_LMEM_ERROR	(1u << 1)	/* poison the KiB at HLRS_REG_INJECT_ADDR */
#define   HLRS_INJECT_CLEAR		(1u << 31)	/* forget what is pending, heal LMEM */
#define HLRS_REG_INJECT_ADDR		0x0188	/* RW 64: device-local address */
#define HLRS_INJECT_POISON_SIZE		1024

/* Contexts: HLRS_REG_CTX(n) + offset. */
#define HLRS_REG_CTX_BASE		0x1000
#define HLRS_CTX_STRIDE			0x40
#define HLRS_CTX_ROOT			0x00	/* RW 64: address and DM of the root table */
#define HLRS_CTX_CTRL			0x08	/* RW */
#define   HLRS_CTX_CTRL_ENABLE		(1u << 0)	/* clearing it clears a fault */
#define HLRS_CTX_STATUS			0x0c	/* RO */
#define   HLRS_CTX_STATUS_FAULTED	(1u << 0)	/* no queue may use it until re-enabled */
#define HLRS_CTX_FAULT_VA		0x10	/* RO 64 */
#define HLRS_CTX_FAULT_INFO		0x18	/* RO, see HLRS_FAULT_ */
#define HLRS_CTX_INVALIDATE		0x1c	/* WO; complete when the write is */
#define   HLRS_CTX_INVALIDATE_ALL	1
#define   HLRS_CTX_INVALIDATE_RANGE	2	/* what INV_START and INV_SIZE say */
#define HLRS_CTX_INV_START		0x20	/* RW 64 */
#define HLRS_CTX_INV_SIZE		0x28	/* RW 64, bytes */

/* Fault information, in HLRS_CTX_FAULT_INFO and HLRS_Q_FAULT_INFO. */
#define HLRS_FAULT_VALID		(1u << 31)
#define HLRS_FAULT_WRITE		(1u << 8)
#define HLRS_FAULT_LEVEL_SHIFT		12	/* level of the walk, 3 is the root */
#define HLRS_FAULT_LEVEL_MASK		0x0000f000u
#define HLRS_FAULT_QUEUE_SHIFT		16
#define HLRS_FAULT_QUEUE_MASK		0x00ff0000u
#define HLRS_FAULT_REASON_MASK		0x000000ffu
#define HLRS_FAULT_NOT_PRESENT		1	/* entry without V */
#define HLRS_FAULT_READ_ONLY		2	/* write through an entry without W */
#define HLRS_FAULT_BAD_ENTRY		3	/* reserved bits, misaligned large leaf */
#define HLRS_FAULT_VA_RANGE		4	/* VA beyond 48 bits, or wrapping */
#define HLRS_FAULT_LMEM_RANGE		5	/* beyond LMEM, or beyond a VF's quota */
#define HLRS_FAULT_BUS			6	/* DMA was refused or nobody answered */
#define HLRS_FAULT_LMEM_ERROR		7	/* uncorrectable error in LMEM */
#define HLRS_FAULT_BAD_COMMAND		8	/* opcode, flags, alignment, size */
#define HLRS_FAULT_CTX_DISABLED		9
#define HLRS_FAULT_TABLE		10	/* a page table could not be read */
#define HLRS_FAULT_LINK_DOWN		11
#define HLRS_FAULT_PRIVILEGE		12	/* physical address on a user queue */
#define HLRS_FAULT_RING			13	/* ring could not be read, or index wrong */

/* Page tables: 4 levels of 512 entries of 64 bits. */
#define HLRS_VA_BITS			48
#define HLRS_PTE_V			(1ull << 0)	/* valid */
#define HLRS_PTE_W			(1ull << 1)	/* writable; in leaves only */
#define HLRS_PTE_DM			(1ull << 2)	/* address is device-local, not on the bus */
#define HLRS_PTE_LINK			(1ull << 3)	/* leaf: address is in the link peer's LMEM */
#define HLRS_PTE_NULL			(1ull << 4)	/* leaf: reads zero, drops writes */
#define HLRS_PTE_LEAF			(1ull << 7)	/* level 1: 2 MiB, level 2: 1 GiB; set at level 0 too */
#define HLRS_PTE_ADDR_MASK		0x000ffffffffff000ull
#define HLRS_PTE_RESERVED_MASK		0xfff0000000000f60ull

/* Queues: HLRS_REG_Q(n) + offset. */
#define HLRS_REG_Q_BASE			0x2000
#define HLRS_Q_STRIDE			0x80
#define HLRS_Q_RING			0x00	/* RW 64: bus address of the ring, 4 KiB aligned */
#define HLRS_Q_ORDER			0x08	/* RW: log2 of the number of commands, 1 to 16 */
#define   HLRS_Q_ORDER_MIN		1
#define   HLRS_Q_ORDER_MAX		16
#define HLRS_Q_CTX			0x0c	/* RW: context of virtual addresses */
#define HLRS_Q_CTRL			0x10	/* RW */
#define   HLRS_Q_CTRL_ENABLE		(1u << 0)
#define   HLRS_Q_CTRL_PRIV		(1u << 1)	/* may use physical addresses */
#define   HLRS_Q_CTRL_RESET		(1u << 2)	/* stops what runs, clears all; reads 0 */
#define HLRS_Q_STATUS			0x14	/* RO */
#define   HLRS_Q_STATUS_BUSY		(1u << 0)
#define   HLRS_Q_STATUS_STOPPED		(1u << 1)	/* by a fault; leaves by reset only */
#define   HLRS_Q_STATUS_RESETTING	(1u << 2)
#define HLRS_Q_HEAD			0x18	/* RO: commands consumed, modulo 2^32 */
#define HLRS_Q_TAIL			0x1c	/* RW, the doorbell: commands produced, modulo 2^32 */
#define HLRS_Q_VECTOR			0x20	/* RW: MSI-X vector of its fences */
#define HLRS_Q_CLASS			0x24	/* RO */
#define   HLRS_Q_CLASS_COPY		0
#define   HLRS_Q_CLASS_NIC		1
#define HLRS_Q_FAULT_ADDR		0x28	/* RO 64 */
#define HLRS_Q_FAULT_INFO		0x30	/* RO, see HLRS_FAULT_ */
#define HLRS_Q_BUSY_NS			0x38	/* RO 64: device time spent in commands */

/* SR-IOV block, PF only: reads 0 and ignores writes on a VF. VF numbers start at 1. */
#define HLRS_REG_VF_FLR			0x4000	/* W1C 64: bit n, VF n had an FLR or was disabled */
#define HLRS_REG_LMTT_VF		0x4008	/* RW: VF whose table is staged */
#define HLRS_REG_LMTT_INDEX		0x400c	/* RW: next granule of the VF; entry writes increment */
#define HLRS_REG_LMTT_ENTRY		0x4010	/* RW 64: staged entry at the index */
#define   HLRS_LMTT_VALID		(1ull << 0)
#define   HLRS_LMTT_ADDR_MASK		0x000fffffffe00000ull
#define HLRS_REG_LMTT_COMMIT		0x4018	/* WO: number of granules; the staged table takes effect */
#define HLRS_REG_LMTT_STATUS		0x401c	/* RO */
#define   HLRS_LMTT_STATUS_REJECTED	(1u << 0)	/* last commit: VF, count or an entry is wrong */
#define HLRS_REG_VF_RESET		0x4020	/* WO: number of the VF whose engines are reset */

/* Link block. */
#define HLRS_REG_LINK_STATUS		0x5000	/* RO */
#define   HLRS_LINK_UP			(1u << 0)
#define HLRS_REG_LINK_PEER_UID		0x5008	/* RO 64: device UID of the peer, 0 if down */
#define HLRS_REG_LINK_PEER_SIZE		0x5010	/* RO 64: bytes of the peer's LMEM, 0 if down */

/* Counters, all RO 64, of this function; cleared by FLR only. */
#define HLRS_REG_CNT_BUS_READ		0x6000	/* bytes that engines read over the bus */
#define HLRS_REG_CNT_BUS_WRITE		0x6008
#define HLRS_REG_CNT_LMEM_READ		0x6010
#define HLRS_REG_CNT_LMEM_WRITE		0x6018
#define HLRS_REG_CNT_LINK_READ		0x6020
#define HLRS_REG_CNT_LINK_WRITE		0x6028
#define HLRS_REG_CNT_TLB_HIT		0x6030
#define HLRS_REG_CNT_TLB_MISS		0x6038
#define HLRS_REG_CNT_TLB_INVALIDATE	0x6040
#define HLRS_REG_CNT_QUOTA_VIOLATION	0x6048	/* accesses beyond a VF's quota, CPU and engines */
#define HLRS_REG_CNT_COMMANDS		0x6050
#define HLRS_REG_CNT_FAULTS		0x6058
#define HLRS_REG_CNT_IRQS		0x6060	/* interrupts sent */
#define HLRS_REG_CNT_IRQS_LOST		0x6068	/* interrupts dropped by injection */

#define HLRS_REG_CTX(n)			(HLRS_REG_CTX_BASE + (n) * HLRS_CTX_STRIDE)
#define HLRS_REG_Q(n)			(HLRS_REG_Q_BASE + (n) * HLRS_Q_STRIDE)

/*
 * Commands. A ring holds 2^order of them; command i is at i modulo the size.
 * Data commands (COPY, XCOPY, FILL, CRC32C) take any byte address and size.
 */
#define HLRS_CMD_SIZE			64
#define HLRS_CMD_MAX_BYTES		(1ull << 32)	/* limit of a command's size field */

#define HLRS_OP_NOP			0
#define HLRS_OP_COPY			1	/* size bytes from src to dst */
#define HLRS_OP_FILL			2	/* size bytes at dst with the 8 bytes of data, repeated */
#define HLRS_OP_CRC32C			3	/* of size bytes at src; struct hlrs_crc_result at dst */
#define HLRS_OP_FENCE			4	/* struct hlrs_fence_result at dst, 16-byte aligned */
#define HLRS_OP_TIMESTAMP		5	/* u64 device time at dst, 8-byte aligned */
#define HLRS_OP_HANG			6	/* never completes; left by queue reset */
#define HLRS_OP_XCOPY			7	/* NIC queues: COPY, src and dst in contexts of their own */

#define HLRS_CMD_IRQ			(1u << 8)	/* FENCE: interrupt after the write */
#define HLRS_CMD_CHAIN			(1u << 9)	/* CRC32C: initial value is what dst holds; data ignored */
#define HLRS_CMD_SRC_SPACE_SHIFT	16
#define HLRS_CMD_SRC_SPACE_MASK		0x00030000u
#define HLRS_CMD_DST_SPACE_SHIFT	20
#define HLRS_CMD_DST_SPACE_MASK		0x00300000u
#define   HLRS_SPACE_VIRTUAL		0	/* through the context's page tables */
#define   HLRS_SPACE_LMEM		1	/* device-local; the other three need PRIV */
#define   HLRS_SPACE_BUS		2
#define   HLRS_SPACE_LINK		3	/* LMEM of the link peer */
#define HLRS_CMD_RESERVED_MASK		0xffccfc00u	/* of header; must be zero */

#define HLRS_CMD_SRC_CTX_MASK		0x0000ffffu	/* of contexts, XCOPY only */
#define HLRS_CMD_DST_CTX_SHIFT		16

#if !defined(__KERNEL__) && !defined(HLRS_HW_NO_STDINT)
#include <stdint.h>
typedef uint32_t hlrs_u32;
typedef uint64_t hlrs_u64;
#else
#include <linux/types.h>
typedef __u32 hlrs_u32;
typedef __u64 hlrs_u64;
#endif

struct hlrs_cmd {
	hlrs_u32 header;	/* opcode in 7:0, flags, spaces */
	hlrs_u32 contexts;	/* XCOPY: source in 15:0, destination in 31:16; else 0 */
	hlrs_u64 src;
	hlrs_u64 dst;
	hlrs_u64 size;
	hlrs_u64 data;		/* FILL: pattern; FENCE: sequence; CRC32C: initial value */
	hlrs_u64 reserved[3];	/* must be zero */
};

struct hlrs_fence_result {
	hlrs_u64 seqno;		/* written last */
	hlrs_u64 timestamp;	/* device time, ns */
};

struct hlrs_crc_result {
	hlrs_u32 crc;		/* CRC-32C (Castagnoli), final inversion applied */
	hlrs_u32 valid;		/* 1 */
};

#endif /* HLRS_HW_H */
