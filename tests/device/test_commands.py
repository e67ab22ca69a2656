# SPDX-License-Identifier: GPL-2.0-or-later
"""What commands do to bytes, where they are counted, how long they take."""

import struct

import hw
from harness import equal, pattern, test
from hlrs import (BUS, LMEM, MIB, command, copy, crc, crc32c, fence, fill,
                  nop, timestamp)


@test()
def copy_lmem_to_lmem(m):
    dev = m.accel[0]
    data = pattern(300000)
    dev.write(0x1003, data)
    dev.write(0x200000, bytes(300020))
    dev.queue().run(copy(0x1003, 0x200005, len(data), LMEM, LMEM))
    equal(dev.read(0x200005, len(data)), data, "copy")
    equal(dev.read(0x200000, 5), bytes(5), "before")
    equal(dev.read(0x200005 + len(data), 5), bytes(5), "after")


@test()
def copy_bus_and_back(m):
    dev = m.accel[0]
    data = pattern(MIB + 77)
    src, dst = m.ram(len(data) + 1), m.ram(len(data) + 3)
    m.qemu.write(src + 1, data)
    dev.queue().run(copy(src + 1, 0x12345, len(data), BUS, LMEM),
                    copy(0x12345, dst + 3, len(data), LMEM, BUS))
    equal(dev.read(0x12345, len(data)), data, "LMEM")
    equal(m.qemu.read(dst + 3, len(data)), data, "RAM")


@test()
def copy_sizes(m):
    dev = m.accel[0]
    q = dev.queue()
    data = pattern(70000)
    dev.write(0, data)
    for size in (0, 1, 7, 63, 64, 65, 4095, 4096, 4097, 65535, 65536, 65537):
        dev.write(0x100000, bytes(70000))
        q.run(copy(3, 0x100001, size, LMEM, LMEM))
        equal(dev.read(0x100000, 70000),
              bytes(1) + data[3:3 + size] + bytes(70000 - 1 - size),
              f"size {size}")


@test()
def copy_overlap_downwards_is_a_move(m):
    dev = m.accel[0]
    data = pattern(200000)
    dev.write(0x10000, data)
    dev.queue().run(copy(0x10000, 0x0fff0, len(data), LMEM, LMEM))
    equal(dev.read(0x0fff0, len(data)), data, "moved")


