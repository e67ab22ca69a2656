# SPDX-License-Identifier: GPL-2.0-or-later
"""Each fault reason, what is recorded where, and how software gets out."""

import struct

import hw
import pci
from harness import equal, test
from hlrs import (BUS, LINK, LMEM, MIB, PageTable, copy, crc, fence, fill,
                  nop, timestamp, xcopy)

NO_RAM = 0x7000000000


def setup(m):
    dev = m.accel[0]
    table = PageTable(dev)
    dev.context(1, table)
    return dev, table, dev.queue(0, ctx=1, flags=0)


def check(dev, q, reason, va, cmd, level=0, write=False, ctx=1):
    """The fault is in the queue and, when it has one, in the context."""
    info, at = q.expect_fault(reason, cmd)
    equal(at, va, "queue's fault address")
    equal((info & hw.FAULT_LEVEL_MASK) >> hw.FAULT_LEVEL_SHIFT, level, "level")
    equal(bool(info & hw.FAULT_WRITE), write, "write")
    if ctx is not None:
        equal(dev.r32(hw.ctx(ctx, hw.CTX_STATUS)), hw.CTX_STATUS_FAULTED,
              "context status")
        equal(dev.r64(hw.ctx(ctx, hw.CTX_FAULT_VA)), va, "context's address")
        equal(dev.r32(hw.ctx(ctx, hw.CTX_FAULT_INFO)), info, "context's info")
    equal(q.r32(hw.Q_HEAD), q.tail - 1, "head stays at the command")
    assert dev.r32(hw.REG_EVENT_STATUS) & hw.EVENT_FAULT
    dev.w32(hw.REG_EVENT_STATUS, hw.EVENT_ALL)
    if ctx is not None:
        dev.w32(hw.ctx(ctx, hw.CTX_CTRL), 0)
        equal(dev.r32(hw.ctx(ctx, hw.CTX_FAULT_INFO)), 0, "info is cleared")
        dev.w32(hw.ctx(ctx, hw.CTX_CTRL), hw.CTX_CTRL_ENABLE)
        dev.invalidate(ctx)
    q.restart()
    equal(q.r32(hw.Q_FAULT_INFO), 0, "queue's info after reset")


@test()
def not_present_at_each_level(m):
    dev, table, q = setup(m)
    va = 0x123456789000
    for level in (3, 2, 1, 0):
        if level < 3:
            table.entry(va, level, 0)
        check(dev, q, hw.FAULT_NOT_PRESENT, va, fill(va, 8, 0), level, True)
        check(dev, q, hw.FAULT_NOT_PRESENT, va + 9, crc(va + 9, 0, 8), level)


@test()
def bad_entries(m):
    dev, table, q = setup(m)
    va = 0x40000000
    leaf = hw.PTE_V | hw.PTE_W | hw.PTE_DM
    bad = [
        (0, leaf | hw.PTE_LEAF | 1 << 5), (0, leaf | hw.PTE_LEAF | 1 << 63),
        (0, leaf), (0, leaf | hw.PTE_LEAF | hw.PTE_LINK),
        (0, leaf | hw.PTE_LEAF | hw.PTE_NULL),
        (1, leaf | hw.PTE_LEAF | 0x1000), (2, leaf | hw.PTE_LEAF | 0x200000),
        (1, 0x100000 | hw.PTE_V | hw.PTE_W), (2, 0x100000 | hw.PTE_V | 1 << 8),
        (1, 0x100000 | hw.PTE_V | hw.PTE_NULL),
        (3, hw.PTE_V | hw.PTE_LEAF | hw.PTE_DM),
    ]
    for level, entry in bad:
        table = PageTable(dev)
        table.entry(va, level, entry)
        dev.w64(hw.ctx(1, hw.CTX_ROOT), table.root)
        dev.invalidate(1)
        check(dev, q, hw.FAULT_BAD_ENTRY, va, fill(va, 8, 0), level, True)


@test()
def va_range(m):
    dev, _, q = setup(m)
    top = 1 << hw.VA_BITS
    for va, size in ((top, 1), (top - 8, 9), (1 << 63, 8),
                     (0xfffffffffffffff0, 32)):
        check(dev, q, hw.FAULT_VA_RANGE, va, fill(va, size, 0), 0, True)
    q.run(fill(top, 0, 0))
    # Wrapping counts in the physical spaces, too, and there is no context.
    physical = dev.queue(2)
    physical.expect_fault(hw.FAULT_VA_RANGE,
                          fill(0xfffffffffffffff0, 32, 0, LMEM))
    equal(dev.r32(hw.ctx(0, hw.CTX_STATUS)), 0, "context")


@test()
def lmem_range(m):
    dev, table, q = setup(m)
    table.map(0x200000, 32 * MIB - hw.LMTT_GRANULE, 1, hw.PTE_W | hw.PTE_DM)
    table.map(0x400000, 32 * MIB, 1, hw.PTE_W | hw.PTE_DM)
    check(dev, q, hw.FAULT_LMEM_RANGE, 0x400000, fill(0x3ffff8, 16, 1), 1,
          True)
    # The part before the fault was done.
    equal(dev.read(32 * MIB - 8, 8), b"\1" + bytes(7), "the first half")
    p = dev.queue(3)
    check(dev, p, hw.FAULT_LMEM_RANGE, 32 * MIB,
          fill(32 * MIB, 1, 0, LMEM), write=True, ctx=None)
    equal(dev.counter("QUOTA_VIOLATION"), 0, "the PF has no quota")


