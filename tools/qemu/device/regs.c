/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: BAR0.
 *
 * The region is accessed in units of 4 bytes; QEMU splits an access of 8 into
 * two, low half first. Reading the low half of a 64-bit register keeps the
 * high half for the read that follows, so that a counter does not tear.
 */

#include "qemu/osdep.h"
#include "hlrs.h"

#define HLRS_CTX_END    HLRS_REG_CTX(HLRS_NR_CTX)
#define HLRS_Q_END      HLRS_REG_Q(HLRS_NR_QUEUES)
#define HLRS_CNT_END    (HLRS_REG_CNT_BUS_READ + 8 * HLRS_NR_COUNTERS)

QEMU_BUILD_BUG_ON(HLRS_REG_CNT_IRQS_LOST !=
                  HLRS_REG_CNT_BUS_READ + 8 * HLRS_CNT_IRQS_LOST);
QEMU_BUILD_BUG_ON(HLRS_CTX_END > HLRS_REG_Q_BASE);
QEMU_BUILD_BUG_ON(HLRS_Q_END > HLRS_REG_VF_FLR);
QEMU_BUILD_BUG_ON(sizeof(struct hlrs_cmd) != HLRS_CMD_SIZE);

static uint32_t hlrs_caps(HlrsFn *fn)
{
    return (hlrs_is_vf(fn) ? HLRS_CAPS_VF : 0) |
           (!hlrs_is_vf(fn) && fn->pf->link ? HLRS_CAPS_LINK : 0) |
           (fn->pf->inject ? HLRS_CAPS_INJECT : 0) |
           HLRS_NR_CTX << HLRS_CAPS_NR_CTX_SHIFT |
           HLRS_NR_QUEUES << HLRS_CAPS_NR_QUEUES_SHIFT;
}

static uint32_t hlrs_status(HlrsFn *fn)
{
    return (fn->resetting ? HLRS_STATUS_RESETTING : HLRS_STATUS_READY) |
           (fn->lmem_error ? HLRS_STATUS_LMEM_ERROR : 0);
}

static HlrsPF *hlrs_link_peer(HlrsFn *fn)
{
    return hlrs_is_vf(fn) ? NULL : fn->pf->peer;
}

static uint32_t hlrs_read32(HlrsFn *fn, hwaddr addr)
{
    bool is_pf = !hlrs_is_vf(fn);

    switch (addr) {
    case HLRS_REG_ID:
        return HLRS_ID;
    case HLRS_REG_VERSION:
        return HLRS_VERSION;
    case HLRS_REG_CAPS:
        return hlrs_caps(fn);
    case HLRS_REG_FUNCTION:
        return fn->number;
    case HLRS_REG_STATUS:
        return hlrs_status(fn);
    case HLRS_REG_SCRATCH:
        return fn->scratch;
    case HLRS_REG_RESET_COUNT:
        return fn->reset_count;
    case HLRS_REG_TIME_CMD:
        return fn->time_cmd;
    case HLRS_REG_TIME_LMEM:
        return fn->time_lmem;
    case HLRS_REG_TIME_BUS:
        return fn->time_bus;
    case HLRS_REG_TIME_LINK:
        return fn->time_link;
    case HLRS_REG_EVENT_STATUS:
        return fn->event_status;
    case HLRS_REG_EVENT_ENABLE:
        return fn->event_enable;
    case HLRS_REG_QUEUE_IRQ:
        return fn->queue_irq;
    case HLRS_REG_LMTT_VF:
        return is_pf ? fn->pf->lmtt_vf : 0;
    case HLRS_REG_LMTT_INDEX:
        return is_pf ? fn->pf->lmtt_index : 0;
    case HLRS_REG_LMTT_STATUS:
        return is_pf ? fn->pf->lmtt_status : 0;
    case HLRS_REG_LINK_STATUS:
        return hlrs_link_peer(fn) ? HLRS_LINK_UP : 0;
    default:
        return 0;
    }
}

