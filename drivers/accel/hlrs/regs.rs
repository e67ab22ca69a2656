// SPDX-License-Identifier: GPL-2.0

//! Registers of BAR 0.
//!
//! The numbers are those of `hlrs_hw.h`, which the device model is built from; the assertions at
//! the end of the file hold each definition here against it. `docs/hardware.md` says what the
//! registers do.
//!
//! `kernel::io` checks the alignment of 64-bit accesses, and indices that are not constant, at run
//! time only: such registers take `try_read`, `try_write` and `try_write_reg`.

use kernel::{
    io::register,
    prelude::*, //
};

register! {
    /// Identification, [`hlrs_abi::HLRS_ID`].
    pub(crate) ID(u32) @ 0x0000 {
        31:0 value;
    }

    /// Version of the hardware interface.
    pub(crate) VERSION(u32) @ 0x0004 {
        31:16 major;
        15:0 minor;
    }

    /// What the function has.
    pub(crate) CAPS(u32) @ 0x0008 {
        23:16 nr_queues;
        15:8 nr_ctx;
        2:2 inject => bool;
        1:1 link => bool;
        0:0 vf => bool;
    }

    /// Number of the function: 0 for the PF, n for VF n.
    pub(crate) FUNCTION(u32) @ 0x000c {
        31:0 number;
    }

    /// Bytes of LMEM: all of it on the PF, the quota on a VF.
    pub(crate) LMEM_SIZE(u64) @ 0x0010 {
        63:0 bytes;
    }

    /// Bytes of BAR 2.
    pub(crate) APERTURE_SIZE(u64) @ 0x0018 {
        63:0 bytes;
    }

    /// State of the function.
    pub(crate) STATUS(u32) @ 0x0020 {
        2:2 lmem_error => bool;
        1:1 resetting => bool;
        0:0 ready => bool;
    }

    /// Resets.
    pub(crate) CTRL(u32) @ 0x0024 {
        1:1 reset_all => bool;
        0:0 reset => bool;
    }

    /// Number of resets of this function since power on.
    pub(crate) RESET_COUNT(u32) @ 0x002c {
        31:0 value;
    }

    /// Device time in nanoseconds.
    pub(crate) TIMESTAMP(u64) @ 0x0030 {
        63:0 ns;
    }

    /// Number of the card, the same on the PF and its VFs.
    pub(crate) DEVICE_UID(u64) @ 0x0048 {
        63:0 value;
    }

    /// Events that happened; writing a one clears it.
    pub(crate) EVENT_STATUS(u32) @ 0x0100 {
        5:5 link => bool;
        4:4 quota => bool;
        3:3 vf_flr => bool;
        2:2 reset_done => bool;
        1:1 lmem_error => bool;
        0:0 fault => bool;
    }

    /// Events that interrupt; the bits are those of [`EVENT_STATUS`].
    pub(crate) EVENT_ENABLE(u32) @ 0x0104 {
        31:0 bits;
    }

    /// Queues that had a fence with interrupt, a bit each; writing a one clears it.
    pub(crate) QUEUE_IRQ(u32) @ 0x0108 {
        31:0 bits;
    }

    /// Error injection.
    pub(crate) INJECT(u32) @ 0x0180 {
        31:31 clear => bool;
        1:1 lmem_error => bool;
        0:0 lose_irq => bool;
    }

    /// Device-local address of the error to inject.
    pub(crate) INJECT_ADDR(u64) @ 0x0188 {
        63:0 address;
    }

    /// Root table of a context: address and DM, as in an entry.
    pub(crate) CTX_ROOT(u64)[32, stride = 0x40] @ 0x1000 {
        63:0 entry;
    }

    /// Control of a context. Clearing `enable` clears a fault.
    pub(crate) CTX_CTRL(u32)[32, stride = 0x40] @ 0x1008 {
        0:0 enable => bool;
    }

    /// State of a context.
    pub(crate) CTX_STATUS(u32)[32, stride = 0x40] @ 0x100c {
        0:0 faulted => bool;
    }

    /// Address of the first fault of a context.
    pub(crate) CTX_FAULT_VA(u64)[32, stride = 0x40] @ 0x1010 {
        63:0 address;
    }

    /// The first fault of a context.
    pub(crate) CTX_FAULT_INFO(u32)[32, stride = 0x40] @ 0x1018 {
        31:31 valid => bool;
        23:16 queue;
        15:12 level;
        8:8 write => bool;
        7:0 reason;
    }

    /// Drops cached translations of a context.
    pub(crate) CTX_INVALIDATE(u32)[32, stride = 0x40] @ 0x101c {
        31:0 what;
    }

    /// First address of a range to invalidate.
    pub(crate) CTX_INV_START(u64)[32, stride = 0x40] @ 0x1020 {
        63:0 address;
    }

    /// Bytes of a range to invalidate.
    pub(crate) CTX_INV_SIZE(u64)[32, stride = 0x40] @ 0x1028 {
        63:0 bytes;
    }

    /// Bus address of a queue's ring.
    pub(crate) Q_RING(u64)[18, stride = 0x80] @ 0x2000 {
        63:0 address;
    }

    /// Log2 of the number of commands in a ring.
    pub(crate) Q_ORDER(u32)[18, stride = 0x80] @ 0x2008 {
        31:0 order;
    }

    /// Context of a queue's virtual addresses.
    pub(crate) Q_CTX(u32)[18, stride = 0x80] @ 0x200c {
        31:0 context;
    }

    /// Control of a queue.
    pub(crate) Q_CTRL(u32)[18, stride = 0x80] @ 0x2010 {
        2:2 reset => bool;
        1:1 privileged => bool;
        0:0 enable => bool;
    }

    /// State of a queue.
    pub(crate) Q_STATUS(u32)[18, stride = 0x80] @ 0x2014 {
        2:2 resetting => bool;
        1:1 stopped => bool;
        0:0 busy => bool;
    }

    /// Commands consumed, modulo 2^32.
    pub(crate) Q_HEAD(u32)[18, stride = 0x80] @ 0x2018 {
        31:0 index;
    }

    /// Commands produced, modulo 2^32; the doorbell.
    pub(crate) Q_TAIL(u32)[18, stride = 0x80] @ 0x201c {
        31:0 index;
    }

    /// MSI-X vector of a queue's fences.
    pub(crate) Q_VECTOR(u32)[18, stride = 0x80] @ 0x2020 {
        31:0 vector;
    }

    /// Address of the fault that stopped a queue.
    pub(crate) Q_FAULT_ADDR(u64)[18, stride = 0x80] @ 0x2028 {
        63:0 address;
    }

    /// The fault that stopped a queue.
    pub(crate) Q_FAULT_INFO(u32)[18, stride = 0x80] @ 0x2030 {
        31:31 valid => bool;
        23:16 queue;
        15:12 level;
        8:8 write => bool;
        7:0 reason;
    }

    /// Device time that a queue spent in commands, nanoseconds.
    pub(crate) Q_BUSY_NS(u64)[18, stride = 0x80] @ 0x2038 {
        63:0 ns;
    }

    /// PF: VFs that had an FLR or were disabled, a bit each; writing a one clears it.
    pub(crate) VF_FLR(u64) @ 0x4000 {
        63:0 bits;
    }

    /// PF: VF whose table is staged.
    pub(crate) LMTT_VF(u32) @ 0x4008 {
        31:0 vf;
    }

    /// PF: granule that the next entry is for.
    pub(crate) LMTT_INDEX(u32) @ 0x400c {
        31:0 granule;
    }

    /// PF: staged entry of the table.
    pub(crate) LMTT_ENTRY(u64) @ 0x4010 {
        63:0 entry;
    }

    /// PF: number of granules; makes the staged table the one in effect.
    pub(crate) LMTT_COMMIT(u32) @ 0x4018 {
        31:0 granules;
    }

    /// PF: result of the last commit.
    pub(crate) LMTT_STATUS(u32) @ 0x401c {
        0:0 rejected => bool;
    }

    /// PF: VF whose engines are to be reset.
    pub(crate) VF_RESET(u32) @ 0x4020 {
        31:0 vf;
    }

    /// State of the link.
    pub(crate) LINK_STATUS(u32) @ 0x5000 {
        0:0 up => bool;
    }

    /// [`DEVICE_UID`] of the card at the other end, 0 while the link is down.
    pub(crate) LINK_PEER_UID(u64) @ 0x5008 {
        63:0 value;
    }

    /// Bytes of LMEM there, 0 while the link is down.
    pub(crate) LINK_PEER_SIZE(u64) @ 0x5010 {
        63:0 bytes;
    }

    /// Counters of the function; [`COUNTER_NAMES`] names them.
    pub(crate) COUNTER(u64)[14] @ 0x6000 {
        63:0 value;
    }
}

