# SPDX-License-Identifier: GPL-2.0-or-later
"""The link between two devices."""

import hw
from harness import equal, pattern, test
from hlrs import LINK, LMEM, MIB, PageTable, copy, crc, fill


@test()
def link_is_up(m):
    a, b = m.accel
    for one, other in ((a, b), (b, a)):
        equal(one.r32(hw.REG_LINK_STATUS), hw.LINK_UP, "status")
        equal(one.r64(hw.REG_LINK_PEER_UID), other.r64(hw.REG_DEVICE_UID),
              "peer UID")
        equal(one.r64(hw.REG_LINK_PEER_SIZE), 32 * MIB, "peer size")


@test(link=False)
def no_link(m):
    for dev in m.accel:
        equal(dev.r32(hw.REG_CAPS) & hw.CAPS_LINK, 0, "capability")
        equal(dev.r32(hw.REG_LINK_STATUS), 0, "status")
        equal(dev.r64(hw.REG_LINK_PEER_UID), 0, "peer UID")
        dev.queue().expect_fault(hw.FAULT_LINK_DOWN, fill(0, 8, 0, LINK))


@test(aperture=8)
def copies_over_the_link(m):
    """Also what no aperture shows."""
    a, b = m.accel
    data = pattern(200000)
    a.write(0, data)
    q = a.queue()
    q.run(copy(0, 30 * MIB, len(data), LMEM, LINK),
          copy(30 * MIB, 4 * MIB, len(data), LINK, LMEM))
    equal(a.read(4 * MIB, len(data)), data, "there and back")
    b.queue().run(copy(30 * MIB, 0, len(data), LMEM, LMEM))
    equal(b.read(0, len(data)), data, "on the peer")
    equal((a.counter("LINK_WRITE"), a.counter("LINK_READ")),
          (len(data), len(data)), "counters")
    equal(a.counter("BUS_WRITE") + a.counter("BUS_READ"), 0, "not by the bus")


@test()
def link_through_page_tables(m):
    a, b = m.accel
    table = PageTable(a)
    table.map(0x1000, 0x7000, flags=hw.PTE_W | hw.PTE_LINK)
    table.map(0x200000, 2 * MIB, 1, hw.PTE_W | hw.PTE_LINK)
    a.context(0, table)
    a.queue(0, flags=0).run(fill(0x1000, 4096, 0x6161616161616161),
                            copy(0x1000, 0x300000, 4096))
    equal(b.read(0x7000, 4096), b"a" * 4096, "4 KiB leaf")
    equal(b.read(3 * MIB, 4096), b"a" * 4096, "2 MiB leaf")


@test()
def link_time_and_range(m):
    a, _ = m.accel
    a.w32(hw.REG_TIME_CMD, 100)
    a.w32(hw.REG_TIME_LINK, 50)
    q = a.queue()
    q.run(fill(0, 4096, 0, LINK))
    equal(q.r64(hw.Q_BUSY_NS), 100 + 4 * 50, "time")
    _, at = q.expect_fault(hw.FAULT_LMEM_RANGE, fill(32 * MIB - 8, 16, 0, LINK))
    equal(at, 32 * MIB, "address")


@test()
def poison_of_the_peer(m):
    a, b = m.accel
    b.w64(hw.REG_INJECT_ADDR, 0x8000)
    b.w32(hw.REG_INJECT, hw.INJECT_LMEM_ERROR)
    a.queue().expect_fault(hw.FAULT_LMEM_ERROR,
                           crc(0x8000, 0, 8, s=LINK, d=LMEM))
    equal(a.r32(hw.REG_STATUS) & hw.STATUS_LMEM_ERROR, hw.STATUS_LMEM_ERROR,
          "status")


@test()
def vfs_have_no_link(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    vf.queue().expect_fault(hw.FAULT_LINK_DOWN, fill(0, 8, 0, LINK))
    table = PageTable(vf)
    table.map(0x1000, 0, flags=hw.PTE_W | hw.PTE_LINK)
    vf.context(0, table)
    vf.queue(1, flags=0).expect_fault(hw.FAULT_LINK_DOWN, fill(0x1000, 8, 0))
