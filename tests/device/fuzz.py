# SPDX-License-Identifier: GPL-2.0-or-later
"""Random register writes, commands, page tables and configuration writes.

Nothing that a guest does may crash or hang QEMU; this is the test of it. Two
runs with one seed do the same operations, as far as both get in their time.
"""

import random
import time

import hw
import pci
from harness import equal
from hlrs import LMEM, MIB, PageTable, command, fill
from test_lmtt import restore

INTERESTING = (0, 1, 2, 4, 7, 8, 63, 64, 0xfff, 0x1000, 0x1fffff, 0x200000,
               0x7fffffff, 0x80000000, 0xffffffff, 0xffffffffffff,
               0x1000000000000, 1 << 63, 0xfffffffffffff000,
               0xffffffffffffffff)


class Fuzzer:
    """A machine in which anything may happen to acc0 and its VFs."""

    VFS = 3

    def __init__(self, machine, seed):
        self.m = machine
        self.random = random.Random(seed)
        self.pf = machine.accel[0]
        self.log = []
        machine.ram(MIB)
        self.base = machine.ram(8 * MIB)
        self.revive()

    def note(self, *what):
        self.log.append(what)
        del self.log[:-40]

    def value(self):
        r = self.random
        kind = r.randrange(6)
        if kind == 0:
            return r.choice(INTERESTING)
        if kind == 1:
            return r.getrandbits(64)
        if kind == 2:
            return self.base + r.randrange(8 * MIB)
        if kind == 3:
            return r.randrange(40 * MIB)
        if kind == 4:
            dev = r.choice(self.m.accel)
            return r.choice((dev.regs, dev.lmem, dev.msix, pci.ECAM,
                             0xfee00000)) + r.randrange(0x10000)
        return r.getrandbits(r.randrange(1, 64))

    def revive(self):
        """Makes all functions reachable again after resets."""
        self.note("revive")
        restore(self.pf)
        self.functions = [self.pf, *self.pf.enable_vfs(self.VFS)]
        for n, dev in enumerate(self.functions):
            cap = dev.pci.cap(pci.CAP_MSIX)
            dev.pci.set(cap + 2, 0x8000, 2)
            if n:
                self.pf.give(n, [4 * n, 4 * n + 2])
            dev.w32(hw.REG_TIME_CMD, 100)

    # What may be done

    def any_register(self, dev):
        offset = self.random.choice((
            self.random.randrange(0, 0x200), self.random.randrange(0x1000, 0x1800),
            self.random.randrange(0x2000, 0x2a00),
            self.random.randrange(0x4000, 0x4040),
            self.random.randrange(hw.REGS_SIZE))) & ~3
        value = self.value()
        self.note("register", hex(offset), hex(value))
        if self.random.random() < 0.5 and offset % 8 == 0:
            dev.w64(offset, value)
        else:
            dev.w32(offset, value & 0xffffffff)
        dev.r32(offset)

    def set_up_queue(self, dev):
        n = self.random.randrange(hw.NR_QUEUES)
        self.note("queue", n)
        dev.w32(hw.q(n, hw.Q_CTRL), hw.Q_CTRL_RESET)
        self.m.step(2000)
        dev.w64(hw.q(n, hw.Q_RING), self.base + n * 4096)
        dev.w32(hw.q(n, hw.Q_ORDER), self.random.randrange(1, 7))
        dev.w32(hw.q(n, hw.Q_CTX), self.random.randrange(4))
        dev.w32(hw.q(n, hw.Q_VECTOR), self.random.getrandbits(32))
        dev.w32(hw.q(n, hw.Q_CTRL), hw.Q_CTRL_ENABLE |
                self.random.choice((0, hw.Q_CTRL_PRIV)))

    def put_commands(self, dev):
        n = self.random.randrange(hw.NR_QUEUES)
        ring = b""
        for _ in range(self.random.randrange(1, 8)):
            op = self.random.randrange(9)
            size = self.random.choice((self.random.randrange(5000),
                                       self.random.randrange(MIB),
                                       self.value()))
            flags = self.random.choice((0, 0, 0, hw.CMD_IRQ, hw.CMD_CHAIN,
                                        self.random.getrandbits(32)))
            dst = self.value()
            if op == hw.OP_FENCE:
                dst &= ~15
            ring += command(op, self.value(), dst & 0xffffffffffffffff, size,
                            self.value(), self.random.randrange(4),
                            self.random.randrange(4), flags & 0xffffffff,
                            self.random.randrange(3) if op == hw.OP_XCOPY else 0)
        self.note("commands", n, len(ring) // 64)
        self.m.qemu.write(self.base + n * 4096, ring)
        dev.w32(hw.q(n, hw.Q_TAIL), dev.r32(hw.q(n, hw.Q_HEAD)) +
                self.random.randrange(9) & 0xffffffff)

    def set_up_context(self, dev):
        n = self.random.randrange(4)
        root = self.base + self.random.randrange(16, 64) * 4096
        self.note("context", n)
        for _ in range(16):
            entry = self.random.choice((
                self.base + self.random.randrange(16, 64) * 4096,
                self.random.randrange(16) << 21, self.value()))
            self.m.qemu.store(
                self.base + self.random.randrange(16, 64) * 4096 +
                self.random.choice((0, self.random.randrange(512))) * 8, 8,
                (entry & ~0xfff | self.random.choice(
                    (1, 3, 5, 7, 0x83, 0x87, 0x8b, 0x93,
                     self.random.getrandbits(12)))) & 0xffffffffffffffff)
        dev.w64(hw.ctx(n, hw.CTX_ROOT), root)
        dev.w32(hw.ctx(n, hw.CTX_CTRL), self.random.getrandbits(1))
        dev.w32(hw.ctx(n, hw.CTX_INVALIDATE), self.random.randrange(4))

    def lmtt(self, _):
        vf = self.random.randrange(9)
        entries = [self.random.choice((
            self.random.randrange(20) << 21 | 1, self.value()))
            for _ in range(self.random.randrange(5))]
        self.note("lmtt", vf, len(entries))
        self.pf.commit(vf, entries, self.random.choice(
            (None, None, self.random.getrandbits(32))))

    def msix(self, dev):
        offset = self.random.randrange(0, hw.MSIX_SIZE, 4)
        value = self.value() & 0xffffffff
        self.note("msix", hex(offset), hex(value))
        self.m.qemu.store(dev.msix + offset, 4, value)

    def config(self, dev):
        choice = self.random.randrange(5)
        self.note("config", choice)
        if choice == 0:
            if dev.pci.present:
                dev.pci.flr()
            self.revive()
        elif choice == 1:
            self.pf.disable_vfs()
            self.revive()
        elif choice == 2:
            dev.pci.set(pci.COMMAND, self.random.getrandbits(3), 2)
        elif choice == 3:
            at = self.pf.pci.ext(pci.EXT_SRIOV) + \
                self.random.randrange(4, 0x24, 2)
            self.pf.pci.set(at, self.random.getrandbits(16), 2)
        else:
            at = self.random.randrange(4, 0x1000, 4)
            self.pf.pci.set(at, self.value() & 0xffffffff)

    def aperture(self, dev):
        at = self.random.randrange(dev.aperture - 8)
        width = self.random.choice((1, 2, 4, 8))
        self.m.qemu.store(dev.lmem + at, width,
                          self.value() & (1 << 8 * width) - 1)
        self.m.qemu.load(dev.lmem + at, width)

    def step(self, _):
        self.m.step(self.random.randrange(1, 20000))

    def one(self):
        weighted = ((self.any_register, 8), (self.set_up_queue, 4),
                    (self.put_commands, 10), (self.set_up_context, 3),
                    (self.lmtt, 2), (self.msix, 1), (self.config, 1),
                    (self.aperture, 2), (self.step, 8))
        action = self.random.choices([a for a, _ in weighted],
                                     [w for _, w in weighted])[0]
        action(self.random.choice(self.functions))

    def still_works(self):
        """After all of that, a reset makes a working device again."""
        self.pf.pci.flr()
        restore(self.pf)
        equal(self.pf.r32(hw.REG_ID), hw.ID, "ID")
        self.m.step(100000)
        equal(self.pf.r32(hw.REG_STATUS), hw.STATUS_READY, "status")
        self.pf.qemu.write(self.pf.lmem, bytes(4096))
        q = self.pf.queue()
        q.run(fill(0, 4096, 0x5a5a5a5a5a5a5a5a, LMEM))
        equal(self.pf.read(0, 4096), b"Z" * 4096, "FILL after the storm")
        table = PageTable(self.pf)
        table.map(0x1000, 0x2000, flags=hw.PTE_W | hw.PTE_DM)
        self.pf.context(1, table)
        self.pf.queue(1, ctx=1, flags=0).run(fill(0x1000, 8, 1))


def tests(seed, seconds):
    """The random tests, one on each kind of machine."""
    def make(kind, iommu, number):
        def random_operations(machine):
            print(f"# seed {seed}", flush=True)
            fuzzer = Fuzzer(machine, seed + number)
            end = time.monotonic() + seconds / 2
            count = 0
            try:
                while time.monotonic() < end:
                    fuzzer.one()
                    count += 1
            except Exception:
                for entry in fuzzer.log:
                    print("# " + " ".join(map(str, entry)), flush=True)
                raise
            print(f"# {count} operations", flush=True)
            fuzzer.still_works()
        return (f"fuzz_{kind}", {"kind": kind, "lmem": 32, "iommu": iommu},
                random_operations)

    return [make("switch", False, 0), make("acs", True, 1)]


