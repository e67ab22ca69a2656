# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of firmware and operating system that a PCI device needs: finds
devices, gives out bus numbers and addresses, enables functions."""

ECAM = 0xb0000000
MEM32 = 0xc0000000
MEM64 = 0x800000000
MIB = 1 << 20

COMMAND = 0x04
COMMAND_MEMORY = 0x2
COMMAND_MASTER = 0x4
HEADER_TYPE = 0x0e
BAR0 = 0x10

CAP_MSIX = 0x11
CAP_EXP = 0x10
EXT_AER = 0x01
EXT_ACS = 0x0d
EXT_ARI = 0x0e
EXT_SRIOV = 0x10

EXP_DEVCTL = 0x08
EXP_DEVCTL_FLR = 0x8000
EXP_SLTCTL = 0x18
EXP_SLTSTA = 0x1a

SRIOV_CTRL = 0x08
SRIOV_CTRL_VFE = 0x01
SRIOV_CTRL_MSE = 0x08
SRIOV_TOTAL_VF = 0x0e
SRIOV_NUM_VF = 0x10
SRIOV_VF_OFFSET = 0x14
SRIOV_VF_STRIDE = 0x16
SRIOV_VF_DID = 0x1a
SRIOV_BAR = 0x24

ACS_CAP = 0x04
ACS_CTRL = 0x06
ACS_RR = 0x04


def align(value, to):
    return (value + to - 1) // to * to


class Function:
    """Configuration space of one function."""

    def __init__(self, qemu, bus, devfn):
        self.qemu = qemu
        self.bus = bus
        self.devfn = devfn
        self.bars = {}
        self.parent = None

    def at(self, offset):
        return ECAM + (self.bus << 20) + (self.devfn << 12) + offset

    def get(self, offset, width=4):
        return self.qemu.load(self.at(offset), width)

    def set(self, offset, value, width=4):
        self.qemu.store(self.at(offset), width, value)

    @property
    def present(self):
        # A VF answers with ones where its vendor and device should be.
        return self.get(0x08) != 0xffffffff

    @property
    def ident(self):
        return self.get(0, 2), self.get(2, 2)

    @property
    def is_bridge(self):
        return self.get(HEADER_TYPE, 1) & 0x7f == 1

    def cap(self, ident):
        at = self.get(0x34, 1)
        for _ in range(48):
            if not at or not self.present:
                break
            if self.get(at, 1) == ident:
                return at
            at = self.get(at + 1, 1)
        return 0

    def ext(self, ident):
        at = 0x100
        for _ in range(64):
            header = self.get(at) if at and self.present else 0
            if not header:
                break
            if header & 0xffff == ident:
                return at
            at = header >> 20
        return 0

    def enable(self, master=True):
        self.set(COMMAND, COMMAND_MEMORY | (COMMAND_MASTER if master else 0), 2)

    def flr(self):
        at = self.cap(CAP_EXP) + EXP_DEVCTL
        self.set(at, self.get(at, 2) | EXP_DEVCTL_FLR, 2)


class Allocator:
    """Hands out addresses of the two kinds of windows, upwards."""

    def __init__(self):
        self.next = {False: MEM32, True: MEM64}

    def take(self, size, prefetch, count=1):
        at = align(self.next[prefetch], size)
        self.next[prefetch] = at + size * count
        return at

    def border(self):
        for kind in self.next:
            self.next[kind] = align(self.next[kind], MIB)
        return dict(self.next)


class Bus:
    """Everything below the host bridge of a q35 machine."""

    def __init__(self, qemu):
        self.qemu = qemu
        self.functions = []
        self._allocator = Allocator()
        self._next_bus = 1
        # PCIEXBAR of the host bridge: 256 buses at ECAM.
        qemu.out32(0xcf8, 0x80000060)
        qemu.out32(0xcfc, ECAM | 1)
        self._scan(0, None)

    def _scan(self, bus, parent):
        for slot in range(32 if bus == 0 or parent.get(2, 2) == 0x8232 else 1):
            function = Function(self.qemu, bus, slot << 3)
            if not function.present:
                continue
            function.parent = parent
            self.functions.append(function)
            if function.is_bridge:
                self._bridge(function)
            elif bus:
                self._bars(function, BAR0, 1, function)
                self._sriov(function)

    def _bridge(self, bridge):
        secondary = self._next_bus
        self._next_bus += 1
        start = self._allocator.border()
        bridge.set(0x18, bridge.bus | secondary << 8 | 0xff << 16)
        self._scan(secondary, bridge)
        end = self._allocator.border()
        bridge.set(0x1a, self._next_bus - 1, 1)
        if end[False] == start[False]:
            bridge.set(0x20, 0x0000fff0)
        else:
            bridge.set(0x20, start[False] >> 16 |
                       (end[False] - 1) & 0xfff00000)
        if end[True] == start[True]:
            bridge.set(0x24, 0x0001fff1)
        else:
            bridge.set(0x24, (start[True] >> 16 & 0xfff0) |
                       ((end[True] - 1) & 0xfff00000) | 0x00010001)
            bridge.set(0x28, start[True] >> 32)
            bridge.set(0x2c, (end[True] - 1) >> 32)
        bridge.secondary = secondary
        bridge.enable()

    def _bars(self, function, base, count, owner):
        index = 0
        while index < 6:
            at = base + 4 * index
            low = function.get(at)
            function.set(at, 0xffffffff)
            mask = function.get(at)
            if not mask & ~0xf:
                function.set(at, low)
                index += 1
                continue
            wide = mask & 0x6 == 4
            if wide:
                function.set(at + 4, 0xffffffff)
                mask |= function.get(at + 4) << 32
            else:
                mask |= 0xffffffff00000000
            size = (~(mask & ~0xf) & 0xffffffffffffffff) + 1
            address = self._allocator.take(size, bool(mask & 8), count)
            function.set(at, address & 0xffffffff)
            if wide:
                function.set(at + 4, address >> 32)
            owner.bars[index] = (address, size)
            index += 2 if wide else 1

    def _sriov(self, function):
        cap = function.ext(EXT_SRIOV)
        function.vf_bars = {}
        if not cap:
            return

        class Holder:
            bars = function.vf_bars

        self._bars(function, cap + SRIOV_BAR,
                   function.get(cap + SRIOV_TOTAL_VF, 2), Holder)

    def find(self, vendor, device):
        return [f for f in self.functions if f.ident == (vendor, device)]
