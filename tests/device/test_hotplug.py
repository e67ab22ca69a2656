# SPDX-License-Identifier: GPL-2.0-or-later
"""Unplug, with and without asking, also in the middle of work; plug again."""

import hw
import pci
from harness import equal, pattern, test
from hlrs import (BUS, LINK, LMEM, MIB, MS, Device, PageTable, copy, crc,
                  fill, hang)

SLTCTL_OFF = 0x0700         # power controller and power indicator off
SLTSTA_ABP, SLTSTA_PDC, SLTSTA_PDS = 0x01, 0x08, 0x40


def slot_status(port):
    return port.get(port.cap(pci.CAP_EXP) + pci.EXP_SLTSTA, 2)


def unplug(m, n):
    """Orderly: request, the operating system powers the slot off."""
    port = m.accel[n].pci.parent
    m.qemu.qmp("device_del", id=f"acc{n}")
    assert slot_status(port) & SLTSTA_ABP, "attention button"
    port.set(port.cap(pci.CAP_EXP) + pci.EXP_SLTCTL, SLTCTL_OFF, 2)
    gone(m, n)


def pull(m, n):
    """Surprise removal."""
    m.qemu.qmp("qom-set", path=f"/machine/peripheral/acc{n}", property="pull",
               value=True)
    gone(m, n)
    status = slot_status(m.accel[n].pci.parent)
    equal(status & (SLTSTA_PDC | SLTSTA_PDS), SLTSTA_PDC, "slot status")


def gone(m, n):
    m.qemu.wait_event("DEVICE_DELETED",
                      lambda data: data.get("device") == f"acc{n}")
    assert not m.accel[n].pci.present
    equal(m.qemu.load(m.accel[n].regs, 4), 0xffffffff, "BAR0")
    equal(m.qemu.load(m.accel[n].lmem, 8), 0xffffffffffffffff, "BAR2")


def busy(m, n):
    """Work on PF and VFs: moving data, hanging, faulted, resetting."""
    dev = m.accel[n]
    vfs = dev.enable_vfs(7)
    for number, vf in enumerate(vfs[:6], 1):
        assert dev.give(number, [number])
    table = PageTable(dev)
    table.map(0, 0, 1, hw.PTE_W | hw.PTE_DM)
    dev.context(0, table)
    ram = m.ram(4 * MIB)
    for one in (dev, *vfs):
        one.enable_msix()
        one.w32(hw.REG_TIME_LMEM, 1000)
        one.w32(hw.REG_TIME_BUS, 1000)
        one.queue(0).submit(copy(0, ram, MIB, LMEM, BUS))
        one.queue(1).submit(fill(0, MIB, 1, LMEM))
        one.queue(2).submit(hang())
    m.step(MS)
    vfs[3].w32(hw.REG_CTRL, hw.CTRL_RESET)
    vfs[4].w32(hw.q(0, hw.Q_CTRL), hw.Q_CTRL_RESET)
    vfs[5].w32(hw.REG_EVENT_ENABLE, hw.EVENT_ALL)
    return vfs


@test()
def orderly_unplug(m):
    unplug(m, 0)
    m.accel[1].queue().run(fill(0, 8, 1, LMEM))


@test()
def unplug_when_switched_off(m):
    """As a driver leaves it: no BAR decodes, no bus mastering."""
    m.accel[0].pci.set(pci.COMMAND, 0, 2)
    unplug(m, 0)


@test()
def unplug_in_flight(m):
    busy(m, 0)
    unplug(m, 0)
    m.step(1000 * MS)
    m.accel[1].queue().run(fill(0, 8, 1, LMEM))


@test()
def pull_in_flight(m):
    busy(m, 0)
    pull(m, 0)
    m.step(1000 * MS)
    m.accel[1].queue().run(fill(0, 8, 1, LMEM))


@test(kind="ports")
def pull_from_a_root_port(m):
    busy(m, 1)
    pull(m, 1)
    m.step(1000 * MS)