@test()
def bus_refused(m):
    dev, table, q = setup(m)
    table.map(0x5000, NO_RAM)
    check(dev, q, hw.FAULT_BUS, 0x5010, crc(0x5010, 0x5000, 8))
    p = dev.queue(3)
    check(dev, p, hw.FAULT_BUS, NO_RAM, fill(NO_RAM, 8, 0, BUS), write=True,
          ctx=None)
    # No bus master, no request. The ring is on the bus as well.
    dev.pci.enable(master=False)
    _, at = p.expect_fault(hw.FAULT_RING, nop())
    equal(at, p.ring, "ring address")


@test()
def registers_are_not_memory(m):
    """Engines do not reach registers, of their own or of another device."""
    a, b = m.accel
    q = a.queue()
    a.w32(hw.REG_SCRATCH, 0x1111)
    b.w32(hw.REG_SCRATCH, 0x2222)
    for at in (a.regs + hw.REG_SCRATCH, b.regs + hw.REG_SCRATCH,
               b.msix, pci.ECAM, 0xfee00000):
        q.expect_fault(hw.FAULT_BUS, fill(at, 8, 0x55, BUS))
        q.restart()
    equal((a.r32(hw.REG_SCRATCH), b.r32(hw.REG_SCRATCH)), (0x1111, 0x2222),
          "scratch registers")


@test()
def lmem_error(m):
    dev, table, q = setup(m)
    table.map(0, 0, 1, hw.PTE_W | hw.PTE_DM)
    dev.w64(hw.REG_INJECT_ADDR, 0x10555)
    dev.w32(hw.REG_INJECT, hw.INJECT_LMEM_ERROR)
    q.run(copy(0xf000, 0x80000, 0x1400), copy(0x10800, 0x80000, 0x400))
    equal(dev.r32(hw.REG_STATUS), hw.STATUS_READY, "nothing was consumed")
    q.run(fill(0x10400, 0x400, 0))
    info, at = q.expect_fault(hw.FAULT_LMEM_ERROR, copy(0x107ff, 0x80000, 1))
    equal(at, 0x107ff, "address")
    equal(info & hw.FAULT_WRITE, 0, "write")
    equal(dev.r32(hw.REG_STATUS), hw.STATUS_READY | hw.STATUS_LMEM_ERROR,
          "status")
    equal(dev.r32(hw.REG_EVENT_STATUS), hw.EVENT_FAULT | hw.EVENT_LMEM_ERROR,
          "events")
    dev.w32(hw.REG_CTRL, hw.CTRL_RESET)
    m.step()
    equal(dev.r32(hw.REG_STATUS), hw.STATUS_READY, "status after reset")
    p = dev.queue(1)
    p.expect_fault(hw.FAULT_LMEM_ERROR, copy(0x10400, 0x80000, 8, LMEM, LMEM))
    p.restart()
    dev.w32(hw.REG_INJECT, hw.INJECT_CLEAR)
    p.run(copy(0x10400, 0x80000, 8, LMEM, LMEM))


@test()
def lmem_error_in_a_page_table(m):
    dev = m.accel[0]
    table = PageTable(dev, dm=True, pool=8 * MIB)
    table.map(0x1000, 0x1000, flags=hw.PTE_W | hw.PTE_DM)
    dev.context(1, table)
    dev.w64(hw.REG_INJECT_ADDR, 8 * MIB)
    dev.w32(hw.REG_INJECT, hw.INJECT_LMEM_ERROR)
    q = dev.queue(0, ctx=1, flags=0)
    check(dev, q, hw.FAULT_LMEM_ERROR, 0x1000, fill(0x1000, 8, 0), 3, True)


@test()
def ctx_disabled(m):
    dev, table, q = setup(m)
    table.map(0x1000, 0x1000, flags=hw.PTE_W | hw.PTE_DM)
    dev.w32(hw.ctx(1, hw.CTX_CTRL), 0)
    info, va = q.expect_fault(hw.FAULT_CTX_DISABLED, fill(0x1000, 8, 0))
    equal(va, 0x1000, "address")
    equal(dev.r32(hw.ctx(1, hw.CTX_STATUS)), 0, "context status")
    wrong = dev.queue(1, ctx=hw.NR_CTX, flags=0)
    wrong.expect_fault(hw.FAULT_CTX_DISABLED, fill(0x1000, 8, 0))
    far = dev.queue(2, ctx=0xffffffff, flags=0)
    far.expect_fault(hw.FAULT_CTX_DISABLED, fill(0x1000, 8, 0))


