/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: registers of contexts and queues.
 */

#include "qemu/osdep.h"
#include "hlrs.h"

/* The half of a 64-bit register that a 4-byte access at offset means. */
static uint32_t hlrs_get_half(uint64_t val, unsigned offset)
{
    return offset & 4 ? val >> 32 : val;
}

static void hlrs_set_half(uint64_t *reg, unsigned offset, uint32_t val)
{
    *reg = deposit64(*reg, offset & 4 ? 32 : 0, 32, val);
}

uint32_t hlrs_ctx_read(HlrsFn *fn, unsigned n, unsigned offset)
{
    const HlrsCtx *ctx = &fn->ctx[n];

    switch (offset) {
    case HLRS_CTX_ROOT:
    case HLRS_CTX_ROOT + 4:
        return hlrs_get_half(ctx->root, offset);
    case HLRS_CTX_CTRL:
        return ctx->enabled ? HLRS_CTX_CTRL_ENABLE : 0;
    case HLRS_CTX_STATUS:
        return ctx->faulted ? HLRS_CTX_STATUS_FAULTED : 0;
    case HLRS_CTX_FAULT_VA:
    case HLRS_CTX_FAULT_VA + 4:
        return hlrs_get_half(ctx->fault_va, offset);
    case HLRS_CTX_FAULT_INFO:
        return ctx->fault_info;
    case HLRS_CTX_INV_START:
    case HLRS_CTX_INV_START + 4:
        return hlrs_get_half(ctx->inv_start, offset);
    case HLRS_CTX_INV_SIZE:
    case HLRS_CTX_INV_SIZE + 4:
        return hlrs_get_half(ctx->inv_size, offset);
    default:
        return 0;
    }
}

static void hlrs_ctx_ctrl(HlrsCtx *ctx, uint32_t val)
{
    ctx->enabled = val & HLRS_CTX_CTRL_ENABLE;
    if (ctx->enabled) {
        hlrs_mmu_prepare(ctx);
    } else {
        ctx->faulted = false;
        ctx->fault_va = 0;
        ctx->fault_info = 0;
    }
}

void hlrs_ctx_write(HlrsFn *fn, unsigned n, unsigned offset, uint32_t val)
{
    HlrsCtx *ctx = &fn->ctx[n];

    if (fn->resetting) {
        return;
    }
    switch (offset) {
    case HLRS_CTX_ROOT:
    case HLRS_CTX_ROOT + 4:
        hlrs_set_half(&ctx->root, offset, val);
        ctx->root &= HLRS_PTE_ADDR_MASK | HLRS_PTE_DM;
        break;
    case HLRS_CTX_CTRL:
        hlrs_ctx_ctrl(ctx, val);
        break;
    case HLRS_CTX_INVALIDATE:
        hlrs_mmu_invalidate(fn, n, val);
        break;
    case HLRS_CTX_INV_START:
    case HLRS_CTX_INV_START + 4:
        hlrs_set_half(&ctx->inv_start, offset, val);
        break;
    case HLRS_CTX_INV_SIZE:
    case HLRS_CTX_INV_SIZE + 4:
        hlrs_set_half(&ctx->inv_size, offset, val);
        break;
    }
}

static uint32_t hlrs_q_status(const HlrsQueue *q)
{
    uint32_t status = q->stopped ? HLRS_Q_STATUS_STOPPED : 0;

    switch (q->phase) {
    case HLRS_PHASE_FETCH:
        return status | (timer_pending(q->timer) ? HLRS_Q_STATUS_BUSY : 0);
    case HLRS_PHASE_RESET:
        return HLRS_Q_STATUS_RESETTING;
    default:
        return HLRS_Q_STATUS_BUSY;
    }
}

uint32_t hlrs_q_read(HlrsQueue *q, unsigned offset)
{
    switch (offset) {
    case HLRS_Q_RING:
    case HLRS_Q_RING + 4:
        return hlrs_get_half(q->ring, offset);
    case HLRS_Q_ORDER:
        return q->order;
    case HLRS_Q_CTX:
        return q->ctx;
    case HLRS_Q_CTRL:
        return (q->enabled ? HLRS_Q_CTRL_ENABLE : 0) |
               (q->priv ? HLRS_Q_CTRL_PRIV : 0);
    case HLRS_Q_STATUS:
        return hlrs_q_status(q);
    case HLRS_Q_HEAD:
        return q->head;
    case HLRS_Q_TAIL:
        return q->tail;
    case HLRS_Q_VECTOR:
        return q->vector;
    case HLRS_Q_CLASS:
        return hlrs_queue_is_nic(q) ? HLRS_Q_CLASS_NIC : HLRS_Q_CLASS_COPY;
    case HLRS_Q_FAULT_ADDR:
    case HLRS_Q_FAULT_ADDR + 4:
        return hlrs_get_half(q->fault_addr, offset);
    case HLRS_Q_FAULT_INFO:
        return q->fault_info;
    case HLRS_Q_BUSY_NS:
    case HLRS_Q_BUSY_NS + 4:
        return hlrs_get_half(hlrs_queue_busy_ns(q), offset);
    default:
        return 0;
    }
}

static void hlrs_q_ctrl(HlrsQueue *q, uint32_t val)
{
    if (val & HLRS_Q_CTRL_RESET) {
        hlrs_queue_reset(q);
        return;
    }
    q->enabled = val & HLRS_Q_CTRL_ENABLE;
    q->priv = val & HLRS_Q_CTRL_PRIV;
    hlrs_queue_kick(q);
}

/* Where the ring is cannot change under a queue that may read it. */
static void hlrs_q_setup(HlrsQueue *q, unsigned offset, uint32_t val)
{
    if (q->enabled || q->phase != HLRS_PHASE_FETCH) {
        return;
    }
    switch (offset) {
    case HLRS_Q_ORDER:
        q->order = val;
        break;
    case HLRS_Q_CTX:
        q->ctx = val;
        break;
    default:
        hlrs_set_half(&q->ring, offset, val);
        break;
    }
}

void hlrs_q_write(HlrsQueue *q, unsigned offset, uint32_t val)
{
    if (q->fn->resetting || q->phase == HLRS_PHASE_RESET) {
        return;
    }
    switch (offset) {
    case HLRS_Q_RING:
    case HLRS_Q_RING + 4:
    case HLRS_Q_ORDER:
    case HLRS_Q_CTX:
        hlrs_q_setup(q, offset, val);
        break;
    case HLRS_Q_CTRL:
        hlrs_q_ctrl(q, val);
        break;
    case HLRS_Q_TAIL:
        q->tail = val;
        hlrs_queue_kick(q);
        break;
    case HLRS_Q_VECTOR:
        q->vector = val % HLRS_NR_VECTORS;
        break;
    }
}
