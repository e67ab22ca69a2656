# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI configuration space, identification, VFs as PCI functions."""

import hw
import pci
from harness import equal, test


@test()
def pf_identity(m):
    for device in m.accel:
        equal(device.pci.ident, (hw.PCI_VENDOR_ID, hw.PCI_DEVICE_ID_PF), "ids")
        equal(device.pci.get(0x0a, 2), hw.PCI_CLASS, "class")
        equal(device.pci.get(0x08, 1), hw.PCI_REVISION, "revision")
    equal(len(m.accel), 2, "accelerators")


@test()
def pf_capabilities(m):
    dev = m.accel[0].pci
    for ident in (pci.CAP_MSIX, pci.CAP_EXP):
        assert dev.cap(ident), f"capability {ident:#x}"
    for ident in (pci.EXT_AER, pci.EXT_ACS, pci.EXT_ARI, pci.EXT_SRIOV):
        assert dev.ext(ident), f"extended capability {ident:#x}"
    assert dev.get(dev.cap(pci.CAP_EXP) + 4) & 1 << 28, "FLR capable"
    # No peer-to-peer between functions inside of the device.
    equal(dev.get(dev.ext(pci.EXT_ACS) + pci.ACS_CAP, 2), 0, "ACS bits")
    equal(dev.get(dev.cap(pci.CAP_MSIX) + 2, 2) & 0x7ff,
          hw.NR_VECTORS - 1, "vectors")


@test(lmem=64, aperture=16)
def bar_sizes(m):
    dev = m.accel[0]
    want = {hw.BAR_REGS: hw.REGS_SIZE, hw.BAR_LMEM: 16 << 20,
            hw.BAR_MSIX: hw.MSIX_SIZE}
    equal({n: size for n, (_, size) in dev.pci.bars.items()}, want, "PF BARs")
    equal({n: size for n, (_, size) in dev.pci.vf_bars.items()}, want,
          "VF BARs")
    equal(dev.r64(hw.REG_LMEM_SIZE), 64 << 20, "LMEM size")
    equal(dev.r64(hw.REG_APERTURE_SIZE), 16 << 20, "aperture size")


@test()
def identification_registers(m):
    a, b = m.accel
    equal(a.r32(hw.REG_ID), hw.ID, "ID")
    equal(a.r32(hw.REG_VERSION), hw.VERSION, "version")
    caps = a.r32(hw.REG_CAPS)
    equal(caps & 0xff, hw.CAPS_LINK | hw.CAPS_INJECT, "capabilities")
    equal((caps & hw.CAPS_NR_CTX_MASK) >> hw.CAPS_NR_CTX_SHIFT, hw.NR_CTX,
          "contexts")
    equal((caps & hw.CAPS_NR_QUEUES_MASK) >> hw.CAPS_NR_QUEUES_SHIFT,
          hw.NR_QUEUES, "queues")
    equal(a.r32(hw.REG_FUNCTION), 0, "function")
    equal(a.r32(hw.REG_STATUS), hw.STATUS_READY, "status")
    assert a.r64(hw.REG_DEVICE_UID) not in (0, b.r64(hw.REG_DEVICE_UID))


@test(devices=1, link=False, vfs=0, extra=",uid=0x1234567890,inject=off")
def properties(m):
    dev = m.accel[0]
    equal(dev.r64(hw.REG_DEVICE_UID), 0x1234567890, "uid")
    equal(dev.r32(hw.REG_CAPS) & 0xff, 0, "capabilities")
    assert not dev.pci.ext(pci.EXT_SRIOV), "SR-IOV without VFs"
    dev.w32(hw.REG_INJECT, hw.INJECT_LOSE_IRQ | hw.INJECT_LMEM_ERROR)
    q = dev.queue()
    q.run()


@test(devices=1, link=False)
def bad_properties_are_refused(m):
    for bad in ("lmem=3M", "lmem=0", "aperture=3M", "aperture=64M,lmem=32M",
                "total-vfs=64"):
        driver, _, rest = ("hlrs," + bad).partition(",")
        options = dict(o.split("=") for o in rest.split(","))
        for name in ("lmem", "aperture"):
            if name in options:
                options[name] = int(options[name].rstrip("M") or 0) << 20
        if "total-vfs" in options:
            options["total-vfs"] = int(options["total-vfs"])
        try:
            m.qemu.qmp("device_add", driver=driver, bus="ds1", **options)
        except RuntimeError:
            continue
        raise AssertionError(f"{bad} was accepted")


