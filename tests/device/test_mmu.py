# SPDX-License-Identifier: GPL-2.0-or-later
"""Page tables, leaves of all sizes, the cache of translations."""

import hw
from harness import equal, pattern, test
from hlrs import BUS, LMEM, MIB, PageTable, copy, fill

GIB = 1 << 30


def setup(m, dm=False, ctx=1):
    dev = m.accel[0]
    table = PageTable(dev, dm=dm, pool=24 * MIB)
    dev.context(ctx, table)
    return dev, table, dev.queue(0, ctx=ctx, flags=0)


@test()
def leaf_4k_to_lmem_and_bus(m):
    for dm in (False, True):
        dev, table, q = setup(m, dm)
        ram = m.ram(4096)
        table.map(0x7fff12345000, 0x5000, flags=hw.PTE_W | hw.PTE_DM)
        table.map(0x7fff12346000, ram)
        data = pattern(4096, dm)
        dev.write(0x5000, data)
        dev.invalidate(1)
        q.run(copy(0x7fff12345000, 0x7fff12346000, 4096))
        equal(m.qemu.read(ram, 4096), data, f"tables in LMEM: {dm}")
        q.reset()


@test()
def scattered_pages(m):
    dev, table, q = setup(m)
    order = [7, 2, 5, 0, 11, 3, 6, 1]
    for n, page in enumerate(order):
        table.map(0x100000 + n * 4096, MIB + page * 4096,
                  flags=hw.PTE_W | hw.PTE_DM)
    ram = m.ram(8 * 4096)
    for n in range(8):
        table.map(0x200000 + n * 4096, ram + (7 - n) * 4096)
    data = pattern(8 * 4096)
    dev.write(MIB, bytes(16 * 4096))
    for n, page in enumerate(order):
        dev.write(MIB + page * 4096, data[n * 4096:(n + 1) * 4096])
    q.run(copy(0x100011, 0x200003, 7 * 4096 + 100))
    got = b"".join(m.qemu.read(ram + (7 - n) * 4096, 4096) for n in range(8))
    equal(got[3:3 + 7 * 4096 + 100], data[0x11:0x11 + 7 * 4096 + 100], "copy")


@test()
def leaf_2m(m):
    dev, table, q = setup(m)
    table.map(0x40000000, 4 * MIB, 1, hw.PTE_W | hw.PTE_DM)
    table.map(0x40200000, 10 * MIB, 1, hw.PTE_W | hw.PTE_DM)
    data = pattern(300000)
    dev.write(6 * MIB - 150000, data[:150000])
    dev.write(10 * MIB, data[150000:])
    q.run(copy(0x40200000 - 150000, 0x40300000, 300000))
    equal(dev.read(11 * MIB, 300000), data, "across two large leaves")
    equal(dev.counter("TLB_MISS"), 2, "misses")


@test()
def leaf_1g(m):
    dev, table, q = setup(m)
    table.map(3 * GIB, 0, 2, hw.PTE_W | hw.PTE_DM)
    table.map(4 * GIB, 0, 2)
    ram = m.ram(4096)
    data = pattern(4096)
    dev.write(31 * MIB, data)
    q.run(copy(3 * GIB + 31 * MIB, 4 * GIB + ram, 4096))
    equal(m.qemu.read(ram, 4096), data, "through 1 GiB leaves")


@test()
def null_leaf(m):
    dev, table, q = setup(m)
    table.map(0x1000, 0, flags=hw.PTE_W | hw.PTE_NULL)
    table.map(0x2000, 0x6000, flags=hw.PTE_W | hw.PTE_DM)
    dev.write(0, pattern(0x8000))
    before = dev.read(0, 0x6000)
    q.run(copy(0x2000, 0x1000, 4096), copy(0x1000, 0x2000, 4096))
    equal(dev.read(0x6000, 4096), bytes(4096), "reads of NULL")
    equal(dev.read(0, 0x6000), before, "writes to NULL")


@test()
def stale_until_invalidated(m):
    dev, table, q = setup(m)
    table.map(0x1000, 0x10000, flags=hw.PTE_W | hw.PTE_DM)
    q.run(fill(0x1000, 8, 1))
    table.map(0x1000, 0x20000, flags=hw.PTE_W | hw.PTE_DM)
    q.run(fill(0x1000, 8, 2))
    equal((dev.read(0x10000, 1)[0], dev.read(0x20000, 1)[0]), (2, 0),
          "before invalidation the old page is used")
    table.unmap(0x1000)
    q.run(fill(0x1000, 8, 3))
    equal(dev.read(0x10000, 1)[0], 3, "even after unmap")
    dev.w32(hw.ctx(1, hw.CTX_CTRL), 0)
    dev.w32(hw.ctx(1, hw.CTX_CTRL), hw.CTX_CTRL_ENABLE)
    q.run(fill(0x1000, 8, 4))
    equal(dev.read(0x10000, 1)[0], 4, "enabling again does not invalidate")
    dev.invalidate(1)
    q.expect_fault(hw.FAULT_NOT_PRESENT, fill(0x1000, 8, 5))
    equal(dev.read(0x10000, 1)[0], 4, "after invalidation")
    equal(dev.counter("TLB_INVALIDATE"), 1, "invalidations")


