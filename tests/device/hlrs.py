# SPDX-License-Identifier: GPL-2.0-or-later
"""Test machines with accelerators, and a small driver for them in Python."""

import struct

import hw
import pci
from qtest import Qemu

RAM_MIB = 64
MIB = 1 << 20
MS = 1000000

PRIV = hw.Q_CTRL_PRIV
VIRTUAL, LMEM, BUS, LINK = (hw.SPACE_VIRTUAL, hw.SPACE_LMEM, hw.SPACE_BUS,
                            hw.SPACE_LINK)


def topology(kind):
    """QEMU arguments of a machine, with slots for two accelerators."""
    root = ["-device", "pcie-root-port,id=rp0,chassis=1,slot=1,addr=2.0"]
    if kind == "ports":
        return root + ["-device",
                       "pcie-root-port,id=rp1,chassis=2,slot=2,addr=3.0"], \
            ("rp0", "rp1")
    port = {"switch": "xio3130-downstream", "acs": "hlrs-downstream"}[kind]
    return root + [
        "-device", "x3130-upstream,id=us0,bus=rp0",
        "-device", f"{port},id=ds0,bus=us0,chassis=2,slot=2,addr=0.0",
        "-device", f"{port},id=ds1,bus=us0,chassis=3,slot=3,addr=1.0",
    ], ("ds0", "ds1")


class Machine:
    """A started machine whose accelerators are enabled and mapped."""

    def __init__(self, binary, kind="switch", lmem=32, aperture=None, vfs=7,
                 iommu=False, link=True, devices=2, extra=""):
        arguments, slots = topology(kind)
        machine = "q35"
        if iommu:
            arguments = ["-device", "intel-iommu,intremap=off,aw-bits=39",
                         *arguments]
        for n in range(devices):
            device = f"hlrs,id=acc{n},bus={slots[n]},lmem={lmem}M,total-vfs={vfs}"
            if aperture:
                device += f",aperture={aperture}M"
            if link:
                device += f",link=acc{1 - n}"
            arguments += ["-device", device + extra]
        self.qemu = Qemu(binary, ["-machine", machine, "-m", str(RAM_MIB),
                                  "-global",
                                  "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
                                  *arguments])
        try:
            self.bus = pci.Bus(self.qemu)
            self._ram = 1 * MIB
            self.accel = []
            for function in self.bus.find(hw.PCI_VENDOR_ID,
                                          hw.PCI_DEVICE_ID_PF):
                function.enable()
                self.accel.append(Device(self, function))
        except BaseException:
            self.qemu.close()
            raise

    def ram(self, size, alignment=4096):
        """Fresh guest memory, zero."""
        at = pci.align(self._ram, alignment)
        self._ram = at + size
        if self._ram > RAM_MIB * MIB:
            raise MemoryError("test machine is out of memory")
        self.qemu.command(f"memset {at} {size} 0") if size else None
        return at

    def step(self, ns=MS):
        return self.qemu.step(ns)

    def close(self):
        return self.qemu.close()


