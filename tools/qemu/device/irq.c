/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: events and interrupts.
 *
 * An MSI is a write to an address that the guest chose. It is sent from a
 * timer, never from inside a register write or an engine: see hlrs.h. A
 * bottom half would do that too, but runs in another thread than the timers
 * when QEMU counts instructions, and then the moment of an interrupt would
 * differ from run to run. The timer is a little in the future, because the
 * write may well cause the next interrupt: that must not be endless.
 */

#include "qemu/osdep.h"
#include "hw/pci/msix.h"
#include "hlrs.h"
#include "trace.h"

static void hlrs_irq_send(void *opaque)
{
    HlrsFn *fn = opaque;
    PCIDevice *dev = hlrs_pci(fn);
    MemReentrancyGuard *guard = &dev->qdev.mem_reentrancy_guard;
    uint32_t pending = fn->irq_pending;

    fn->irq_pending = 0;
    /* The write can even unplug this very device. */
    object_ref(fn);
    guard->engaged_in_io = true;
    for (; pending && !fn->gone; pending &= pending - 1) {
        msix_notify(dev, ctz32(pending));
    }
    guard->engaged_in_io = false;
    object_unref(fn);
}

void hlrs_irq_raise(HlrsFn *fn, unsigned vector)
{
    PCIDevice *dev = hlrs_pci(fn);

    if (fn->lose_irq) {
        fn->lose_irq = false;
        hlrs_count(fn, HLRS_CNT_IRQS_LOST, 1);
        trace_hlrs_irq(dev->name, fn->number, vector, true);
        return;
    }
    if (!msix_enabled(dev)) {
        return;
    }
    hlrs_count(fn, HLRS_CNT_IRQS, 1);
    trace_hlrs_irq(dev->name, fn->number, vector, false);
    fn->irq_pending |= 1u << vector;
    if (!timer_pending(fn->irq_timer)) {
        timer_mod(fn->irq_timer,
                  qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + HLRS_STEP_MIN_NS);
    }
}

void hlrs_event(HlrsFn *fn, uint32_t events)
{
    fn->event_status |= events;
    if (fn->event_enable & events) {
        hlrs_irq_raise(fn, HLRS_EVENT_VECTOR);
    }
}

void hlrs_event_enable(HlrsFn *fn, uint32_t events)
{
    uint32_t added = events & ~fn->event_enable;

    fn->event_enable = events;
    if (fn->event_status & added) {
        hlrs_irq_raise(fn, HLRS_EVENT_VECTOR);
    }
}

void hlrs_irq_init(HlrsFn *fn)
{
    fn->irq_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, hlrs_irq_send, fn);
}

void hlrs_irq_exit(HlrsFn *fn)
{
    fn->irq_pending = 0;
    timer_free(g_steal_pointer(&fn->irq_timer));
}