/* False if there is no 64-bit register at addr, which is a multiple of 8. */
static bool hlrs_read64(HlrsFn *fn, hwaddr addr, uint64_t *val)
{
    HlrsPF *peer = hlrs_link_peer(fn);
    bool is_pf = !hlrs_is_vf(fn);

    if (addr >= HLRS_REG_CNT_BUS_READ && addr < HLRS_CNT_END) {
        *val = fn->counters[(addr - HLRS_REG_CNT_BUS_READ) / 8];
        return true;
    }
    switch (addr) {
    case HLRS_REG_LMEM_SIZE:
        *val = hlrs_lmtt_size(fn);
        return true;
    case HLRS_REG_APERTURE_SIZE:
        *val = fn->pf->aperture_size;
        return true;
    case HLRS_REG_TIMESTAMP:
        *val = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
        return true;
    case HLRS_REG_DEVICE_UID:
        *val = fn->pf->uid;
        return true;
    case HLRS_REG_INJECT_ADDR:
        *val = fn->inject_addr;
        return true;
    case HLRS_REG_VF_FLR:
        *val = is_pf ? fn->pf->vf_flr : 0;
        return true;
    case HLRS_REG_LMTT_ENTRY:
        *val = is_pf ? hlrs_lmtt_entry(fn->pf) : 0;
        return true;
    case HLRS_REG_LINK_PEER_UID:
        *val = peer ? peer->uid : 0;
        return true;
    case HLRS_REG_LINK_PEER_SIZE:
        *val = peer ? peer->lmem_size : 0;
        return true;
    default:
        break;
    }
    if (addr >= HLRS_REG_Q_BASE && addr < HLRS_Q_END &&
        (addr - HLRS_REG_Q_BASE) % HLRS_Q_STRIDE == HLRS_Q_BUSY_NS) {
        *val = hlrs_queue_busy_ns(
            &fn->queue[(addr - HLRS_REG_Q_BASE) / HLRS_Q_STRIDE]);
        return true;
    }
    return false;
}

static uint64_t hlrs_regs_read(void *opaque, hwaddr addr, unsigned size)
{
    HlrsFn *fn = opaque;
    hwaddr base = addr & ~7ull;
    uint64_t val;

    if (fn->gone) {
        return MAKE_64BIT_MASK(0, size * 8);
    }
    if (base != addr && fn->read_latch_addr == base) {
        fn->read_latch_addr = UINT32_MAX;
        return fn->read_latch;
    }
    fn->read_latch_addr = UINT32_MAX;
    if (hlrs_read64(fn, base, &val)) {
        if (base == addr) {
            fn->read_latch = val >> 32;
            fn->read_latch_addr = base;
            return (uint32_t)val;
        }
        return val >> 32;
    }
    if (addr >= HLRS_REG_CTX_BASE && addr < HLRS_CTX_END) {
        addr -= HLRS_REG_CTX_BASE;
        return hlrs_ctx_read(fn, addr / HLRS_CTX_STRIDE,
                             addr % HLRS_CTX_STRIDE);
    }
    if (addr >= HLRS_REG_Q_BASE && addr < HLRS_Q_END) {
        addr -= HLRS_REG_Q_BASE;
        return hlrs_q_read(&fn->queue[addr / HLRS_Q_STRIDE],
                           addr % HLRS_Q_STRIDE);
    }
    return hlrs_read32(fn, addr);
}

static void hlrs_write_ctrl(HlrsFn *fn, uint32_t val)
{
    if ((val & HLRS_CTRL_RESET_ALL) && !hlrs_is_vf(fn)) {
        hlrs_reset_all(fn->pf);
    } else if (val & HLRS_CTRL_RESET) {
        hlrs_reset_function(fn);
    }
}

static void hlrs_write_inject(HlrsFn *fn, uint32_t val)
{
    if (!fn->pf->inject) {
        return;
    }
    if (val & HLRS_INJECT_CLEAR) {
        fn->lose_irq = false;
        hlrs_lmem_heal(fn);
    }
    if (val & HLRS_INJECT_LOSE_IRQ) {
        fn->lose_irq = true;
    }
    if (val & HLRS_INJECT_LMEM_ERROR) {
        hlrs_lmem_inject(fn);
    }
}

