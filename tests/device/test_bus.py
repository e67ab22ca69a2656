# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes of requests: peers below a switch, root complex, IOMMU, ACS."""

import struct

import hw
import pci
from harness import equal, pattern, test
from hlrs import BUS, LMEM, MIB, PageTable, copy, crc, fence, fill

VTD = 0xfed90000
GCMD, GSTS, RTADDR = 0x18, 0x1c, 0x20


def turn_on_iommu(m, mappings):
    """Second-level translation for all functions: IOVA page to address."""
    root, context = m.ram(4096), m.ram(4096)
    tables = {(): m.ram(4096)}

    def table(path):
        if path not in tables:
            tables[path] = m.ram(4096)
            m.qemu.store(table(path[:-1]) + 8 * path[-1], 8, tables[path] | 3)
        return tables[path]

    for iova, address in mappings.items():
        index = [iova >> 12 + 9 * level & 511 for level in (2, 1, 0)]
        m.qemu.store(table(tuple(index[:2])) + 8 * index[2], 8, address | 3)
    for bus in range(256):
        m.qemu.store(root + 16 * bus, 8, context | 1)
    entries = struct.pack("<QQ", tables[()] | 1, 1 | 7 << 8) * 256
    m.qemu.write(context, entries)
    m.qemu.store(VTD + RTADDR, 8, root)
    m.qemu.store(VTD + GCMD, 4, 1 << 30)
    m.qemu.store(VTD + GCMD, 4, 1 << 31)
    assert m.qemu.load(VTD + GSTS, 4) >> 31, "translation is on"


def set_redirect(dev, on):
    port = dev.pci.parent
    at = port.ext(pci.EXT_ACS) + pci.ACS_CTRL
    port.set(at, pci.ACS_RR if on else 0, 2)


@test()
def peer_by_bus_address(m):
    a, b = m.accel
    data = pattern(3 * MIB)
    a.write(0x1234, data)
    b.queue().run(copy(a.lmem + 0x1234, 0x777, len(data), BUS, LMEM))
    equal(b.read(0x777, len(data)), data, "pulled from the peer")
    b.write(MIB * 8, data)
    b.queue(1).run(copy(8 * MIB, a.lmem + 16 * MIB, len(data), LMEM, BUS))
    equal(a.read(16 * MIB, len(data)), data, "pushed to the peer")
    equal(b.counter("BUS_READ"), len(data), "bytes over the bus")


@test()
def peer_through_page_tables(m):
    a, b = m.accel
    a.write(0x5000, pattern(4096))
    # A 2 MiB leaf on the bus needs an aligned BAR, which it is.
    table = PageTable(b)
    table.map(0x200000, a.lmem, 1)
    table.map(0x9000, 0x9000, flags=hw.PTE_W | hw.PTE_DM)
    b.context(2, table)
    b.queue(0, ctx=2, flags=0).run(copy(0x205000, 0x9000, 4096))
    equal(b.read(0x9000, 4096), pattern(4096), "copy")


@test(kind="ports")
def peer_through_root_complex(m):
    a, b = m.accel
    data = pattern(100000)
    a.write(0, data)
    b.queue().run(copy(a.lmem, 0, len(data), BUS, LMEM))
    equal(b.read(0, len(data)), data, "pulled from the peer")


@test(iommu=True)
def iommu_translates_ram(m):
    dev = m.accel[0]
    pages = [m.ram(4096) for _ in range(3)]
    q = dev.queue()
    turn_on_iommu(m, {q.ring: q.ring, 0x10000000: pages[2],
                      0x10001000: pages[0], 0x10002000: pages[1]})
    data = pattern(3 * 4096)
    dev.write(0, data)
    q.run(copy(0, 0x10000000, len(data), LMEM, BUS))
    equal([m.qemu.read(p, 4096) for p in pages],
          [data[4096:8192], data[8192:], data[:4096]], "pages")
    _, at = q.expect_fault(hw.FAULT_BUS, fill(0x10003000, 8, 0, BUS))
    equal(at, 0x10003000, "address")


@test(iommu=True)
def switch_bypasses_the_iommu(m):
    """Below one switch without redirect, a raw BAR address is enough."""
    a, b = m.accel
    a.write(0, pattern(5000))
    q = b.queue()
    turn_on_iommu(m, {q.ring: q.ring})
    q.run(copy(a.lmem, 0, 5000, BUS, LMEM))
    equal(b.read(0, 5000), pattern(5000), "copy")


@test(iommu=True, kind="ports")
def root_ports_do_not_bypass_the_iommu(m):
    a, b = m.accel
    a.write(0, pattern(4096))
    q = b.queue()
    turn_on_iommu(m, {q.ring: q.ring, 0x40000000: a.lmem})
    q.run(copy(0x40000000, 0, 4096, BUS, LMEM))
    equal(b.read(0, 4096), pattern(4096), "by IOVA")
    q.expect_fault(hw.FAULT_BUS, crc(a.lmem, 0, 8, s=BUS, d=LMEM))