@test()
def fill_patterns(m):
    dev = m.accel[0]
    q = dev.queue()
    value = 0x0123456789abcdef
    unit = struct.pack("<Q", value)
    for at, size in ((0, 4096), (0x1003, 1), (0x2001, 13), (0x3007, 100000)):
        dev.write(at, bytes(size + 8))
        q.run(fill(at, size, value, LMEM))
        equal(dev.read(at, size + 8), (unit * (size // 8 + 1))[:size] +
              bytes(8), f"fill of {size}")
    ram = m.ram(8192)
    q.run(fill(ram + 5, 5000, value, BUS))
    equal(m.qemu.read(ram, 5010),
          bytes(5) + (unit * 700)[:5000] + bytes(5), "fill of RAM")


@test()
def crc_matches(m):
    dev = m.accel[0]
    q = dev.queue()
    equal(crc32c(b"123456789"), 0xe3069283, "the check value of CRC-32C")
    data = pattern(150001)
    dev.write(0x777, data)
    result = m.ram(64)
    for size in (0, 1, 9, 4096, 65537, len(data)):
        m.qemu.write(result, bytes(16))
        q.run(crc(0x777, result + 3, size, s=LMEM, d=BUS))
        value, valid = struct.unpack("<II", m.qemu.read(result + 3, 8))
        equal((value, valid), (crc32c(data[:size]), 1), f"size {size}")
        equal(m.qemu.read(result + 11, 5), bytes(5), "after the result")


@test()
def crc_continues(m):
    dev = m.accel[0]
    q = dev.queue()
    data = pattern(5000)
    dev.write(0, data)
    first = crc32c(data[:1234])
    q.run(crc(1234, 0x10000, 5000 - 1234, first, LMEM, LMEM))
    equal(dev.read(0x10000, 8), struct.pack("<II", crc32c(data), 1),
          "with an initial value")
    q.run(crc(0, 0x10100, 1000, 0, LMEM, LMEM),
          crc(1000, 0x10100, 3000, 99, LMEM, LMEM, hw.CMD_CHAIN),
          crc(4000, 0x10100, 1000, 1 << 63, LMEM, LMEM, hw.CMD_CHAIN))
    equal(dev.read(0x10100, 8), struct.pack("<II", crc32c(data), 1),
          "chained")


@test()
def fence_writes_sequence_and_time(m):
    dev = m.accel[0]
    at = m.ram(4096)
    dev.queue().run(fence(at, 0x1122334455667788, BUS))
    seqno, when = struct.unpack("<QQ", m.qemu.read(at, 16))
    equal(seqno, 0x1122334455667788, "sequence")
    assert 0 < when <= dev.r64(hw.REG_TIMESTAMP)


@test()
def timestamp_command(m):
    dev = m.accel[0]
    q = dev.queue()
    start = dev.r64(hw.REG_TIMESTAMP)
    dev.w32(hw.REG_TIME_CMD, 5000)
    q.run(timestamp(8, LMEM), timestamp(16, LMEM))
    first, second = struct.unpack("<QQ", dev.read(8, 16))
    assert start + 5000 <= first, f"{first} after {start}"
    equal(second - first, 5000, "ns between the two")


@test()
def commands_in_order(m):
    dev = m.accel[0]
    q = dev.queue()
    ops = [fill(0, 4096, i * 0x0101010101010101, LMEM) for i in range(20)]
    moves = [copy(0, 0x1000 * (i + 1), 4096, LMEM, LMEM) for i in range(20)]
    q.run(*[c for pair in zip(ops, moves) for c in pair])
    for i in range(20):
        equal(dev.read(0x1000 * (i + 1), 4096), bytes([i]) * 4096, f"step {i}")


@test()
def counters_say_where_bytes_moved(m):
    dev = m.accel[0]
    ram = m.ram(8192)
    dev.queue().run(nop(), fill(0, 1000, 7, LMEM), copy(0, ram, 600, LMEM, BUS),
                    copy(ram, 5000, 500, BUS, LMEM), fence(ram, 1, BUS),
                    crc(0, ram + 16, 300, s=LMEM, d=BUS))
    equal({n: dev.counter(n) for n in (
        "LMEM_READ", "LMEM_WRITE", "BUS_READ", "BUS_WRITE", "LINK_READ",
        "LINK_WRITE", "COMMANDS", "FAULTS")}, {
            "LMEM_READ": 900, "LMEM_WRITE": 1500, "BUS_READ": 500,
            "BUS_WRITE": 624, "LINK_READ": 0, "LINK_WRITE": 0, "COMMANDS": 6,
            "FAULTS": 0}, "counters")


def duration(dev, cmd):
    """Nanoseconds from doorbell to head, found by stepping."""
    q = dev.queue()
    before = q.r64(hw.Q_BUSY_NS)
    q.run(cmd)
    return q.r64(hw.Q_BUSY_NS) - before


@test()
def time_model(m):
    dev = m.accel[0]
    ram = m.ram(MIB)
    dev.w32(hw.REG_TIME_CMD, 700)
    dev.w32(hw.REG_TIME_LMEM, 10)
    dev.w32(hw.REG_TIME_BUS, 100)
    equal(duration(dev, nop()), 700, "NOP")
    equal(duration(dev, fill(0, 65536, 0, LMEM)), 700 + 640, "FILL")
    equal(duration(dev, copy(0, MIB, MIB, LMEM, LMEM)), 700 + 2 * 10240,
          "LMEM to LMEM")
    equal(duration(dev, copy(0, ram, MIB, LMEM, BUS)),
          700 + 10240 + 102400, "LMEM to bus")
    dev.w32(hw.REG_TIME_LMEM, 0xffffffff)
    equal(dev.r32(hw.REG_TIME_LMEM), hw.TIME_MAX, "clamped")


@test()
def time_defaults(m):
    dev = m.accel[0]
    equal([dev.r32(r) for r in (hw.REG_TIME_CMD, hw.REG_TIME_LMEM,
                                hw.REG_TIME_BUS, hw.REG_TIME_LINK)],
          [hw.TIME_CMD_DEFAULT, hw.TIME_LMEM_DEFAULT, hw.TIME_BUS_DEFAULT,
           hw.TIME_LINK_DEFAULT], "defaults")


@test()
def long_command_is_done_in_steps(m):
    """Between two steps of one COPY the machine lives on."""
    dev = m.accel[0]
    dev.w32(hw.REG_TIME_LMEM, 1000)
    data = pattern(4 * MIB)
    dev.write(0, data)
    q = dev.queue()
    q.submit(copy(0, 8 * MIB, 4 * MIB, LMEM, LMEM))
    m.step(1000000)
    assert q.status & hw.Q_STATUS_BUSY
    moved = dev.counter("LMEM_WRITE")
    assert 0 < moved < 4 * MIB and moved % (256 << 10) == 0, moved
    equal(q.r32(hw.Q_HEAD), 0, "head")
    m.step(20000000)
    equal(q.r32(hw.Q_HEAD), 1, "head")
    equal(dev.read(8 * MIB, 4 * MIB), data, "copy")


@test()
def bad_commands(m):
    dev = m.accel[0]
    q, nic = dev.queue(), dev.queue(hw.NR_COPY_QUEUES)
    good = copy(0, 4096, 16, LMEM, LMEM)
    bad = {
        "opcode": command(99),
        "header bit": command(hw.OP_NOP, flags=1 << 31),
        "reserved": command(hw.OP_NOP, reserved=(0, 0, 1)),
        "contexts": command(hw.OP_COPY, contexts=1),
        "IRQ": command(hw.OP_NOP, flags=hw.CMD_IRQ),
        "CHAIN": command(hw.OP_FILL, flags=hw.CMD_CHAIN, d=LMEM),
        "source space": command(hw.OP_FILL, s=LMEM),
        "destination space": command(hw.OP_NOP, d=LMEM),
        "fence alignment": fence(8, 1, LMEM),
        "timestamp alignment": timestamp(4, LMEM),
        "size": fill(0, hw.CMD_MAX_BYTES + 1, 0, LMEM),
        "initial value": crc(0, 4096, 16, 1 << 32, LMEM, LMEM),
        "XCOPY": command(hw.OP_XCOPY),
    }
    for name, cmd in bad.items():
        q.restart()
        q.run(good)
        _, at = q.expect_fault(hw.FAULT_BAD_COMMAND, cmd)
        equal(at, q.ring + hw.CMD_SIZE, f"{name}: address")
        equal(q.r32(hw.Q_HEAD), 1, f"{name}: head")
    for op in (hw.OP_COPY, hw.OP_FILL, hw.OP_CRC32C):
        nic.restart()
        nic.expect_fault(hw.FAULT_BAD_COMMAND, command(op))