@test()
def scratch_and_widths(m):
    dev = m.accel[0]
    dev.w32(hw.REG_SCRATCH, 0xcafe1234)
    equal(dev.r32(hw.REG_SCRATCH), 0xcafe1234, "scratch")
    # Two halves and one whole are the same register.
    dev.w32(hw.REG_INJECT_ADDR, 0x89abcdef)
    dev.w32(hw.REG_INJECT_ADDR + 4, 0x01234567)
    equal(dev.r64(hw.REG_INJECT_ADDR), 0x0123456789abcdef, "64 bits")
    equal(dev.r32(hw.REG_INJECT_ADDR + 4), 0x01234567, "high half")
    # Reads of write-only and reserved registers give 0.
    for reg in (hw.REG_CTRL, hw.REG_INJECT, hw.REG_LMTT_COMMIT,
                hw.REG_VF_RESET, 0xfff8):
        equal(dev.r32(reg), 0, f"register {reg:#x}")
    # Narrow accesses do nothing.
    dev.qemu.store(dev.regs + hw.REG_SCRATCH, 1, 0x55)
    equal(dev.r32(hw.REG_SCRATCH), 0xcafe1234, "after a byte write")


@test()
def read_only_registers(m):
    dev = m.accel[0]
    for reg in (hw.REG_ID, hw.REG_VERSION, hw.REG_CAPS, hw.REG_FUNCTION,
                hw.REG_LMEM_SIZE, hw.REG_APERTURE_SIZE, hw.REG_STATUS,
                hw.REG_RESET_COUNT, hw.REG_DEVICE_UID, hw.REG_LMTT_STATUS,
                hw.REG_LINK_STATUS, hw.REG_CNT_COMMANDS,
                hw.q(0, hw.Q_HEAD), hw.q(0, hw.Q_STATUS),
                hw.q(0, hw.Q_CLASS), hw.ctx(0, hw.CTX_STATUS)):
        before = dev.r32(reg)
        dev.w32(reg, ~before & 0xffffffff)
        equal(dev.r32(reg), before, f"register {reg:#x}")


@test()
def timestamp_is_the_virtual_clock(m):
    dev = m.accel[0]
    first = dev.r64(hw.REG_TIMESTAMP)
    m.step(12345)
    equal(dev.r64(hw.REG_TIMESTAMP), first + 12345, "timestamp")


@test()
def vfs_appear_and_go(m):
    pf = m.accel[0]
    first = pci.Function(m.qemu, pf.pci.bus, pf.pci.devfn + 1)
    assert not first.present
    vfs = pf.enable_vfs(7)
    cap = pf.pci.ext(pci.EXT_SRIOV)
    equal(pf.pci.get(cap + pci.SRIOV_TOTAL_VF, 2), 7, "TotalVFs")
    equal(pf.pci.get(cap + pci.SRIOV_VF_DID, 2), hw.PCI_DEVICE_ID_VF, "VF id")
    for n, vf in enumerate(vfs, 1):
        equal(vf.r32(hw.REG_ID), hw.ID, "ID")
        equal(vf.r32(hw.REG_FUNCTION), n, "function")
        equal(vf.r32(hw.REG_CAPS) & 0xff, hw.CAPS_VF | hw.CAPS_INJECT, "caps")
        equal(vf.r64(hw.REG_DEVICE_UID), pf.r64(hw.REG_DEVICE_UID), "uid")
        equal(vf.r64(hw.REG_LMEM_SIZE), 0, "quota")
        assert vf.pci.ext(pci.EXT_ACS) and vf.pci.ext(pci.EXT_ARI)
        assert vf.pci.ext(pci.EXT_AER) and vf.pci.cap(pci.CAP_MSIX)
    pf.disable_vfs()
    assert not first.present
    equal(m.qemu.load(vfs[0].regs, 4), 0xffffffff, "VF BAR after disable")