@test()
def peer_pulled_under_dma(m):
    """The other device is reading from it, by the bus and by the link."""
    a, b = m.accel
    a.enable_msix()
    a.w32(hw.REG_EVENT_ENABLE, hw.EVENT_LINK)
    a.w32(hw.REG_TIME_BUS, 1000)
    a.w32(hw.REG_TIME_LINK, 1000)
    by_bus, by_link = a.queue(0), a.queue(1)
    by_bus.submit(copy(b.lmem, 0, 8 * MIB, BUS, LMEM))
    by_link.submit(copy(0, 8 * MIB, 8 * MIB, LINK, LMEM))
    m.step(2 * MS)
    assert by_bus.status & by_link.status & hw.Q_STATUS_BUSY
    pull(m, 1)
    m.step(100 * MS)
    equal([q.r32(hw.Q_FAULT_INFO) & hw.FAULT_REASON_MASK
           for q in (by_bus, by_link)],
          [hw.FAULT_BUS, hw.FAULT_LINK_DOWN], "reasons")
    equal(a.r32(hw.REG_LINK_STATUS), 0, "link")
    equal(a.r64(hw.REG_LINK_PEER_SIZE), 0, "peer size")
    assert a.r32(hw.REG_EVENT_STATUS) & hw.EVENT_LINK, "event"
    assert a.interrupted(0), "interrupt"


@test()
def plug_again(m):
    a, b = m.accel
    unplug(m, 1)
    equal(a.r32(hw.REG_LINK_STATUS), 0, "link down")
    a.w32(hw.REG_EVENT_STATUS, hw.EVENT_ALL)
    port = b.pci.parent
    m.qemu.qmp("device_add", driver="hlrs", id="acc1", bus="ds1", link="acc0",
               lmem=32 << 20)
    port.set(port.cap(pci.CAP_EXP) + pci.EXP_SLTCTL, 0x0100, 2)
    equal(a.r32(hw.REG_LINK_STATUS), hw.LINK_UP, "link up")
    equal(a.r32(hw.REG_EVENT_STATUS), hw.EVENT_LINK, "event")
    function = pci.Function(m.qemu, b.pci.bus, b.pci.devfn)
    function.bars, function.parent = b.pci.bars, port
    for index, (address, _) in function.bars.items():
        function.set(pci.BAR0 + 4 * index, address & 0xffffffff)
        function.set(pci.BAR0 + 4 * index + 4, address >> 32)
    function.enable()
    m.accel[1] = new = Device(m, function)
    equal(new.r32(hw.REG_RESET_COUNT), 0, "resets")
    a.write(0, pattern(4096))
    new.queue().run(copy(0, 0, 4096, LINK, LMEM))
    equal(new.read(0, 4096), pattern(4096), "over the new link")
    pull(m, 1)


@test()
def pull_only_once_and_only_by_true(m):
    m.qemu.qmp("qom-set", path="/machine/peripheral/acc0", property="pull",
               value=False)
    assert m.accel[0].pci.present, "pulled by writing false"
    pull(m, 0)
    try:
        m.qemu.qmp("qom-set", path="/machine/peripheral/acc0",
                   property="pull", value=True)
    except RuntimeError:
        return
    raise AssertionError("pulled twice")


@test()
def pull_with_reads_of_its_vf_pending(m):
    """A peer's engine is reading a VF's window when the device goes."""
    a, b = m.accel
    vf = a.enable_vfs(2)[1]
    assert a.give(2, [5, 3, 7, 1])
    b.w32(hw.REG_TIME_BUS, 1000)
    q = b.queue()
    q.submit(copy(vf.lmem, 0, 8 * MIB, BUS, LMEM))
    m.step(2 * MS)
    pull(m, 0)
    m.step(100 * MS)
    equal(q.r32(hw.Q_FAULT_INFO) & hw.FAULT_REASON_MASK, hw.FAULT_BUS,
          "reason")
    q.restart()
    q.expect_fault(hw.FAULT_BUS, crc(vf.lmem, 0, 8, s=BUS, d=LMEM))


@test()
def unplugged_by_its_own_interrupt(m):
    """The message goes to the slot's power control."""
    for n, vf in ((0, False), (1, True)):
        pf = m.accel[n]
        port = pf.pci.parent
        dev = pf.enable_vfs(1)[0] if vf else pf
        dev.enable_msix()
        at = port.at(port.cap(pci.CAP_EXP) + pci.EXP_SLTCTL)
        m.qemu.store(dev.msix, 8, at)
        m.qemu.store(dev.msix + 8, 4, SLTCTL_OFF)
        dev.w32(hw.REG_EVENT_ENABLE, hw.EVENT_ALL)
        dev.queue(0).submit(hang())
        dev.w32(hw.REG_CTRL, hw.CTRL_RESET)
        m.step()
        assert not pf.pci.present, "still plugged in"
        m.step()
