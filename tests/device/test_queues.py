# SPDX-License-Identifier: GPL-2.0-or-later
"""Rings, doorbells, order, concurrency, hang and queue reset, NIC queues."""

import hw
from harness import equal, pattern, test
from hlrs import (LMEM, MIB, MS, PRIV, PageTable, copy, fence, fill, hang,
                  nop, xcopy)


@test()
def ring_wraps(m):
    dev = m.accel[0]
    for order in (hw.Q_ORDER_MIN, 3):
        q = dev.queue(0, order=order)
        for n in range(20):
            q.run(fill(n * 8, 8, n, LMEM))
        equal(dev.read(0, 160), b"".join(n.to_bytes(8, "little")
                                         for n in range(20)), "order")
        q.reset()
    # A full ring: as many commands as there are slots.
    q = dev.queue(1, order=4)
    q.run(*[fill(n * 8, 8, n + 100, LMEM) for n in range(16)])
    equal(dev.read(15 * 8, 1)[0], 115, "last")


@test()
def largest_ring(m):
    dev = m.accel[0]
    q = dev.queue(0, order=hw.Q_ORDER_MAX)
    dev.w32(hw.REG_TIME_CMD, 0)
    m.qemu.write(q.ring, nop() * 65536)
    q.tail = 65536
    q.ring_doorbell()
    m.step(65536 * 200)
    equal(q.r32(hw.Q_HEAD), 65536, "head")
    equal(dev.counter("COMMANDS"), 65536, "commands")


@test()
def doorbell_before_enable(m):
    dev = m.accel[0]
    q = dev.queue(0)
    q.w32(hw.Q_CTRL, 0)
    q.submit(fill(0, 8, 1, LMEM))
    m.step()
    equal(q.r32(hw.Q_HEAD), 0, "head while disabled")
    equal(q.status, 0, "status")
    q.w32(hw.Q_CTRL, hw.Q_CTRL_ENABLE | PRIV)
    m.step()
    equal(q.r32(hw.Q_HEAD), 1, "head")


@test()
def disable_lets_the_command_finish(m):
    dev = m.accel[0]
    dev.w32(hw.REG_TIME_CMD, 100000)
    q = dev.queue(0)
    q.submit(fill(0, 8, 1, LMEM), fill(8, 8, 2, LMEM))
    m.step(50000)
    q.w32(hw.Q_CTRL, PRIV)
    equal(q.status, hw.Q_STATUS_BUSY, "status")
    m.step(MS)
    equal((q.status, q.r32(hw.Q_HEAD)), (0, 1), "status and head")
    equal(dev.read(0, 16), b"\1" + bytes(15), "only the first ran")
    # While enabled or busy, the ring stays where it is.
    q.w32(hw.Q_CTRL, hw.Q_CTRL_ENABLE | PRIV)
    q.w64(hw.Q_RING, 0)
    q.w32(hw.Q_ORDER, 9)
    q.w32(hw.Q_CTX, 9)
    equal((q.r64(hw.Q_RING), q.r32(hw.Q_ORDER), q.r32(hw.Q_CTX)),
          (q.ring, q.order, q.ctx), "set-up registers")
    m.step(MS)
    equal(q.r32(hw.Q_HEAD), 2, "head")


@test()
def queues_run_at_the_same_time(m):
    dev = m.accel[0]
    dev.w32(hw.REG_TIME_CMD, 100000)
    queues = [dev.queue(n) for n in range(hw.NR_QUEUES)]
    for q in queues:
        q.submit(nop())
    m.step(150000)
    equal([q.r32(hw.Q_HEAD) for q in queues], [1] * hw.NR_QUEUES, "heads")
    equal([q.r32(hw.Q_CLASS) for q in queues],
          [hw.Q_CLASS_COPY] * hw.NR_COPY_QUEUES +
          [hw.Q_CLASS_NIC] * hw.NR_NIC_QUEUES, "classes")


@test()
def commands_are_asynchronous(m):
    dev = m.accel[0]
    dev.w32(hw.REG_TIME_CMD, 30000)
    q = dev.queue(0)
    q.submit(fill(0, 8, 1, LMEM))
    equal(dev.read(0, 1)[0], 0, "right after the doorbell")
    equal(q.status, hw.Q_STATUS_BUSY, "status")
    m.step(29000)
    equal(dev.read(0, 1)[0], 0, "before its time")
    m.step(2000)
    equal(dev.read(0, 1)[0], 1, "after its time")