static void hlrs_write_sriov(HlrsPF *pf, hwaddr addr, uint32_t val)
{
    HlrsFn *vf;

    switch (addr) {
    case HLRS_REG_VF_FLR:
        pf->vf_flr &= ~(uint64_t)val;
        break;
    case HLRS_REG_VF_FLR + 4:
        pf->vf_flr &= ~((uint64_t)val << 32);
        break;
    case HLRS_REG_LMTT_VF:
        hlrs_lmtt_select(pf, val);
        break;
    case HLRS_REG_LMTT_INDEX:
        pf->lmtt_index = val;
        break;
    case HLRS_REG_LMTT_ENTRY:
        pf->fn.write_latch = val;
        break;
    case HLRS_REG_LMTT_ENTRY + 4:
        hlrs_lmtt_set_entry(pf, pf->fn.write_latch | (uint64_t)val << 32);
        break;
    case HLRS_REG_LMTT_COMMIT:
        hlrs_lmtt_commit(pf, val);
        break;
    case HLRS_REG_VF_RESET:
        vf = val <= HLRS_MAX_VFS ? hlrs_vf_get(pf, val) : NULL;
        if (vf) {
            hlrs_reset_function(vf);
        }
        break;
    }
}

static void hlrs_write32(HlrsFn *fn, hwaddr addr, uint32_t val)
{
    switch (addr) {
    case HLRS_REG_CTRL:
        hlrs_write_ctrl(fn, val);
        break;
    case HLRS_REG_SCRATCH:
        fn->scratch = val;
        break;
    case HLRS_REG_TIME_CMD:
        fn->time_cmd = MIN(val, HLRS_TIME_MAX);
        break;
    case HLRS_REG_TIME_LMEM:
        fn->time_lmem = MIN(val, HLRS_TIME_MAX);
        break;
    case HLRS_REG_TIME_BUS:
        fn->time_bus = MIN(val, HLRS_TIME_MAX);
        break;
    case HLRS_REG_TIME_LINK:
        fn->time_link = MIN(val, HLRS_TIME_MAX);
        break;
    case HLRS_REG_EVENT_STATUS:
        fn->event_status &= ~val;
        break;
    case HLRS_REG_EVENT_ENABLE:
        hlrs_event_enable(fn, val & HLRS_EVENT_ALL);
        break;
    case HLRS_REG_QUEUE_IRQ:
        fn->queue_irq &= ~val;
        break;
    case HLRS_REG_INJECT:
        hlrs_write_inject(fn, val);
        break;
    case HLRS_REG_INJECT_ADDR:
        fn->inject_addr = deposit64(fn->inject_addr, 0, 32, val);
        break;
    case HLRS_REG_INJECT_ADDR + 4:
        fn->inject_addr = deposit64(fn->inject_addr, 32, 32, val);
        break;
    default:
        if (!hlrs_is_vf(fn)) {
            hlrs_write_sriov(fn->pf, addr, val);
        }
        break;
    }
}

static void hlrs_regs_write(void *opaque, hwaddr addr, uint64_t val,
                            unsigned size)
{
    HlrsFn *fn = opaque;

    if (fn->gone) {
        return;
    }
    if (addr >= HLRS_REG_CTX_BASE && addr < HLRS_CTX_END) {
        addr -= HLRS_REG_CTX_BASE;
        hlrs_ctx_write(fn, addr / HLRS_CTX_STRIDE, addr % HLRS_CTX_STRIDE,
                       val);
    } else if (addr >= HLRS_REG_Q_BASE && addr < HLRS_Q_END) {
        addr -= HLRS_REG_Q_BASE;
        hlrs_q_write(&fn->queue[addr / HLRS_Q_STRIDE], addr % HLRS_Q_STRIDE,
                     val);
    } else {
        hlrs_write32(fn, addr, val);
    }
}

const MemoryRegionOps hlrs_regs_ops = {
    .read = hlrs_regs_read,
    .write = hlrs_regs_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 4,
        .max_access_size = 8,
    },
    .impl = {
        .min_access_size = 4,
        .max_access_size = 4,
    },
};
