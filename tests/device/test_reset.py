# SPDX-License-Identifier: GPL-2.0-or-later
"""Function reset, FLR of PF and VF, VF disable; what each keeps."""

import hw
import pci
from harness import equal, test
from hlrs import LMEM, MIB, MS, PageTable, fill, hang
from test_lmtt import restore


def dirty(dev):
    """Gives every kind of register something that a reset must clear."""
    table = PageTable(dev)
    dev.context(3, table)
    dev.w64(hw.ctx(3, hw.CTX_INV_START), 0x1000)
    dev.w32(hw.REG_SCRATCH, 0x1234)
    dev.w32(hw.REG_TIME_BUS, 77)
    dev.w32(hw.REG_EVENT_ENABLE, hw.EVENT_FAULT | hw.EVENT_RESET_DONE)
    dev.w64(hw.REG_INJECT_ADDR, 0x9999)
    q, faulty = dev.queue(2, vector=4), dev.queue(3, ctx=3, flags=0)
    q.submit(hang())
    faulty.expect_fault(hw.FAULT_NOT_PRESENT, fill(0, 8, 0))


def check_engines_are_new(dev):
    for n in (2, 3):
        for reg in (hw.Q_CTRL, hw.Q_STATUS, hw.Q_HEAD, hw.Q_TAIL, hw.Q_ORDER,
                    hw.Q_VECTOR, hw.Q_FAULT_INFO, hw.Q_RING, hw.Q_BUSY_NS):
            equal(dev.r32(hw.q(n, reg)), 0, f"queue {n} register {reg:#x}")
    for reg in (hw.CTX_ROOT, hw.CTX_CTRL, hw.CTX_STATUS, hw.CTX_FAULT_INFO,
                hw.CTX_INV_START):
        equal(dev.r32(hw.ctx(3, reg)), 0, f"context register {reg:#x}")


@test()
def function_reset(m):
    dev = m.accel[0]
    dirty(dev)
    dev.enable_msix()
    dev.write(0, b"kept")
    dev.w32(hw.REG_CTRL, hw.CTRL_RESET)
    equal(dev.r32(hw.REG_STATUS), hw.STATUS_RESETTING, "status during reset")
    check_engines_are_new(dev)
    # What is written to engines during the reset is lost.
    dev.w32(hw.q(2, hw.Q_TAIL), 5)
    dev.w32(hw.ctx(3, hw.CTX_CTRL), hw.CTX_CTRL_ENABLE)
    m.step(1000)
    equal(dev.r32(hw.REG_STATUS), hw.STATUS_RESETTING, "after 1 us")
    m.step(MS)
    equal(dev.r32(hw.REG_STATUS), hw.STATUS_READY, "status after reset")
    check_engines_are_new(dev)
    equal(dev.r32(hw.REG_EVENT_STATUS), hw.EVENT_RESET_DONE, "events")
    assert dev.interrupted(0), "RESET_DONE"
    equal(dev.r32(hw.REG_RESET_COUNT), 1, "resets")
    equal((dev.r32(hw.REG_SCRATCH), dev.r32(hw.REG_TIME_BUS)), (0x1234, 77),
          "what a function reset keeps")
    equal(dev.read(0, 4), b"kept", "LMEM")
    assert dev.counter("FAULTS"), "counters are kept"
    dev.queue(2).run(fill(0, 8, 1, LMEM))


@test()
def reset_during_reset_counts_once(m):
    dev = m.accel[0]
    dev.w32(hw.REG_CTRL, hw.CTRL_RESET)
    m.step(3000)
    dev.w32(hw.REG_CTRL, hw.CTRL_RESET)
    m.step(3000)
    equal(dev.r32(hw.REG_STATUS), hw.STATUS_READY, "status")
    equal(dev.r32(hw.REG_RESET_COUNT), 1, "resets")


@test()
def function_reset_in_flight(m):
    dev = m.accel[0]
    dev.w32(hw.REG_TIME_LMEM, 1000)
    for n in range(4):
        dev.queue(n).submit(fill(n * 8 * MIB, 8 * MIB, 0xff, LMEM))
    m.step(2 * MS)
    dev.w32(hw.REG_CTRL, hw.CTRL_RESET)
    moved = dev.counter("LMEM_WRITE")
    assert 0 < moved < 32 * MIB
    m.step(1000 * MS)
    equal(dev.counter("LMEM_WRITE"), moved, "bytes after the reset")