@test()
def invalidate_range(m):
    dev, table, q = setup(m)
    for page in range(4):
        table.map(page * 4096, (16 + page) * 4096, flags=hw.PTE_W | hw.PTE_DM)
    table.map(0x40000000, 2 * MIB, 1, hw.PTE_W | hw.PTE_DM)
    q.run(*[fill(page * 4096, 8, 1) for page in range(4)],
          fill(0x40000000, 8, 1))
    for page in range(4):
        table.map(page * 4096, (32 + page) * 4096, flags=hw.PTE_W | hw.PTE_DM)
    table.map(0x40000000, 4 * MIB, 1, hw.PTE_W | hw.PTE_DM)
    dev.invalidate(1, 4096, 8192)
    q.run(*[fill(page * 4096, 8, 2) for page in range(4)],
          fill(0x40000000, 8, 2))
    equal([dev.read((16 + p) * 4096, 1)[0] for p in range(4)], [2, 1, 1, 2],
          "old pages")
    equal([dev.read((32 + p) * 4096, 1)[0] for p in range(4)], [0, 2, 2, 0],
          "new pages")
    # One byte in the middle of a large leaf is enough to drop the leaf.
    dev.invalidate(1, 0x40100000, 1)
    q.run(fill(0x40000000, 8, 3))
    equal((dev.read(2 * MIB, 1)[0], dev.read(4 * MIB, 1)[0]), (2, 3),
          "large leaf")
    # A size of 0 is nothing, a size beyond the end is everything after it.
    dev.invalidate(1, 0, 0)
    q.run(fill(0, 8, 4))
    equal(dev.read(16 * 4096, 1)[0], 4, "still stale")
    dev.invalidate(1, 0, 0xffffffffffffffff)
    q.run(fill(0, 8, 5))
    equal(dev.read(32 * 4096, 1)[0], 5, "dropped")


@test()
def contexts_are_separate(m):
    dev = m.accel[0]
    queues = []
    for n in (3, 31):
        table = PageTable(dev)
        table.map(0x1000, n * 0x10000, flags=hw.PTE_W | hw.PTE_DM)
        dev.context(n, table)
        queues.append(dev.queue(n % 16, ctx=n, flags=0))
    for n, q in zip((3, 31), queues):
        q.run(fill(0x1000, 8, n))
    equal([dev.read(n * 0x10000, 1)[0] for n in (3, 31)], [3, 31], "values")
    # Invalidating one context leaves the other's translations alone.
    misses = dev.counter("TLB_MISS")
    dev.invalidate(3)
    queues[1].run(fill(0x1000, 8, 9))
    equal(dev.counter("TLB_MISS"), misses, "misses")
    queues[0].run(fill(0x1000, 8, 9))
    equal(dev.counter("TLB_MISS"), misses + 1, "misses")


@test()
def read_only_and_upgrade(m):
    dev, table, q = setup(m)
    table.map(0x1000, 0x10000, flags=hw.PTE_DM)
    table.map(0x2000, 0x11000, flags=hw.PTE_DM | hw.PTE_W)
    q.run(copy(0x1000, 0x2000, 16))
    info, va = q.expect_fault(hw.FAULT_READ_ONLY, fill(0x1008, 8, 1))
    assert info & hw.FAULT_WRITE
    equal(va, 0x1008, "VA")
    # A right that was added needs an invalidation, too.
    table.map(0x1000, 0x10000, flags=hw.PTE_DM | hw.PTE_W)
    recover(dev, q)
    q.expect_fault(hw.FAULT_READ_ONLY, fill(0x1000, 8, 1))
    recover(dev, q)
    dev.invalidate(1)
    q.run(fill(0x1000, 8, 1))


def recover(dev, q):
    dev.w32(hw.ctx(1, hw.CTX_CTRL), 0)
    dev.w32(hw.ctx(1, hw.CTX_CTRL), hw.CTX_CTRL_ENABLE)
    q.restart()


@test()
def cache_is_bounded_and_correct(m):
    """More pages than the cache holds, each visited twice."""
    dev, table, q = setup(m)
    pages = 3000
    base = 0x10000000
    table.map_pages(base, [(page * 7 % pages) * 4096 + MIB
                           for page in range(pages)], hw.PTE_W | hw.PTE_DM)
    data = pattern(pages * 4096)
    q.run(fill(base, pages * 4096, 0))
    ram = m.ram(pages * 4096)
    m.qemu.write(ram, data)
    other = dev.queue(1, ctx=1)
    other.run(copy(ram, base, len(data), BUS))
    for page in (0, 1, 1023, 1024, 2047, 2999):
        equal(dev.read((page * 7 % pages) * 4096 + MIB, 4096),
              data[page * 4096:(page + 1) * 4096], f"page {page}")


@test()
def tables_in_lmem_follow_the_lmtt(m):
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    assert pf.give(1, [9, 4])
    table = PageTable(vf, dm=True, pool=hw.LMTT_GRANULE)
    table.map(0x5000, 0x3000, flags=hw.PTE_W | hw.PTE_DM)
    vf.context(0, table)
    vf.queue(flags=0).run(fill(0x5000, 4096, 0x4242424242424242))
    equal(pf.read(9 * hw.LMTT_GRANULE + 0x3000, 4096), b"B" * 4096, "LMEM")
    assert pf.read(4 * hw.LMTT_GRANULE, 4096) != bytes(4096), "root table"


@test()
def physical_spaces_ignore_the_context(m):
    dev = m.accel[0]
    q = dev.queue(0, ctx=5)
    q.run(fill(0x1000, 8, 1, LMEM))
    equal(dev.counter("TLB_MISS") + dev.counter("TLB_HIT"), 0, "translations")


@test()
def fill_keeps_its_pattern_across_pages(m):
    dev, table, q = setup(m)
    for page in range(3):
        table.map(0x1000 + page * 4096, 0x20000 - page * 4096,
                  flags=hw.PTE_W | hw.PTE_DM)
    unit = bytes(range(1, 9))
    q.run(fill(0x1ffb, 4096 + 10, int.from_bytes(unit, "little")))
    got = dev.read(0x20ffb, 5) + dev.read(0x1f000, 4096) + dev.read(0x1e000, 5)
    equal(got, (unit * 514)[:len(got)], "pattern")