/// Names of the elements of [`COUNTER`], in their order.
pub(crate) const COUNTER_NAMES: [&str; 14] = [
    "bus_read",
    "bus_write",
    "lmem_read",
    "lmem_write",
    "link_read",
    "link_write",
    "tlb_hit",
    "tlb_miss",
    "tlb_invalidate",
    "quota_violation",
    "commands",
    "faults",
    "irqs",
    "irqs_lost",
];

/// Holds register definitions against `hlrs_hw.h`.
macro_rules! assert_offsets {
    ($($reg:ident == $($offset:ident)+ $(, $count:ident stride $stride:ident)?;)*) => {
        $(
            static_assert!(
                <$reg as register::Register>::OFFSET == (0 $( + hlrs_abi::$offset)+) as usize
            );
            $(
                static_assert!(
                    <$reg as register::RegisterArray>::STRIDE == hlrs_abi::$stride as usize
                );
                static_assert!(
                    <$reg as register::RegisterArray>::SIZE == hlrs_abi::$count as usize
                );
            )?
        )*
    };
}

assert_offsets! {
    ID == HLRS_REG_ID;
    VERSION == HLRS_REG_VERSION;
    CAPS == HLRS_REG_CAPS;
    FUNCTION == HLRS_REG_FUNCTION;
    LMEM_SIZE == HLRS_REG_LMEM_SIZE;
    APERTURE_SIZE == HLRS_REG_APERTURE_SIZE;
    STATUS == HLRS_REG_STATUS;
    CTRL == HLRS_REG_CTRL;
    RESET_COUNT == HLRS_REG_RESET_COUNT;
    TIMESTAMP == HLRS_REG_TIMESTAMP;
    DEVICE_UID == HLRS_REG_DEVICE_UID;
    EVENT_STATUS == HLRS_REG_EVENT_STATUS;
    EVENT_ENABLE == HLRS_REG_EVENT_ENABLE;
    QUEUE_IRQ == HLRS_REG_QUEUE_IRQ;
    INJECT == HLRS_REG_INJECT;
    INJECT_ADDR == HLRS_REG_INJECT_ADDR;
    CTX_ROOT == HLRS_REG_CTX_BASE HLRS_CTX_ROOT, HLRS_NR_CTX stride HLRS_CTX_STRIDE;
    CTX_CTRL == HLRS_REG_CTX_BASE HLRS_CTX_CTRL, HLRS_NR_CTX stride HLRS_CTX_STRIDE;
    CTX_STATUS == HLRS_REG_CTX_BASE HLRS_CTX_STATUS, HLRS_NR_CTX stride HLRS_CTX_STRIDE;
    CTX_FAULT_VA == HLRS_REG_CTX_BASE HLRS_CTX_FAULT_VA, HLRS_NR_CTX stride HLRS_CTX_STRIDE;
    CTX_FAULT_INFO == HLRS_REG_CTX_BASE HLRS_CTX_FAULT_INFO, HLRS_NR_CTX stride HLRS_CTX_STRIDE;
    CTX_INVALIDATE == HLRS_REG_CTX_BASE HLRS_CTX_INVALIDATE, HLRS_NR_CTX stride HLRS_CTX_STRIDE;
    CTX_INV_START == HLRS_REG_CTX_BASE HLRS_CTX_INV_START, HLRS_NR_CTX stride HLRS_CTX_STRIDE;
    CTX_INV_SIZE == HLRS_REG_CTX_BASE HLRS_CTX_INV_SIZE, HLRS_NR_CTX stride HLRS_CTX_STRIDE;
    Q_RING == HLRS_REG_Q_BASE HLRS_Q_RING, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    Q_ORDER == HLRS_REG_Q_BASE HLRS_Q_ORDER, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    Q_CTX == HLRS_REG_Q_BASE HLRS_Q_CTX, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    Q_CTRL == HLRS_REG_Q_BASE HLRS_Q_CTRL, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    Q_STATUS == HLRS_REG_Q_BASE HLRS_Q_STATUS, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    Q_HEAD == HLRS_REG_Q_BASE HLRS_Q_HEAD, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    Q_TAIL == HLRS_REG_Q_BASE HLRS_Q_TAIL, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    Q_VECTOR == HLRS_REG_Q_BASE HLRS_Q_VECTOR, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    Q_FAULT_ADDR == HLRS_REG_Q_BASE HLRS_Q_FAULT_ADDR, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    Q_FAULT_INFO == HLRS_REG_Q_BASE HLRS_Q_FAULT_INFO, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    Q_BUSY_NS == HLRS_REG_Q_BASE HLRS_Q_BUSY_NS, HLRS_NR_QUEUES stride HLRS_Q_STRIDE;
    VF_FLR == HLRS_REG_VF_FLR;
    LMTT_VF == HLRS_REG_LMTT_VF;
    LMTT_INDEX == HLRS_REG_LMTT_INDEX;
    LMTT_ENTRY == HLRS_REG_LMTT_ENTRY;
    LMTT_COMMIT == HLRS_REG_LMTT_COMMIT;
    LMTT_STATUS == HLRS_REG_LMTT_STATUS;
    VF_RESET == HLRS_REG_VF_RESET;
    LINK_STATUS == HLRS_REG_LINK_STATUS;
    LINK_PEER_UID == HLRS_REG_LINK_PEER_UID;
    LINK_PEER_SIZE == HLRS_REG_LINK_PEER_SIZE;
    COUNTER == HLRS_REG_CNT_BUS_READ;
}

