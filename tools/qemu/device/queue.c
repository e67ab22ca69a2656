/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: queues. Each is a state machine driven by one timer.
 *
 *   FETCH --command--> EXEC --last byte--> RETIRE --its time is over--> FETCH
 *            |           '--fault--> stopped
 *            '--HANG--> HUNG, left by reset only
 *
 * The step that moves the last byte does not retire the command: the time
 * that those bytes took has to pass first.
 */

#include "qemu/osdep.h"
#include "hlrs.h"
#include "trace.h"

static int64_t hlrs_now(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

static void hlrs_queue_arm(HlrsQueue *q, uint64_t ns)
{
    timer_mod(q->timer, hlrs_now() + MAX(ns, HLRS_STEP_MIN_NS));
}

static bool hlrs_queue_runnable(const HlrsQueue *q)
{
    return q->enabled && !q->stopped && q->phase == HLRS_PHASE_FETCH &&
           q->head != q->tail && !q->fn->resetting;
}

/* Something changed that may let the queue start. */
void hlrs_queue_kick(HlrsQueue *q)
{
    if (hlrs_queue_runnable(q) && !timer_pending(q->timer)) {
        hlrs_queue_arm(q, 0);
    }
}

static void hlrs_queue_fault(HlrsQueue *q, const HlrsFault *fault)
{
    HlrsFn *fn = q->fn;
    uint32_t info = HLRS_FAULT_VALID | fault->reason |
                    (fault->write ? HLRS_FAULT_WRITE : 0) |
                    fault->level << HLRS_FAULT_LEVEL_SHIFT |
                    (uint32_t)q->index << HLRS_FAULT_QUEUE_SHIFT;
    uint32_t events = HLRS_EVENT_FAULT;

    trace_hlrs_fault(hlrs_pci(fn)->name, fn->number, q->index, fault->reason,
                     fault->addr);
    q->busy_ns = hlrs_queue_busy_ns(q);
    q->phase = HLRS_PHASE_FETCH;
    q->stopped = true;
    q->fault_addr = fault->addr;
    q->fault_info = info;
    hlrs_count(fn, HLRS_CNT_FAULTS, 1);

    if (fault->ctx >= 0 && !fn->ctx[fault->ctx].faulted) {
        HlrsCtx *ctx = &fn->ctx[fault->ctx];

        ctx->faulted = true;
        ctx->fault_va = fault->addr;
        ctx->fault_info = info;
    }
    if (fault->reason == HLRS_FAULT_LMEM_ERROR) {
        fn->lmem_error = true;
        events |= HLRS_EVENT_LMEM_ERROR;
    }
    hlrs_event(fn, events);
}

static bool hlrs_queue_read_ring(HlrsQueue *q, uint64_t where)
{
    struct hlrs_cmd *cmd = &q->cmd;

    if (hlrs_bus_rw(q->fn, where, cmd, sizeof(*cmd), false) != MEMTX_OK) {
        return false;
    }
    cmd->header = le32_to_cpu(cmd->header);
    cmd->contexts = le32_to_cpu(cmd->contexts);
    cmd->src = le64_to_cpu(cmd->src);
    cmd->dst = le64_to_cpu(cmd->dst);
    cmd->size = le64_to_cpu(cmd->size);
    cmd->data = le64_to_cpu(cmd->data);
    return true;
}

/* Takes the next command, if there is one and the queue may run. */
static void hlrs_queue_fetch(HlrsQueue *q)
{
    HlrsFault fault = { .ctx = -1, .reason = HLRS_FAULT_RING };
    uint64_t slots, where;

    if (!hlrs_queue_runnable(q)) {
        return;
    }
    q->cmd_start = hlrs_now();
    fault.addr = q->ring;
    if (q->order < HLRS_Q_ORDER_MIN || q->order > HLRS_Q_ORDER_MAX ||
        q->ring % 4096) {
        hlrs_queue_fault(q, &fault);
        return;
    }
    slots = 1ull << q->order;
    where = q->ring + (q->head & (slots - 1)) * HLRS_CMD_SIZE;
    fault.addr = where;
    if (q->tail - q->head > slots || !hlrs_queue_read_ring(q, where)) {
        hlrs_queue_fault(q, &fault);
        return;
    }
    if (!hlrs_cmd_check(q, where, &fault)) {
        hlrs_queue_fault(q, &fault);
        return;
    }
    if ((q->cmd.header & 0xff) == HLRS_OP_HANG) {
        q->phase = HLRS_PHASE_HUNG;
        return;
    }
    q->phase = HLRS_PHASE_EXEC;
    hlrs_queue_arm(q, q->fn->time_cmd);
}

static void hlrs_queue_retire(HlrsQueue *q)
{
    HlrsFn *fn = q->fn;

    q->busy_ns = hlrs_queue_busy_ns(q);
    q->phase = HLRS_PHASE_FETCH;
    q->head++;
    hlrs_count(fn, HLRS_CNT_COMMANDS, 1);
    if (q->cmd.header & HLRS_CMD_IRQ) {
        fn->queue_irq |= 1u << q->index;
        hlrs_irq_raise(fn, q->vector);
    }
    hlrs_queue_fetch(q);
}

static void hlrs_queue_exec(HlrsQueue *q)
{
    HlrsFault fault;
    uint64_t ns;

    switch (hlrs_cmd_step(q, &ns, &fault)) {
    case HLRS_STEP_FAULT:
        hlrs_queue_fault(q, &fault);
        break;
    case HLRS_STEP_MORE:
        hlrs_queue_arm(q, ns);
        break;
    case HLRS_STEP_DONE:
        if (ns) {
            q->phase = HLRS_PHASE_RETIRE;
            hlrs_queue_arm(q, ns);
        } else {
            hlrs_queue_retire(q);
        }
        break;
    }
}

static void hlrs_queue_work(void *opaque)
{
    HlrsQueue *q = opaque;
    MemReentrancyGuard *guard = &hlrs_pci(q->fn)->qdev.mem_reentrancy_guard;

    guard->engaged_in_io = true;
    switch (q->phase) {
    case HLRS_PHASE_FETCH:
        hlrs_queue_fetch(q);
        break;
    case HLRS_PHASE_EXEC:
        hlrs_queue_exec(q);
        break;
    case HLRS_PHASE_RETIRE:
        hlrs_queue_retire(q);
        break;
    case HLRS_PHASE_RESET:
        q->phase = HLRS_PHASE_FETCH;
        break;
    case HLRS_PHASE_HUNG:
        g_assert_not_reached();
    }
    guard->engaged_in_io = false;
}

/* Counts the running command too: a hang is time, as users see it. */
uint64_t hlrs_queue_busy_ns(const HlrsQueue *q)
{
    switch (q->phase) {
    case HLRS_PHASE_EXEC:
    case HLRS_PHASE_RETIRE:
    case HLRS_PHASE_HUNG:
        return q->busy_ns + (hlrs_now() - q->cmd_start);
    default:
        return q->busy_ns;
    }
}

/* To the state after power on, at once. */
void hlrs_queue_clear(HlrsQueue *q)
{
    if (q->timer) {
        timer_del(q->timer);
    }
    q->ring = 0;
    q->order = 0;
    q->ctx = 0;
    q->head = 0;
    q->tail = 0;
    q->vector = 0;
    q->fault_addr = 0;
    q->fault_info = 0;
    q->busy_ns = 0;
    q->enabled = false;
    q->priv = false;
    q->stopped = false;
    q->phase = HLRS_PHASE_FETCH;
}

void hlrs_queue_reset(HlrsQueue *q)
{
    uint64_t busy_ns = hlrs_queue_busy_ns(q);

    trace_hlrs_queue_reset(hlrs_pci(q->fn)->name, q->fn->number, q->index);
    hlrs_queue_clear(q);
    q->busy_ns = busy_ns;
    q->fn->queue_irq &= ~(1u << q->index);
    q->phase = HLRS_PHASE_RESET;
    hlrs_queue_arm(q, HLRS_Q_RESET_NS);
}

void hlrs_queue_init(HlrsFn *fn, unsigned index)
{
    HlrsQueue *q = &fn->queue[index];

    q->fn = fn;
    q->index = index;
    q->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, hlrs_queue_work, q);
}

void hlrs_queue_exit(HlrsQueue *q)
{
    timer_free(g_steal_pointer(&q->timer));
}
