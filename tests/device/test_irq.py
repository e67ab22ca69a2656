# SPDX-License-Identifier: GPL-2.0-or-later
"""Events, fences with interrupt, MSI-X, the lost interrupt."""

import hw
from harness import equal, test
from hlrs import LMEM, fence, fill, hang, nop


@test()
def fence_interrupts_on_its_vector(m):
    dev = m.accel[0]
    dev.enable_msix()
    for n in (0, 3, 15, 16, 17):
        vector = n % hw.NR_VECTORS
        dev.queue(n, vector=vector).run(fence(64, 1, LMEM, irq=True))
        assert dev.interrupted(vector), f"queue {n}"
        equal(dev.r32(hw.REG_QUEUE_IRQ), 1 << n, "QUEUE_IRQ")
        dev.w32(hw.REG_QUEUE_IRQ, 1 << n)
        equal(dev.r32(hw.REG_QUEUE_IRQ), 0, "QUEUE_IRQ after W1C")
    equal(dev.counter("IRQS"), 5, "interrupts")
    dev.queue(4, vector=2).run(fence(64, 2, LMEM))
    assert not dev.interrupted(2), "a fence without IRQ"


@test()
def data_before_interrupt(m):
    """When the message arrives, fence and head are there."""
    dev = m.accel[0]
    dev.enable_msix()
    dev.w32(hw.REG_TIME_CMD, 10000)
    q = dev.queue(0, vector=1)
    q.submit(fence(0, 77, LMEM, irq=True))
    for _ in range(40):
        m.step(500)
        if dev.interrupted(1):
            equal(dev.read(0, 1)[0], 77, "fence")
            equal(q.r32(hw.Q_HEAD), 1, "head")
            return
    raise AssertionError("no interrupt")


@test()
def events_interrupt_when_enabled(m):
    dev = m.accel[0]
    dev.enable_msix()
    q = dev.queue(0, flags=0)
    q.expect_fault(hw.FAULT_CTX_DISABLED, fill(0, 8, 0))
    assert not dev.interrupted(0), "not enabled"
    equal(dev.r32(hw.REG_EVENT_STATUS), hw.EVENT_FAULT, "status")
    dev.w32(hw.REG_EVENT_ENABLE, 0xffffffff)
    equal(dev.r32(hw.REG_EVENT_ENABLE), hw.EVENT_ALL, "enable")
    m.step(1000)
    assert dev.interrupted(0), "enabled while pending"
    q.restart()
    q.expect_fault(hw.FAULT_CTX_DISABLED, fill(0, 8, 0))
    assert dev.interrupted(0), "raised again while still set"
    dev.w32(hw.REG_EVENT_STATUS, hw.EVENT_LINK)
    equal(dev.r32(hw.REG_EVENT_STATUS), hw.EVENT_FAULT, "status")
    dev.w32(hw.REG_EVENT_STATUS, hw.EVENT_FAULT)
    equal(dev.r32(hw.REG_EVENT_STATUS), 0, "status")


@test()
def lost_interrupt(m):
    dev = m.accel[0]
    dev.enable_msix()
    q = dev.queue(0, vector=5)
    dev.w32(hw.REG_INJECT, hw.INJECT_LOSE_IRQ)
    q.run(fence(0, 1, LMEM, irq=True))
    assert not dev.interrupted(5), "the lost one"
    equal(dev.r32(hw.REG_QUEUE_IRQ), 1, "QUEUE_IRQ")
    equal((dev.counter("IRQS"), dev.counter("IRQS_LOST")), (0, 1), "counters")
    q.run(fence(0, 2, LMEM, irq=True))
    assert dev.interrupted(5), "the next one"
    dev.w32(hw.REG_INJECT, hw.INJECT_LOSE_IRQ)
    dev.w32(hw.REG_INJECT, hw.INJECT_CLEAR)
    q.run(fence(0, 3, LMEM, irq=True))
    assert dev.interrupted(5), "after CLEAR"


@test()
def masked_vector_is_kept(m):
    dev = m.accel[0]
    dev.enable_msix()
    m.qemu.store(dev.msix + 16 * 3 + 12, 4, 1)
    dev.queue(0, vector=3).run(fence(0, 1, LMEM, irq=True))
    assert not dev.interrupted(3), "masked"
    equal(m.qemu.load(dev.msix + hw.MSIX_PBA_OFFSET, 4), 1 << 3, "pending")
    m.qemu.store(dev.msix + 16 * 3 + 12, 4, 0)
    assert dev.interrupted(3), "unmasked"


@test()
def vf_interrupts(m):
    pf = m.accel[0]
    pf.enable_msix()
    vf = pf.enable_vfs(3)[2]
    vf.enable_msix()
    vf.w32(hw.REG_EVENT_ENABLE, hw.EVENT_ALL)
    assert pf.give(3, [1])
    m.step(1000)
    assert vf.interrupted(0), "QUOTA"
    for vector in range(hw.NR_VECTORS):
        vf.queue(vector, vector=vector).run(fence(0, 1, LMEM, irq=True))
        assert vf.interrupted(vector), f"vector {vector}"
    equal(pf.counter("IRQS"), 0, "interrupts of the PF")
    equal(vf.counter("IRQS"), 9, "interrupts of the VF")


@test()
def vector_register_wraps(m):
    dev = m.accel[0]
    q = dev.queue(0, vector=13)
    equal(q.r32(hw.Q_VECTOR), 5, "vector")


@test()
def no_interrupt_without_msix_or_bus_master(m):
    dev = m.accel[0]
    q = dev.queue(0)
    q.run(fence(0, 1, LMEM, irq=True))
    equal(dev.counter("IRQS"), 0, "interrupts")
    dev.enable_msix()
    dev.w32(hw.REG_EVENT_ENABLE, hw.EVENT_ALL)
    q.submit(nop(), hang())
    m.step()
    dev.pci.enable(master=False)
    dev.w32(hw.REG_CTRL, hw.CTRL_RESET)
    m.step()
    assert not dev.interrupted(0), "a message without bus master"
    equal(dev.r32(hw.REG_EVENT_STATUS), hw.EVENT_RESET_DONE, "status")


@test()
def interrupt_that_causes_itself(m):
    """A message is a write anywhere, also to a register that raises events."""
    pf = m.accel[0]
    vf = pf.enable_vfs(1)[0]
    vf.enable_msix()
    m.qemu.store(vf.msix, 8, pf.regs + hw.REG_LMTT_COMMIT)
    m.qemu.store(vf.msix + 8, 4, 0)
    vf.w32(hw.REG_EVENT_ENABLE, hw.EVENT_QUOTA)
    assert pf.give(1, [])
    m.step(100000)
    assert 100 < vf.counter("IRQS") < 10000, vf.counter("IRQS")


@test()
def interrupt_to_the_own_registers(m):
    dev = m.accel[0]
    dev.enable_msix()
    dev.w32(hw.REG_SCRATCH, 7)
    m.qemu.store(dev.msix + 16, 8, dev.regs + hw.REG_SCRATCH)
    dev.queue(0, vector=1).run(fence(0, 1, LMEM, irq=True))
    equal(dev.r32(hw.REG_SCRATCH), 7, "scratch")