class Device:
    """A PF or VF: registers, LMEM aperture, interrupts, queues."""

    def __init__(self, machine, function, bars=None):
        self.machine = machine
        self.qemu = machine.qemu
        self.pci = function
        bars = bars or function.bars
        self.regs = bars[hw.BAR_REGS][0]
        self.lmem, self.aperture = bars[hw.BAR_LMEM]
        self.msix = bars[hw.BAR_MSIX][0]

    def r32(self, offset):
        return self.qemu.load(self.regs + offset, 4)

    def w32(self, offset, value):
        self.qemu.store(self.regs + offset, 4, value)

    def r64(self, offset):
        return self.qemu.load(self.regs + offset, 8)

    def w64(self, offset, value):
        self.qemu.store(self.regs + offset, 8, value)

    def counter(self, name):
        return self.r64(getattr(hw, "REG_CNT_" + name))

    # LMEM through the aperture

    def read(self, offset, size):
        return self.qemu.read(self.lmem + offset, size)

    def write(self, offset, data):
        self.qemu.write(self.lmem + offset, data)

    # Interrupts: the messages go to RAM, where a test can see them

    def enable_msix(self, master=True):
        at = self.machine.ram(4096)
        for vector in range(hw.NR_VECTORS):
            entry = self.msix + 16 * vector
            self.qemu.store(entry, 4, at + 4 * vector)
            self.qemu.store(entry + 4, 4, 0)
            self.qemu.store(entry + 8, 4, 0x100 + vector)
            self.qemu.store(entry + 12, 4, 0)
        cap = self.pci.cap(pci.CAP_MSIX)
        self.pci.set(cap + 2, 0x8000, 2)
        self._messages = at

    def interrupted(self, vector):
        """Whether the message of this vector arrived since the last call."""
        at = self._messages + 4 * vector
        seen = self.qemu.load(at, 4)
        self.qemu.store(at, 4, 0)
        assert seen in (0, 0x100 + vector), f"message {seen:#x}"
        return seen != 0

    # SR-IOV

    def enable_vfs(self, count, map_bars=True):
        cap = self.pci.ext(pci.EXT_SRIOV)
        self.pci.set(cap + pci.SRIOV_NUM_VF, count, 2)
        self.pci.set(cap + pci.SRIOV_CTRL, pci.SRIOV_CTRL_VFE |
                     (pci.SRIOV_CTRL_MSE if map_bars else 0), 2)
        offset = self.pci.get(cap + pci.SRIOV_VF_OFFSET, 2)
        stride = self.pci.get(cap + pci.SRIOV_VF_STRIDE, 2)
        vfs = []
        for n in range(count):
            function = pci.Function(self.qemu, self.pci.bus,
                                    self.pci.devfn + offset + n * stride)
            function.parent = self.pci.parent
            bars = {i: (base + n * size, size)
                    for i, (base, size) in self.pci.vf_bars.items()}
            function.enable()
            vfs.append(Device(self.machine, function, bars))
        return vfs

    def disable_vfs(self):
        cap = self.pci.ext(pci.EXT_SRIOV)
        self.pci.set(cap + pci.SRIOV_CTRL, 0, 2)

    def stage(self, vf, entries):
        self.w32(hw.REG_LMTT_VF, vf)
        for entry in entries:
            self.w64(hw.REG_LMTT_ENTRY, entry)

    def commit(self, vf, entries, count=None):
        """Stages and commits raw entries; whether they were accepted."""
        self.stage(vf, entries)
        self.w32(hw.REG_LMTT_COMMIT, len(entries) if count is None else count)
        return not self.r32(hw.REG_LMTT_STATUS) & hw.LMTT_STATUS_REJECTED

    def give(self, vf, granules):
        """Gives these granules of LMEM to a VF."""
        return self.commit(vf, [g * hw.LMTT_GRANULE | hw.LMTT_VALID
                                for g in granules])

    # Contexts and queues

    def context(self, n, table):
        self.w64(hw.ctx(n, hw.CTX_ROOT), table.root)
        self.w32(hw.ctx(n, hw.CTX_CTRL), hw.CTX_CTRL_ENABLE)

    def invalidate(self, n, start=None, size=0):
        if start is None:
            self.w32(hw.ctx(n, hw.CTX_INVALIDATE), hw.CTX_INVALIDATE_ALL)
            return
        self.w64(hw.ctx(n, hw.CTX_INV_START), start)
        self.w64(hw.ctx(n, hw.CTX_INV_SIZE), size)
        self.w32(hw.ctx(n, hw.CTX_INVALIDATE), hw.CTX_INVALIDATE_RANGE)

    def queue(self, n=0, **options):
        return Queue(self, n, **options)