@test(vfs=63, kind="ports")
def sixty_three_vfs(m):
    pf = m.accel[0]
    vfs = pf.enable_vfs(63)
    equal(vfs[62].r32(hw.REG_FUNCTION), 63, "last VF")
    assert pf.give(63, [5])
    equal(vfs[62].r64(hw.REG_LMEM_SIZE), hw.LMTT_GRANULE, "quota")
    pf.w64(hw.REG_VF_FLR, 0xffffffffffffffff)
    vfs[62].pci.flr()
    equal(pf.r64(hw.REG_VF_FLR), 1 << 63, "VF_FLR")
    pf.w64(hw.REG_VF_FLR, 1 << 63)
    equal(pf.r64(hw.REG_VF_FLR), 0, "VF_FLR")


@test()
def vf_decoding_follows_mse(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1, map_bars=False)[0]
    # The VF's own Memory Space bit is hardwired to zero, as in silicon.
    equal(vf.pci.get(pci.COMMAND, 2), pci.COMMAND_MASTER, "Command")
    equal(m.qemu.load(vf.regs, 4), 0xffffffff, "BAR without MSE")
    cap = pf.pci.ext(pci.EXT_SRIOV)
    pf.pci.set(cap + pci.SRIOV_CTRL,
               pci.SRIOV_CTRL_VFE | pci.SRIOV_CTRL_MSE, 2)
    equal(vf.r32(hw.REG_ID), hw.ID, "BAR with MSE")
    equal(vf.pci.get(pci.COMMAND, 2), pci.COMMAND_MASTER, "Command")
    vf.pci.flr()
    equal(vf.r32(hw.REG_ID), hw.ID, "BAR after FLR")
    vf.pci.set(pci.COMMAND, 0, 2)
    equal(vf.r32(hw.REG_ID), hw.ID, "BAR after clearing Command")
    pf.pci.set(cap + pci.SRIOV_CTRL, pci.SRIOV_CTRL_VFE, 2)
    equal(m.qemu.load(vf.regs, 4), 0xffffffff, "BAR after MSE was cleared")


@test()
def vf_has_no_pf_registers(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    assert pf.give(1, [3])
    vf.w32(hw.REG_LMTT_VF, 1)
    vf.w64(hw.REG_LMTT_ENTRY, hw.LMTT_VALID)
    vf.w32(hw.REG_LMTT_COMMIT, 1)
    vf.w32(hw.REG_VF_RESET, 1)
    for reg in (hw.REG_VF_FLR, hw.REG_LMTT_VF, hw.REG_LMTT_INDEX,
                hw.REG_LMTT_ENTRY, hw.REG_LMTT_STATUS, hw.REG_LINK_STATUS,
                hw.REG_LINK_PEER_UID, hw.REG_LINK_PEER_SIZE):
        equal(vf.r64(reg), 0, f"register {reg:#x}")
    equal(vf.r32(hw.REG_STATUS), hw.STATUS_READY, "status")
    pf.w32(hw.REG_LMTT_VF, 1)
    equal(pf.r64(hw.REG_LMTT_ENTRY), 3 * hw.LMTT_GRANULE | hw.LMTT_VALID,
          "the PF's table")
    vf.w32(hw.REG_CTRL, hw.CTRL_RESET_ALL)
    equal(pf.r32(hw.REG_STATUS), hw.STATUS_READY, "PF after VF's RESET_ALL")
    equal(vf.r32(hw.REG_STATUS), hw.STATUS_READY, "VF after its RESET_ALL")


@test()
def counters_do_not_tear(m):
    dev = m.accel[0]
    m.step((1 << 32) - dev.r64(hw.REG_TIMESTAMP) - 10)
    low = dev.r32(hw.REG_TIMESTAMP)
    m.step(20)
    equal(dev.r32(hw.REG_TIMESTAMP + 4) << 32 | low, (1 << 32) - 10,
          "halves of one moment")
    equal(dev.r32(hw.REG_TIMESTAMP + 4), 1, "high half alone")
    # Something else in between: the kept half is not used for it.
    dev.r32(hw.REG_TIMESTAMP)
    equal(dev.r32(hw.REG_DEVICE_UID + 4), dev.r64(hw.REG_DEVICE_UID) >> 32,
          "high half of another register")