@test()
def reset_drops_translations(m):
    dev = m.accel[0]
    for page in (0x1000, 0x2000):
        table = PageTable(dev)
        table.map(0, page, flags=hw.PTE_W | hw.PTE_DM)
        dev.context(0, table)
        dev.queue(0, flags=0).run(fill(0, 8, page))
        equal(dev.read(page + 1, 1)[0], page >> 8, "page")
        dev.w32(hw.REG_CTRL, hw.CTRL_RESET)
        m.step()


@test()
def reset_all(m):
    pf = m.accel[0]
    vfs = pf.enable_vfs(2)
    for vf in vfs:
        dirty(vf)
    pf.w32(hw.REG_CTRL, hw.CTRL_RESET_ALL)
    m.step()
    for vf in vfs:
        check_engines_are_new(vf)
        equal(vf.r32(hw.REG_RESET_COUNT), 1, "resets of a VF")
        equal(vf.r32(hw.REG_EVENT_STATUS), hw.EVENT_RESET_DONE, "events")
    equal(pf.r32(hw.REG_RESET_COUNT), 1, "resets of the PF")
    equal(m.accel[1].r32(hw.REG_RESET_COUNT), 0, "resets of the other device")


@test()
def vf_reset_by_the_pf(m):
    pf = m.accel[0]
    one, two = pf.enable_vfs(2)
    dirty(one)
    dirty(two)
    for number in (0, 3, 64, 0xffffffff):
        pf.w32(hw.REG_VF_RESET, number)
    equal([d.r32(hw.REG_STATUS) for d in (pf, one, two)],
          [hw.STATUS_READY] * 3, "VFs that are not there")
    pf.w32(hw.REG_VF_RESET, 2)
    equal([d.r32(hw.REG_STATUS) for d in (pf, one, two)],
          [hw.STATUS_READY, hw.STATUS_READY, hw.STATUS_RESETTING], "status")
    m.step()
    check_engines_are_new(two)
    assert one.r32(hw.q(2, hw.Q_STATUS)) & hw.Q_STATUS_BUSY
    equal(pf.r64(hw.REG_VF_FLR), 0, "not an FLR")


@test()
def pf_flr(m):
    pf = m.accel[0]
    vfs = pf.enable_vfs(2)
    assert pf.give(1, [2])
    vfs[0].write(0, b"kept")
    dirty(pf)
    pf.w64(hw.REG_INJECT_ADDR, 0)
    pf.w32(hw.REG_INJECT, hw.INJECT_LMEM_ERROR)
    pf.pci.flr()
    equal(pf.pci.get(pci.COMMAND, 2), 0, "Command")
    assert not vfs[0].pci.present, "VFs after FLR of the PF"
    restore(pf)
    check_engines_are_new(pf)
    equal((pf.r32(hw.REG_SCRATCH), pf.r32(hw.REG_EVENT_ENABLE),
           pf.r64(hw.REG_INJECT_ADDR)), (0, 0, 0), "registers")
    equal(pf.r32(hw.REG_TIME_BUS), hw.TIME_BUS_DEFAULT, "times")
    equal(pf.counter("FAULTS"), 0, "counters")
    equal(pf.r32(hw.REG_RESET_COUNT), 1, "resets")
    equal(pf.r64(hw.REG_VF_FLR), 0, "VF_FLR")
    equal(pf.read(2 * hw.LMTT_GRANULE, 4), b"kept", "LMEM")
    pf.w32(hw.REG_LMTT_VF, 1)
    equal(pf.r64(hw.REG_LMTT_ENTRY), 0, "LMTT")
    pf.queue().run(fill(0, 8, 1, LMEM))


