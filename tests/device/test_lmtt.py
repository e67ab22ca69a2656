# SPDX-License-Identifier: GPL-2.0-or-later
"""LMTT: what a VF reaches, by CPU and by engine, and what it does not."""

import hw
import pci
from harness import equal, pattern, test
from hlrs import BUS, LMEM, MIB, copy, fill

GRANULE = hw.LMTT_GRANULE
VALID = hw.LMTT_VALID


@test()
def scattered_granules(m):
    pf = m.accel[0]
    one, two = pf.enable_vfs(2)
    assert pf.give(1, [7, 3, 4, 12])
    assert pf.give(2, [5, 0])
    equal(one.r64(hw.REG_LMEM_SIZE), 4 * GRANULE, "quota of VF 1")
    equal(two.r64(hw.REG_LMEM_SIZE), 2 * GRANULE, "quota of VF 2")
    data = pattern(GRANULE)
    for vf, granules in ((one, [7, 3, 4, 12]), (two, [5, 0])):
        for n, granule in enumerate(granules):
            mark = pattern(64, granule)
            vf.write(n * GRANULE + 4000, mark)
            equal(pf.read(granule * GRANULE + 4000, 64), mark,
                  f"granule {granule} by CPU")
            pf.write(granule * GRANULE + GRANULE - 64, mark)
            equal(vf.read((n + 1) * GRANULE - 64, 64), mark,
                  f"granule {granule} from the other side")
    # Engines see the same: a copy over a place where LMEM is not contiguous.
    one.write(GRANULE - 5000, data[:10000])
    one.queue().run(copy(GRANULE - 5000, 3 * GRANULE - 7000, 10000, LMEM, LMEM))
    equal(pf.read(5 * GRANULE - 7000, 7000), data[:7000], "first part")
    equal(pf.read(12 * GRANULE, 3000), data[7000:10000], "second part")