class Queue:
    """A queue with its ring in guest memory."""

    def __init__(self, device, n, order=6, ctx=0, flags=PRIV, vector=1):
        self.device = device
        self.n = n
        self.order = order
        self.ring = device.machine.ram(hw.CMD_SIZE << order)
        self.tail = 0
        self.ctx = ctx
        self.flags = flags
        self.vector = vector
        if self.r32(hw.Q_CTRL) or self.r32(hw.Q_HEAD):
            self.reset()
        self.start()

    def start(self):
        """Sets the queue up from its reset state."""
        self.tail = 0
        self.w64(hw.Q_RING, self.ring)
        self.w32(hw.Q_ORDER, self.order)
        self.w32(hw.Q_CTX, self.ctx)
        self.w32(hw.Q_VECTOR, self.vector)
        self.w32(hw.Q_CTRL, hw.Q_CTRL_ENABLE | self.flags)

    def r32(self, offset):
        return self.device.r32(hw.q(self.n, offset))

    def w32(self, offset, value):
        self.device.w32(hw.q(self.n, offset), value)

    def r64(self, offset):
        return self.device.r64(hw.q(self.n, offset))

    def w64(self, offset, value):
        self.device.w64(hw.q(self.n, offset), value)

    def put(self, *commands):
        """Writes commands into the ring, without the doorbell."""
        for command in commands:
            slot = self.tail % (1 << self.order)
            self.device.qemu.write(self.ring + slot * hw.CMD_SIZE, command)
            self.tail = (self.tail + 1) & 0xffffffff

    def ring_doorbell(self):
        self.w32(hw.Q_TAIL, self.tail)

    def submit(self, *commands):
        self.put(*commands)
        self.ring_doorbell()

    def run(self, *commands, ns=50 * MS):
        """Submits, lets time pass, and expects success."""
        self.submit(*commands)
        self.device.machine.step(ns)
        assert not self.status & hw.Q_STATUS_STOPPED, \
            f"queue {self.n} stopped: {self.fault}"
        assert self.r32(hw.Q_HEAD) == self.tail, \
            f"queue {self.n}: head {self.r32(hw.Q_HEAD)}, tail {self.tail}"

    def expect_fault(self, reason, *commands, ns=50 * MS):
        """Submits and expects this fault; returns (info, address)."""
        self.submit(*commands)
        self.device.machine.step(ns)
        assert self.status & hw.Q_STATUS_STOPPED, "the queue did not stop"
        info = self.r32(hw.Q_FAULT_INFO)
        assert info & hw.FAULT_VALID
        assert info & hw.FAULT_REASON_MASK == reason, \
            f"reason {info & hw.FAULT_REASON_MASK}, expected {reason}"
        assert (info & hw.FAULT_QUEUE_MASK) >> hw.FAULT_QUEUE_SHIFT == self.n
        return info, self.r64(hw.Q_FAULT_ADDR)

    def reset(self):
        self.w32(hw.Q_CTRL, hw.Q_CTRL_RESET)
        self.device.machine.step(10000)
        assert self.status == 0, f"status {self.status:#x} after reset"

    def restart(self):
        self.reset()
        self.start()

    @property
    def status(self):
        return self.r32(hw.Q_STATUS)

    @property
    def fault(self):
        info = self.r32(hw.Q_FAULT_INFO)
        return (f"reason {info & hw.FAULT_REASON_MASK} info {info:#x} "
                f"address {self.r64(hw.Q_FAULT_ADDR):#x}")


# Commands

def command(op, src=0, dst=0, size=0, data=0, s=VIRTUAL, d=VIRTUAL, flags=0,
            contexts=0, reserved=(0, 0, 0)):
    header = (op | flags | s << hw.CMD_SRC_SPACE_SHIFT |
              d << hw.CMD_DST_SPACE_SHIFT)
    return struct.pack("<IIQQQQQQQ", header, contexts, src, dst, size, data,
                       *reserved)


def nop():
    return command(hw.OP_NOP)


