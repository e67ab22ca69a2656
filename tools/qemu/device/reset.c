/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: resets.
 *
 * Three depths, each a superset of the one before:
 * - function reset (CTRL, or by the PF): engines and contexts; takes time
 * - FLR: all registers of the function, and on the PF also LMTT and poison
 * - power on (bus reset, VF enable): also the count of resets
 * LMEM keeps its contents in all of them.
 */

#include "qemu/osdep.h"
#include "hw/pci/pcie.h"
#include "hlrs.h"
#include "trace.h"

/* Stops everything now; what was in flight is dropped between two steps. */
void hlrs_reset_engines(HlrsFn *fn)
{
    for (unsigned i = 0; i < HLRS_NR_QUEUES; i++) {
        hlrs_queue_clear(&fn->queue[i]);
    }
    hlrs_mmu_reset(fn);
    fn->lmem_error = false;
    fn->event_status = 0;
    fn->queue_irq = 0;
    fn->irq_pending = 0;
}

static void hlrs_reset_done(void *opaque)
{
    HlrsFn *fn = opaque;

    fn->resetting = false;
    hlrs_event(fn, HLRS_EVENT_RESET_DONE);
}

/* Asking again while a reset runs changes nothing. */
void hlrs_reset_function(HlrsFn *fn)
{
    if (fn->resetting) {
        return;
    }
    trace_hlrs_reset(hlrs_pci(fn)->name, fn->number, "function");
    hlrs_reset_engines(fn);
    fn->reset_count++;
    fn->resetting = true;
    timer_mod(fn->reset_timer,
              qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + HLRS_RESET_NS);
}

void hlrs_reset_all(HlrsPF *pf)
{
    hlrs_reset_function(&pf->fn);
    for (unsigned n = 1; n <= pf->total_vfs; n++) {
        HlrsFn *vf = hlrs_vf_get(pf, n);

        if (vf) {
            hlrs_reset_function(vf);
        }
    }
}

/* Called for FLR, bus reset, and enabling and disabling of a VF. */
void hlrs_reset_power_on(HlrsFn *fn)
{
    PCIDevice *dev = hlrs_pci(fn);
    bool flr = pci_get_word(dev->config + dev->exp.exp_cap + PCI_EXP_DEVCTL) &
               PCI_EXP_DEVCTL_BCR_FLR;

    if (fn->gone) {
        return;
    }
    trace_hlrs_reset(dev->name, fn->number, flr ? "FLR" : "power on");
    timer_del(fn->reset_timer);
    timer_del(fn->irq_timer);
    hlrs_reset_engines(fn);
    fn->resetting = false;
    fn->scratch = 0;
    fn->reset_count = flr ? fn->reset_count + 1 : 0;
    fn->time_cmd = HLRS_TIME_CMD_DEFAULT;
    fn->time_lmem = HLRS_TIME_LMEM_DEFAULT;
    fn->time_bus = HLRS_TIME_BUS_DEFAULT;
    fn->time_link = HLRS_TIME_LINK_DEFAULT;
    fn->event_enable = 0;
    fn->inject_addr = 0;
    fn->lose_irq = false;
    fn->read_latch_addr = UINT32_MAX;
    fn->write_latch = 0;
    memset(fn->counters, 0, sizeof(fn->counters));

    if (!hlrs_is_vf(fn)) {
        hlrs_lmtt_reset(fn->pf);
        hlrs_lmem_heal(fn);
        fn->pf->vf_flr = 0;
    } else if (flr || (!dev->enabled && fn->pf->config_write)) {
        /* Not when a reset of the PF disables VFs: the PF is new then. */
        fn->pf->vf_flr |= 1ull << fn->number;
        hlrs_event(&fn->pf->fn, HLRS_EVENT_VF_FLR);
    }
}

void hlrs_reset_init(HlrsFn *fn)
{
    fn->reset_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, hlrs_reset_done, fn);
}

void hlrs_reset_exit(HlrsFn *fn)
{
    timer_free(g_steal_pointer(&fn->reset_timer));
}