@test()
def faulted_context_stops_its_other_queues(m):
    dev, table, q = setup(m)
    table.map(0x1000, 0x1000, flags=hw.PTE_W | hw.PTE_DM)
    other = dev.queue(1, ctx=1, flags=0)
    other.run(fill(0x1000, 8, 1))
    q.expect_fault(hw.FAULT_NOT_PRESENT, fill(0x9000, 8, 1))
    other.expect_fault(hw.FAULT_CTX_DISABLED, fill(0x1000, 8, 1))
    # What the context recorded is the first fault.
    equal(dev.r64(hw.ctx(1, hw.CTX_FAULT_VA)), 0x9000, "address")
    # Writing ENABLE again is not enough: it has to be cleared.
    dev.w32(hw.ctx(1, hw.CTX_CTRL), hw.CTX_CTRL_ENABLE)
    equal(dev.r32(hw.ctx(1, hw.CTX_STATUS)), hw.CTX_STATUS_FAULTED, "status")
    equal(dev.counter("FAULTS"), 2, "faults")


@test()
def table_unreadable(m):
    dev, _, q = setup(m)
    dev.w64(hw.ctx(1, hw.CTX_ROOT), NO_RAM)
    check(dev, q, hw.FAULT_TABLE, 0x1000, fill(0x1000, 8, 0), 3, True)
    dev.w64(hw.ctx(1, hw.CTX_ROOT), 32 * MIB | hw.PTE_DM)
    check(dev, q, hw.FAULT_TABLE, 0x1000, fill(0x1000, 8, 0), 3, True)
    table = PageTable(dev)
    table.entry(0x1000, 2, NO_RAM | hw.PTE_V)
    dev.w64(hw.ctx(1, hw.CTX_ROOT), table.root)
    check(dev, q, hw.FAULT_TABLE, 0x1000, fill(0x1000, 8, 0), 1, True)


@test()
def privilege(m):
    dev, _, q = setup(m)
    for cmd in (fill(0, 8, 0, LMEM), fill(0, 8, 0, BUS), fill(0, 8, 0, LINK),
                copy(0, 0, 8, LMEM), fence(0, 1, LMEM), timestamp(0, BUS),
                crc(0, 0, 8, s=LMEM)):
        _, at = q.expect_fault(hw.FAULT_PRIVILEGE, cmd)
        equal(at, 0, "address")
        equal(dev.r32(hw.ctx(1, hw.CTX_STATUS)), 0, "context status")
        q.restart()
    nic = dev.queue(hw.NR_COPY_QUEUES, flags=0)
    nic.expect_fault(hw.FAULT_PRIVILEGE, xcopy(1, 0, 1, 0, 8, d=LMEM))


@test()
def ring_faults(m):
    dev = m.accel[0]
    for change in ({hw.Q_ORDER: 0}, {hw.Q_ORDER: 17},
                   {hw.Q_ORDER: 0xffffffff}, {hw.Q_RING: 0x100040},
                   {hw.Q_RING: NO_RAM & 0xffffffff, hw.Q_RING + 4: 0x70}):
        q = dev.queue(4)
        q.w32(hw.Q_CTRL, 0)
        for reg, value in change.items():
            q.w32(reg, value)
        q.w32(hw.Q_CTRL, hw.Q_CTRL_ENABLE)
        q.expect_fault(hw.FAULT_RING, nop())
        q.reset()
    q = dev.queue(4, order=2)
    q.w32(hw.Q_TAIL, 5)
    m.step()
    assert q.status & hw.Q_STATUS_STOPPED, "tail too far ahead"
    equal(q.r32(hw.Q_FAULT_INFO) & hw.FAULT_REASON_MASK, hw.FAULT_RING,
          "reason")
    q.restart()
    q.w32(hw.Q_TAIL, 0xffffffff)
    m.step()
    assert q.status & hw.Q_STATUS_STOPPED, "tail behind head"


@test()
def fault_in_the_middle_of_a_long_command(m):
    dev, table, q = setup(m)
    dev.w32(hw.REG_TIME_LMEM, 1000)
    for n in range(8):
        table.map(n << 21, n << 21, 1, hw.PTE_W | hw.PTE_DM)
    q.submit(fill(0, 16 * MIB, 0x0101010101010101))
    m.step(1000000)
    done = dev.counter("LMEM_WRITE")
    assert 0 < done < 8 * MIB
    table.unmap(6 << 21, 1)
    dev.invalidate(1)
    m.step(100000000)
    equal(q.r64(hw.Q_FAULT_ADDR), 6 << 21, "address")
    equal(dev.read(12 * MIB - 8, 16), b"\1" * 8 + bytes(8), "around the fault")


@test()
def crc_result_across_a_border(m):
    """A result that is half in a page that is missing."""
    dev, table, q = setup(m)
    table.map(0x1000, 0x1000, flags=hw.PTE_W | hw.PTE_DM)
    dev.write(0x1000, bytes(4096))
    check(dev, q, hw.FAULT_NOT_PRESENT, 0x2000, crc(0x1000, 0x1ffc, 16), 0,
          True)
    table.map(0x2000, 0x9000, flags=hw.PTE_W | hw.PTE_DM)
    dev.invalidate(1)
    q.run(crc(0x1000, 0x1ffc, 16))
    equal(struct.unpack("<I", dev.read(0x9000, 4))[0], 1, "valid")