@test(iommu=True, kind="acs")
def acs_redirect(m):
    a, b = m.accel
    a.write(0, pattern(4096))
    q = b.queue()
    turn_on_iommu(m, {q.ring: q.ring, 0x40000000: a.lmem})
    q.run(copy(a.lmem, 0x10000, 4096, BUS, LMEM))
    equal(b.read(0x10000, 4096), pattern(4096), "direct")
    set_redirect(b, True)
    q.expect_fault(hw.FAULT_BUS, crc(a.lmem, 0, 8, s=BUS, d=LMEM))
    q.restart()
    q.run(copy(0x40000000, 0x20000, 4096, BUS, LMEM))
    equal(b.read(0x20000, 4096), pattern(4096), "redirected, by IOVA")
    # The redirect bit of a's port says nothing about requests of b.
    set_redirect(b, False)
    set_redirect(a, True)
    q.run(copy(a.lmem, 0x30000, 4096, BUS, LMEM))
    equal(b.read(0x30000, 4096), pattern(4096), "direct again")


@test(iommu=True, kind="acs")
def own_vf_by_bus_address(m):
    """PF and VF below one port: turned around there, unless redirected."""
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    assert pf.give(1, [6])
    vf.write(0, pattern(4096))
    q = pf.queue()
    turn_on_iommu(m, {q.ring: q.ring})
    q.run(copy(vf.lmem, 0, 4096, BUS, LMEM))
    equal(pf.read(0, 4096), pattern(4096), "copy")
    set_redirect(pf, True)
    q.expect_fault(hw.FAULT_BUS, crc(vf.lmem, 0, 8, s=BUS, d=LMEM))


@test()
def peer_vf_window_and_its_holes(m):
    a, b = m.accel
    vf = a.enable_vfs(2)[1]
    assert a.give(2, [9, 1])
    data = pattern(hw.LMTT_GRANULE)
    a.write(9 * hw.LMTT_GRANULE, data)
    q = b.queue()
    q.run(copy(vf.lmem, 0, len(data), BUS, LMEM))
    equal(b.read(0, len(data)), data, "VF's window by the peer")
    # Across the end of the quota: ones, counted at the VF, LMEM untouched.
    before = vf.counter("QUOTA_VIOLATION")
    q.run(copy(vf.lmem + 2 * hw.LMTT_GRANULE - 4096, 0x400000, 8192, BUS,
               LMEM))
    equal(b.read(0x400000, 8192), bytes(4096) + b"\xff" * 4096, "hole")
    equal(vf.counter("QUOTA_VIOLATION"), before + 1, "violations")
    q.run(fill(vf.lmem + 2 * hw.LMTT_GRANULE, 4096, 0, BUS))
    equal(a.read(2 * hw.LMTT_GRANULE, 4096), bytes(4096), "LMEM")


@test(iommu=True)
def iommu_applies_to_rings_and_interrupts(m):
    dev = m.accel[0]
    dev.enable_msix()
    q = dev.queue()
    turn_on_iommu(m, {0x20000000: q.ring, dev._messages: dev._messages})
    q.w32(hw.Q_CTRL, 0)
    q.w64(hw.Q_RING, 0x20000000)
    q.w32(hw.Q_CTRL, hw.Q_CTRL_ENABLE | hw.Q_CTRL_PRIV)
    q.run(fence(0, 5, LMEM, irq=True))
    equal(dev.read(0, 1)[0], 5, "fence")
    assert dev.interrupted(1)


@test(iommu=True)
def vf_has_an_iommu_context_of_its_own(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    assert pf.give(1, [3])
    page = m.ram(4096)
    m.qemu.write(page, pattern(4096))
    q = vf.queue()
    turn_on_iommu(m, {q.ring: q.ring, 0x50000000: page})
    q.run(copy(0x50000000, 0, 4096, BUS, LMEM))
    equal(vf.read(0, 4096), pattern(4096), "copy")
    q.expect_fault(hw.FAULT_BUS, crc(page, 0, 8, s=BUS, d=LMEM))


@test()
def disabled_peer_does_not_answer(m):
    a, b = m.accel
    a.pci.set(pci.COMMAND, 0, 2)
    b.queue().expect_fault(hw.FAULT_BUS, crc(a.lmem, 0, 8, s=BUS, d=LMEM))


@test()
def vf_needs_its_own_bus_master(m):
    pf = m.accel[0]
    one, two = pf.enable_vfs(2)
    one.pci.set(pci.COMMAND, 0, 2)
    two.queue().run()
    two.queue().run(fill(m.ram(4096), 8, 1, BUS))
    one.queue().expect_fault(hw.FAULT_RING, fill(0, 8, 1, LMEM))


@test()
def bus_master_cleared_in_flight(m):
    """The direct way to a peer is closed as well."""
    a, b = m.accel
    b.w32(hw.REG_TIME_BUS, 1000)
    q = b.queue()
    q.submit(copy(a.lmem, 0, 8 * MIB, BUS, LMEM))
    m.step(2000000)
    moved = b.counter("BUS_READ")
    assert 0 < moved < 8 * MIB
    b.pci.enable(master=False)
    m.step(100000000)
    equal(b.counter("BUS_READ"), moved, "bytes without bus master")
    equal(q.r32(hw.Q_FAULT_INFO) & hw.FAULT_REASON_MASK, hw.FAULT_BUS,
          "reason")