@test()
def cpu_beyond_the_quota(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    pf.write(0, pattern(64))
    assert pf.give(1, [2])
    for at in (GRANULE, GRANULE + 8, vf.aperture - 8):
        equal(m.qemu.load(vf.lmem + at, 8), 0xffffffffffffffff, "read")
        m.qemu.store(vf.lmem + at, 4, 0)
    equal(vf.counter("QUOTA_VIOLATION"), 6, "violations")
    equal(pf.counter("QUOTA_VIOLATION"), 0, "violations of the PF")
    equal(pf.read(0, 64), pattern(64), "LMEM")
    equal(pf.read(3 * GRANULE, 64), bytes(64), "LMEM behind the granule")


@test()
def engine_beyond_the_quota(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    assert pf.give(1, [2, 6])
    q = vf.queue()
    _, at = q.expect_fault(hw.FAULT_LMEM_RANGE,
                           fill(2 * GRANULE - 16, 32, 0xff, LMEM))
    equal(at, 2 * GRANULE, "address")
    equal(vf.counter("QUOTA_VIOLATION"), 1, "violations")
    equal(pf.read(7 * GRANULE - 16, 32), (b"\xff" + bytes(7)) * 2 + bytes(16),
          "LMEM at the end of the quota")


@test()
def commit_checks(m):
    pf = m.accel[0]
    one, two = pf.enable_vfs(2)
    assert pf.give(1, [1, 2])
    assert pf.give(2, [3])
    good = 5 * GRANULE | VALID
    bad = {
        "VF 0": (0, [good]), "VF 8": (8, [good]),
        "VF beyond 32 bits of VFs": (0xffffffff, [good]),
        "not valid": (1, [good, 6 * GRANULE]),
        "low bits": (1, [good | 2]), "high bits": (1, [good | 1 << 63]),
        "misaligned": (1, [good + MIB]),
        "beyond LMEM": (1, [16 * GRANULE | VALID]),
        "far beyond LMEM": (1, [hw.LMTT_ADDR_MASK | VALID]),
        "another VF's": (1, [3 * GRANULE | VALID]),
        "twice": (1, [good, good]),
    }
    for name, (vf, entries) in bad.items():
        assert not pf.commit(vf, entries), f"{name} was accepted"
        equal(one.r64(hw.REG_LMEM_SIZE), 2 * GRANULE, f"{name}: quota of VF 1")
    assert not pf.commit(1, [good], count=3), "a count beyond what was staged"
    assert not pf.commit(1, [good], count=17), "more than LMEM"
    assert not pf.commit(1, [good], count=0xffffffff), "far more than LMEM"
    one.write(0, b"still mine")
    equal(pf.read(GRANULE, 10), b"still mine", "VF 1's first granule")
    two.write(0, b"also mine")
    equal(pf.read(3 * GRANULE, 9), b"also mine", "VF 2's granule")
    assert pf.commit(1, [good]), "a good commit after bad ones"
    equal(pf.r32(hw.REG_LMTT_STATUS), 0, "status")
    assert pf.give(2, [1]), "a granule that VF 1 gave up"


@test()
def staging_changes_nothing(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    assert pf.give(1, [1])
    pf.stage(1, [4 * GRANULE | VALID])
    vf.write(0, b"old")
    equal(pf.read(GRANULE, 3), b"old", "before the commit")
    equal(vf.r32(hw.REG_EVENT_STATUS), hw.EVENT_QUOTA, "events")


@test()
def staged_table_can_be_read(m):
    pf = m.accel[0]
    assert pf.give(3, [4, 8])
    pf.stage(2, [])
    equal(pf.r64(hw.REG_LMTT_ENTRY), 0, "VF 2's table")
    pf.w32(hw.REG_LMTT_VF, 3)
    equal(pf.r32(hw.REG_LMTT_VF), 3, "VF")
    equal(pf.r32(hw.REG_LMTT_INDEX), 0, "index")
    equal(pf.r64(hw.REG_LMTT_ENTRY), 4 * GRANULE | VALID, "entry 0")
    pf.w32(hw.REG_LMTT_INDEX, 1)
    equal(pf.r64(hw.REG_LMTT_ENTRY), 8 * GRANULE | VALID, "entry 1")
    equal(pf.r32(hw.REG_LMTT_INDEX), 1, "a read leaves the index alone")
    # In halves, low first, as a 32-bit CPU writes it.
    pf.w32(hw.REG_LMTT_ENTRY, 9 * GRANULE | VALID)
    pf.w32(hw.REG_LMTT_ENTRY + 4, 0)
    equal(pf.r32(hw.REG_LMTT_INDEX), 2, "a write moves it on")
    pf.w32(hw.REG_LMTT_COMMIT, 2)
    pf.w32(hw.REG_LMTT_VF, 3)
    pf.w32(hw.REG_LMTT_INDEX, 1)
    equal(pf.r64(hw.REG_LMTT_ENTRY), 9 * GRANULE | VALID, "committed")
    pf.w32(hw.REG_LMTT_INDEX, 0xffffffff)
    pf.w64(hw.REG_LMTT_ENTRY, 1)
    equal(pf.r64(hw.REG_LMTT_ENTRY), 0, "beyond the table")


@test()
def taking_memory_away(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    assert pf.give(1, [1, 2])
    vf.w32(hw.REG_EVENT_STATUS, hw.EVENT_ALL)
    vf.write(0, b"secret")
    q = vf.queue()
    q.run(fill(4096, 8, 1, LMEM))
    assert pf.give(1, [])
    equal(vf.r32(hw.REG_EVENT_STATUS), hw.EVENT_QUOTA, "events")
    equal(vf.r64(hw.REG_LMEM_SIZE), 0, "quota")
    equal(vf.read(0, 6), b"\xff" * 6, "the VF's BAR")
    q.expect_fault(hw.FAULT_LMEM_RANGE, fill(4096, 8, 2, LMEM))
    equal(pf.read(GRANULE, 6), b"secret", "LMEM")
    equal(pf.read(GRANULE + 4096, 1), b"\1", "what the engine wrote before")


@test()
def taking_memory_away_in_flight(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    assert pf.give(1, [1, 2, 3, 4])
    vf.w32(hw.REG_TIME_LMEM, 1000)
    q = vf.queue()
    q.submit(fill(0, 8 * MIB, 0xffffffffffffffff, LMEM))
    m.step(3000000)
    moved = vf.counter("LMEM_WRITE")
    assert 0 < moved < 8 * MIB
    assert pf.give(1, [8])
    pf.write(GRANULE, bytes(8 * MIB))
    m.step(100000000)
    assert q.status & hw.Q_STATUS_STOPPED
    equal(q.r32(hw.Q_FAULT_INFO) & hw.FAULT_REASON_MASK, hw.FAULT_LMEM_RANGE,
          "reason")
    equal(pf.read(GRANULE, 8 * MIB), bytes(8 * MIB), "the granules taken away")


@test()
def quota_survives_vf_reset_and_disable(m):
    pf = m.accel[0]
    assert pf.give(1, [6])
    vf = pf.enable_vfs(1)[0]
    equal(vf.r64(hw.REG_LMEM_SIZE), GRANULE, "given before enabling")
    vf.write(0, b"data")
    vf.pci.flr()
    vf.pci.enable()
    equal(vf.read(0, 4), b"data", "after FLR")
    pf.disable_vfs()
    vf = pf.enable_vfs(1)[0]
    equal(vf.read(0, 4), b"data", "after disable and enable")
    pf.pci.flr()
    pf.pci.enable()
    pf.pci.set(pci.BAR0, pf.regs & 0xffffffff)
    restore(pf)
    vf = pf.enable_vfs(1)[0]
    equal(vf.r64(hw.REG_LMEM_SIZE), 0, "after FLR of the PF")


def restore(pf):
    """What an operating system restores after a reset of the PF."""
    for index, (address, _) in pf.pci.bars.items():
        pf.pci.set(pci.BAR0 + 4 * index, address & 0xffffffff)
        pf.pci.set(pci.BAR0 + 4 * index + 4, address >> 32)
    cap = pf.pci.ext(pci.EXT_SRIOV)
    for index, (address, _) in pf.pci.vf_bars.items():
        pf.pci.set(cap + pci.SRIOV_BAR + 4 * index, address & 0xffffffff)
        pf.pci.set(cap + pci.SRIOV_BAR + 4 * index + 4, address >> 32)
    pf.pci.enable()


@test(lmem=64, aperture=16)
def small_aperture(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    equal(pf.aperture, 16 * MIB, "aperture")
    # The quota may be larger than the window; engines reach all of it.
    assert pf.give(1, list(range(31, 15, -1)))
    equal(vf.r64(hw.REG_LMEM_SIZE), 32 * MIB, "quota")
    vf.queue().run(fill(31 * MIB, 4096, 0x3333333333333333, LMEM),
                   copy(31 * MIB, 0, 4096, LMEM, LMEM))
    equal(vf.read(0, 4096), b"3" * 4096, "through the window")
    pf.queue().run(copy(31 * GRANULE, 8 * MIB, 4096, LMEM, LMEM),
                   fill(63 * MIB, 16, 1, LMEM))
    equal(pf.read(8 * MIB, 4096), b"3" * 4096, "PF's window")
    pf.queue(1).expect_fault(hw.FAULT_LMEM_RANGE, fill(64 * MIB, 1, 1, LMEM))
    # The last granule of the window is cut where the window ends.
    vf.write(16 * MIB - 8, b"the end.")
    equal(vf.read(16 * MIB - 8, 8), b"the end.", "last bytes of the window")


@test(lmem=6, aperture=8)
def lmem_smaller_than_the_aperture(m):
    pf = m.accel[0]
    pf.write(6 * MIB - 4, b"last")
    equal(pf.read(6 * MIB - 4, 8), b"last" + b"\xff" * 4, "end of LMEM")
    equal(pf.counter("QUOTA_VIOLATION"), 0, "violations")


@test()
def a_vf_poisons_only_its_own(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    assert pf.give(1, [4])
    vf.w64(hw.REG_INJECT_ADDR, GRANULE)
    vf.w32(hw.REG_INJECT, hw.INJECT_LMEM_ERROR)
    ram = m.ram(4096)
    q = pf.queue()
    q.run(copy(0, ram, 64, LMEM, BUS), copy(5 * GRANULE, ram, 64, LMEM, BUS))
    pf.w64(hw.REG_INJECT_ADDR, 2048)
    pf.w32(hw.REG_INJECT, hw.INJECT_LMEM_ERROR)
    vf.w64(hw.REG_INJECT_ADDR, 2048)
    vf.w32(hw.REG_INJECT, hw.INJECT_LMEM_ERROR)
    vf.w32(hw.REG_INJECT, hw.INJECT_CLEAR)
    q.run(copy(4 * GRANULE + 2048, ram, 64, LMEM, BUS))
    q.expect_fault(hw.FAULT_LMEM_ERROR, copy(2048, ram, 64, LMEM, BUS))