@test()
def hang_and_queue_reset(m):
    dev = m.accel[0]
    q, other = dev.queue(0), dev.queue(1)
    q.submit(fill(0, 8, 1, LMEM), hang(), fill(8, 8, 2, LMEM))
    m.step(1000 * MS)
    equal((q.status, q.r32(hw.Q_HEAD)), (hw.Q_STATUS_BUSY, 1), "hung")
    assert q.r64(hw.Q_BUSY_NS) >= 999 * MS, "a hang counts as busy"
    other.run(fill(16, 8, 3, LMEM))
    q.w32(hw.Q_CTRL, hw.Q_CTRL_RESET)
    equal(q.status, hw.Q_STATUS_RESETTING, "status")
    q.w32(hw.Q_CTRL, hw.Q_CTRL_ENABLE)
    q.w32(hw.Q_TAIL, 3)
    m.step(100000)
    equal(q.status, 0, "status after reset")
    for reg in (hw.Q_RING, hw.Q_ORDER, hw.Q_CTX, hw.Q_CTRL, hw.Q_HEAD,
                hw.Q_TAIL, hw.Q_VECTOR, hw.Q_FAULT_INFO):
        equal(q.r32(reg), 0, f"register {reg:#x} after reset")
    equal(other.r32(hw.Q_HEAD), 1, "the other queue")
    q.start()
    q.run(fill(8, 8, 4, LMEM))
    equal(dev.read(8, 1)[0], 4, "works again")


@test()
def queue_reset_in_flight(m):
    dev = m.accel[0]
    dev.w32(hw.REG_TIME_LMEM, 1000)
    q = dev.queue(0)
    q.submit(fill(0, 8 * MIB, 0xff, LMEM))
    m.step(2 * MS)
    q.reset()
    moved = dev.counter("LMEM_WRITE")
    assert 0 < moved < 8 * MIB
    m.step(100 * MS)
    equal(dev.counter("LMEM_WRITE"), moved, "bytes after the reset")
    equal(dev.counter("COMMANDS"), 0, "commands")


@test()
def nic_copies_between_contexts(m):
    dev = m.accel[0]
    tables = []
    for ctx, base in ((4, MIB), (5, 8 * MIB)):
        table = PageTable(dev)
        for page in range(16):
            table.map(0x10000 + page * 4096, base + (15 - page) * 4096,
                      flags=hw.PTE_W | hw.PTE_DM)
        dev.context(ctx, table)
        tables.append(table)
    data = pattern(16 * 4096)
    for page in range(16):
        dev.write(MIB + (15 - page) * 4096,
                  data[page * 4096:(page + 1) * 4096])
    nic = dev.queue(hw.NR_COPY_QUEUES + 1, ctx=5, flags=0)
    nic.run(xcopy(4, 0x10000, 5, 0x10000, len(data)), fence(0x10000, 9))
    for page in range(16):
        want = data[page * 4096:(page + 1) * 4096]
        got = dev.read(8 * MIB + (15 - page) * 4096, 4096)
        start = 16 if page == 0 else 0
        equal(got[start:], want[start:], f"page {page}")
    equal(dev.read(8 * MIB + 15 * 4096, 1)[0], 9, "fence in the queue's context")


@test()
def nic_fault_names_the_right_context(m):
    dev = m.accel[0]
    for ctx in (4, 5):
        table = PageTable(dev)
        if ctx == 4:
            table.map(0x1000, 0x1000, flags=hw.PTE_DM)
        dev.context(ctx, table)
    nic = dev.queue(hw.NR_COPY_QUEUES, flags=0)
    info, va = nic.expect_fault(hw.FAULT_NOT_PRESENT,
                                xcopy(4, 0x1000, 5, 0x3000, 64))
    assert info & hw.FAULT_WRITE
    equal(va, 0x3000, "address")
    equal([dev.r32(hw.ctx(n, hw.CTX_STATUS)) for n in (4, 5)], [0, 1],
          "faulted")
    nic.restart()
    nic.expect_fault(hw.FAULT_CTX_DISABLED, xcopy(4, 0x1000, 99, 0, 64))


@test()
def vf_queues(m):
    pf = m.accel[0]
    vfs = pf.enable_vfs(7)
    for n, vf in enumerate(vfs, 1):
        assert pf.give(n, [2 * n, 2 * n - 1])
    for n, vf in enumerate(vfs, 1):
        vf.queue(n).submit(fill(0, 2 * hw.LMTT_GRANULE, n * 0x0101010101010101,
                                LMEM))
    m.step(100 * MS)
    for n, vf in enumerate(vfs, 1):
        for granule in (2 * n, 2 * n - 1):
            equal(pf.read(granule * hw.LMTT_GRANULE, hw.LMTT_GRANULE),
                  bytes([n]) * hw.LMTT_GRANULE, f"granule {granule}")
    equal(pf.read(0, hw.LMTT_GRANULE), bytes(hw.LMTT_GRANULE), "granule 0")


@test()
def copy_across_all_of_lmem(m):
    dev = m.accel[0]
    data = pattern(8 * MIB)
    dev.write(0, data)
    dev.queue().run(copy(0, 8 * MIB, 8 * MIB, LMEM, LMEM),
                    copy(0, 16 * MIB, 16 * MIB, LMEM, LMEM), ns=100 * MS)
    for quarter in (1, 2, 3):
        equal(dev.read(quarter * 8 * MIB, 8 * MIB), data, f"part {quarter}")