def copy(src, dst, size, s=VIRTUAL, d=VIRTUAL):
    return command(hw.OP_COPY, src, dst, size, s=s, d=d)


def fill(dst, size, data, d=VIRTUAL):
    return command(hw.OP_FILL, 0, dst, size, data, d=d)


def crc(src, dst, size, initial=0, s=VIRTUAL, d=VIRTUAL, flags=0):
    return command(hw.OP_CRC32C, src, dst, size, initial, s=s, d=d,
                   flags=flags)


def fence(dst, seqno, d=VIRTUAL, irq=False):
    return command(hw.OP_FENCE, 0, dst, 0, seqno, d=d,
                   flags=hw.CMD_IRQ if irq else 0)


def timestamp(dst, d=VIRTUAL):
    return command(hw.OP_TIMESTAMP, 0, dst, d=d)


def hang():
    return command(hw.OP_HANG)


def xcopy(src_ctx, src, dst_ctx, dst, size, s=VIRTUAL, d=VIRTUAL):
    return command(hw.OP_XCOPY, src, dst, size, s=s, d=d,
                   contexts=src_ctx | dst_ctx << hw.CMD_DST_CTX_SHIFT)


_CRC_TABLE = []
for _n in range(256):
    for _ in range(8):
        _n = _n >> 1 ^ (0x82f63b78 if _n & 1 else 0)
    _CRC_TABLE.append(_n)


def crc32c(data, crc_=0):
    """CRC-32C; crc_ is the checksum of what came before."""
    crc_ ^= 0xffffffff
    for byte in data:
        crc_ = crc_ >> 8 ^ _CRC_TABLE[(crc_ ^ byte) & 0xff]
    return crc_ ^ 0xffffffff


class PageTable:
    """Four levels of tables, in RAM or (with dm) in LMEM from `pool` on."""

    def __init__(self, device, dm=False, pool=0):
        self.device = device
        self.dm = dm
        self._pool = pool
        self._tables = {}
        self.root = self._table(())

    def _alloc(self):
        if not self.dm:
            return self.device.machine.ram(4096)
        at = self._pool
        self._pool += 4096
        self.device.write(at, bytes(4096))
        return at | hw.PTE_DM

    def _table(self, path):
        if path not in self._tables:
            self._tables[path] = self._alloc()
            if path:
                self._store(path[:-1], path[-1],
                            self._tables[path] | hw.PTE_V)
        return self._tables[path]

    def _store(self, path, index, value):
        self._write((self._table(path) & hw.PTE_ADDR_MASK) + 8 * index,
                    struct.pack("<Q", value))

    def _write(self, at, data):
        if self.dm:
            self.device.write(at, data)
        else:
            self.device.qemu.write(at, data)

    def entry(self, va, level, value):
        """Sets the raw entry for va at a level (3 is the root)."""
        index = [va >> 12 + 9 * l & 511 for l in (3, 2, 1, 0)]
        depth = 3 - level
        for n in range(1, depth + 1):
            self._table(tuple(index[:n]))
        self._store(tuple(index[:depth]), index[depth], value)

    def map(self, va, address, level=0, flags=hw.PTE_W):
        self.entry(va, level, address | hw.PTE_V | hw.PTE_LEAF | flags)

    def map_pages(self, va, addresses, flags=hw.PTE_W):
        """Maps 4 KiB pages from va on, a table at a time."""
        entries = [a | hw.PTE_V | hw.PTE_LEAF | flags for a in addresses]
        while entries:
            first = va >> 12 & 511
            part = entries[:512 - first]
            path = tuple(va >> 12 + 9 * level & 511 for level in (3, 2, 1))
            for n in range(1, 4):
                self._table(path[:n])
            self._write((self._table(path) & hw.PTE_ADDR_MASK) + 8 * first,
                        struct.pack(f"<{len(part)}Q", *part))
            entries = entries[len(part):]
            va += len(part) << 12

    def unmap(self, va, level=0):
        self.entry(va, level, 0)