@test()
def vf_flr(m):
    pf = m.accel[0]
    pf.enable_msix()
    pf.w32(hw.REG_EVENT_ENABLE, hw.EVENT_VF_FLR)
    vfs = pf.enable_vfs(3)
    for vf in vfs:
        dirty(vf)
    vfs[1].pci.flr()
    equal(pf.r64(hw.REG_VF_FLR), 1 << 2, "VF_FLR")
    equal(pf.r32(hw.REG_EVENT_STATUS), hw.EVENT_VF_FLR, "events")
    m.step(1000)
    assert pf.interrupted(0), "interrupt"
    pf.w64(hw.REG_VF_FLR, 1 << 2)
    equal(pf.r64(hw.REG_VF_FLR), 0, "VF_FLR after W1C")
    vfs[1].pci.enable()
    check_engines_are_new(vfs[1])
    equal((vfs[1].r32(hw.REG_SCRATCH), vfs[1].r32(hw.REG_RESET_COUNT)),
          (0, 1), "the VF's registers")
    assert vfs[0].r32(hw.q(2, hw.Q_STATUS)) & hw.Q_STATUS_BUSY
    assert vfs[2].r32(hw.q(2, hw.Q_STATUS)) & hw.Q_STATUS_BUSY


@test()
def vf_flr_in_flight(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    assert pf.give(1, [0, 1, 2, 3])
    vf.w32(hw.REG_TIME_LMEM, 1000)
    vf.queue().submit(fill(0, 8 * MIB, 0xffffffffffffffff, LMEM))
    m.step(2 * MS)
    vf.pci.flr()
    pf.write(0, bytes(8 * MIB))
    m.step(1000 * MS)
    equal(pf.read(0, 8 * MIB), bytes(8 * MIB), "LMEM after the FLR")


@test()
def vf_disable(m):
    pf = m.accel[0]
    vfs = pf.enable_vfs(3)
    assert pf.give(1, [0, 1, 2, 3])
    vfs[0].w32(hw.REG_TIME_LMEM, 1000)
    vfs[0].queue().submit(fill(0, 8 * MIB, 0xffffffffffffffff, LMEM))
    dirty(vfs[0])
    m.step(2 * MS)
    pf.disable_vfs()
    equal(pf.r64(hw.REG_VF_FLR), 0xe, "VF_FLR")
    equal(pf.r32(hw.REG_EVENT_STATUS), hw.EVENT_VF_FLR, "events")
    pf.write(0, bytes(8 * MIB))
    m.step(1000 * MS)
    equal(pf.read(0, 8 * MIB), bytes(8 * MIB), "LMEM after the disable")
    vf = pf.enable_vfs(1)[0]
    check_engines_are_new(vf)
    equal((vf.r32(hw.REG_SCRATCH), vf.r32(hw.REG_RESET_COUNT)), (0, 0),
          "a new VF")


@test()
def many_enable_disable(m):
    pf = m.accel[0]
    for n in range(30):
        count = n % 7 + 1
        vfs = pf.enable_vfs(count)
        assert pf.give(count, [n % 16])
        vfs[-1].queue().submit(fill(0, 4096, n, LMEM), hang())
        m.step(1 + n * 700)
        pf.disable_vfs()
        assert pf.give(count, [])


@test()
def system_reset(m):
    dev = m.accel[0]
    dev.enable_vfs(2)
    dirty(dev)
    m.qemu.qmp("system_reset")
    m.qemu.wait_event("RESET", lambda data: True)
    bus = pci.Bus(m.qemu)
    from hlrs import Device
    m.accel = []
    for function in bus.find(hw.PCI_VENDOR_ID, hw.PCI_DEVICE_ID_PF):
        function.enable()
        m.accel.append(Device(m, function))
    equal(len(m.accel), 2, "devices")
    check_engines_are_new(m.accel[0])
    equal(m.accel[0].r32(hw.REG_RESET_COUNT), 0, "resets since power on")
    equal(m.accel[0].r32(hw.REG_LINK_STATUS), hw.LINK_UP, "link")
    m.accel[0].queue().run(fill(0, 8, 1, LMEM))


@test()
def nothing_of_the_past_delays_new_work(m):
    dev = m.accel[0]
    dev.w32(hw.REG_TIME_CMD, 1000000000)
    dev.queue(0).submit(fill(0, 8, 1, LMEM))
    m.step()
    dev.w32(hw.REG_CTRL, hw.CTRL_RESET)
    m.step()
    dev.w32(hw.REG_TIME_CMD, 100)
    dev.queue(0).run(fill(8, 8, 2, LMEM), ns=MS)
    equal(dev.read(0, 16), bytes(8) + b"\2" + bytes(7), "LMEM")