/// Holds field definitions against the masks of `hlrs_hw.h`.
macro_rules! assert_fields {
    ($($reg:ident { $($field:ident == $mask:ident;)* })*) => {
        $($(
            ::kernel::macros::paste! {
                static_assert!($reg::[<$field:upper _MASK>] == hlrs_abi::$mask);
            }
        )*)*
    };
}

assert_fields! {
    CAPS {
        vf == HLRS_CAPS_VF;
        link == HLRS_CAPS_LINK;
        inject == HLRS_CAPS_INJECT;
        nr_ctx == HLRS_CAPS_NR_CTX_MASK;
        nr_queues == HLRS_CAPS_NR_QUEUES_MASK;
    }
    STATUS {
        ready == HLRS_STATUS_READY;
        resetting == HLRS_STATUS_RESETTING;
        lmem_error == HLRS_STATUS_LMEM_ERROR;
    }
    CTRL {
        reset == HLRS_CTRL_RESET;
        reset_all == HLRS_CTRL_RESET_ALL;
    }
    EVENT_STATUS {
        fault == HLRS_EVENT_FAULT;
        lmem_error == HLRS_EVENT_LMEM_ERROR;
        reset_done == HLRS_EVENT_RESET_DONE;
        vf_flr == HLRS_EVENT_VF_FLR;
        quota == HLRS_EVENT_QUOTA;
        link == HLRS_EVENT_LINK;
    }
    INJECT {
        lose_irq == HLRS_INJECT_LOSE_IRQ;
        lmem_error == HLRS_INJECT_LMEM_ERROR;
        clear == HLRS_INJECT_CLEAR;
    }
    CTX_CTRL {
        enable == HLRS_CTX_CTRL_ENABLE;
    }
    CTX_STATUS {
        faulted == HLRS_CTX_STATUS_FAULTED;
    }
    CTX_FAULT_INFO {
        valid == HLRS_FAULT_VALID;
        write == HLRS_FAULT_WRITE;
        level == HLRS_FAULT_LEVEL_MASK;
        queue == HLRS_FAULT_QUEUE_MASK;
        reason == HLRS_FAULT_REASON_MASK;
    }
    Q_CTRL {
        enable == HLRS_Q_CTRL_ENABLE;
        privileged == HLRS_Q_CTRL_PRIV;
        reset == HLRS_Q_CTRL_RESET;
    }
    Q_STATUS {
        busy == HLRS_Q_STATUS_BUSY;
        stopped == HLRS_Q_STATUS_STOPPED;
        resetting == HLRS_Q_STATUS_RESETTING;
    }
    Q_FAULT_INFO {
        valid == HLRS_FAULT_VALID;
        write == HLRS_FAULT_WRITE;
        level == HLRS_FAULT_LEVEL_MASK;
        queue == HLRS_FAULT_QUEUE_MASK;
        reason == HLRS_FAULT_REASON_MASK;
    }
    LMTT_STATUS {
        rejected == HLRS_LMTT_STATUS_REJECTED;
    }
}
