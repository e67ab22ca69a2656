/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: commands.
 *
 * A command is checked as a whole before its first byte moves. Data then
 * moves in steps of bounded size, between which everything may change: page
 * tables, quotas, peers. Bytes that moved before a fault stay moved.
 */

#include "qemu/osdep.h"
#include "hlrs.h"
#include "trace.h"

/* What an opcode does with the fields of a command. */
typedef struct HlrsOp {
    bool reads;                 /* src and its space */
    bool writes;                /* dst and its space */
    bool sized;                 /* size */
    bool copy_queue;
    bool nic_queue;
    uint8_t align;              /* of dst */
    uint8_t result;             /* bytes written to dst, if not size */
} HlrsOp;

static const HlrsOp hlrs_ops[] = {
    [HLRS_OP_NOP] = { .copy_queue = true, .nic_queue = true, .align = 1 },
    [HLRS_OP_COPY] = { .reads = true, .writes = true, .sized = true,
                       .copy_queue = true, .align = 1 },
    [HLRS_OP_FILL] = { .writes = true, .sized = true, .copy_queue = true,
                       .align = 1 },
    [HLRS_OP_CRC32C] = { .reads = true, .writes = true, .sized = true,
                         .copy_queue = true, .align = 1,
                         .result = sizeof(struct hlrs_crc_result) },
    [HLRS_OP_FENCE] = { .writes = true, .copy_queue = true, .nic_queue = true,
                        .align = sizeof(struct hlrs_fence_result),
                        .result = sizeof(struct hlrs_fence_result) },
    [HLRS_OP_TIMESTAMP] = { .writes = true, .copy_queue = true,
                            .nic_queue = true, .align = sizeof(hlrs_u64),
                            .result = sizeof(hlrs_u64) },
    [HLRS_OP_HANG] = { .copy_queue = true, .nic_queue = true, .align = 1 },
    [HLRS_OP_XCOPY] = { .reads = true, .writes = true, .sized = true,
                        .nic_queue = true, .align = 1 },
};

static unsigned hlrs_cmd_op(const struct hlrs_cmd *cmd)
{
    return cmd->header & 0xff;
}

static unsigned hlrs_cmd_space(const struct hlrs_cmd *cmd, bool write)
{
    return write ? (cmd->header & HLRS_CMD_DST_SPACE_MASK) >>
                   HLRS_CMD_DST_SPACE_SHIFT
                 : (cmd->header & HLRS_CMD_SRC_SPACE_MASK) >>
                   HLRS_CMD_SRC_SPACE_SHIFT;
}

static uint32_t hlrs_cmd_ctx(const HlrsQueue *q, bool write)
{
    if (hlrs_cmd_op(&q->cmd) != HLRS_OP_XCOPY) {
        return q->ctx;
    }
    return write ? q->cmd.contexts >> HLRS_CMD_DST_CTX_SHIFT
                 : q->cmd.contexts & HLRS_CMD_SRC_CTX_MASK;
}

static bool hlrs_cmd_well_formed(const HlrsQueue *q)
{
    const struct hlrs_cmd *cmd = &q->cmd;
    unsigned op = hlrs_cmd_op(cmd);
    const HlrsOp *o;

    if (op >= ARRAY_SIZE(hlrs_ops)) {
        return false;
    }
    o = &hlrs_ops[op];
    if (hlrs_queue_is_nic(q) ? !o->nic_queue : !o->copy_queue) {
        return false;
    }
    if ((cmd->header & HLRS_CMD_RESERVED_MASK) ||
        cmd->reserved[0] || cmd->reserved[1] || cmd->reserved[2] ||
        (cmd->contexts && op != HLRS_OP_XCOPY) ||
        ((cmd->header & HLRS_CMD_IRQ) && op != HLRS_OP_FENCE) ||
        ((cmd->header & HLRS_CMD_CHAIN) && op != HLRS_OP_CRC32C) ||
        (hlrs_cmd_space(cmd, false) && !o->reads) ||
        (hlrs_cmd_space(cmd, true) && !o->writes)) {
        return false;
    }
    if ((o->writes && cmd->dst % o->align) ||
        (o->sized && cmd->size > HLRS_CMD_MAX_BYTES)) {
        return false;
    }
    return op != HLRS_OP_CRC32C || (cmd->header & HLRS_CMD_CHAIN) ||
           cmd->data <= UINT32_MAX;
}

static bool hlrs_cmd_check_operand(const HlrsQueue *q, bool write,
                                   HlrsFault *fault)
{
    const HlrsOp *o = &hlrs_ops[hlrs_cmd_op(&q->cmd)];
    unsigned space = hlrs_cmd_space(&q->cmd, write);
    uint64_t addr = write ? q->cmd.dst : q->cmd.src;
    uint64_t size = write && o->result ? o->result : q->cmd.size;
    uint64_t limit = space == HLRS_SPACE_VIRTUAL ? 1ull << HLRS_VA_BITS
                                                 : UINT64_MAX;

    *fault = (HlrsFault) { .addr = addr, .ctx = -1, .write = write };
    if (space != HLRS_SPACE_VIRTUAL && !q->priv) {
        fault->reason = HLRS_FAULT_PRIVILEGE;
        return false;
    }
    if (size && (addr >= limit || size > limit - addr)) {
        uint32_t ctx = hlrs_cmd_ctx(q, write);

        fault->reason = HLRS_FAULT_VA_RANGE;
        if (space == HLRS_SPACE_VIRTUAL) {
            if (hlrs_mmu_usable(q->fn, ctx)) {
                fault->ctx = ctx;
            } else {
                fault->reason = HLRS_FAULT_CTX_DISABLED;
            }
        }
        return false;
    }
    return true;
}

/* Whether the fetched command may start; where is its own bus address. */
bool hlrs_cmd_check(HlrsQueue *q, uint64_t where, HlrsFault *fault)
{
    const HlrsOp *o;

    if (!hlrs_cmd_well_formed(q)) {
        *fault = (HlrsFault) {
            .addr = where, .ctx = -1, .reason = HLRS_FAULT_BAD_COMMAND,
        };
        return false;
    }
    o = &hlrs_ops[hlrs_cmd_op(&q->cmd)];
    if ((o->reads && !hlrs_cmd_check_operand(q, false, fault)) ||
        (o->writes && !hlrs_cmd_check_operand(q, true, fault))) {
        return false;
    }
    trace_hlrs_cmd(hlrs_pci(q->fn)->name, q->fn->number, q->index,
                   hlrs_cmd_op(&q->cmd), q->cmd.src, q->cmd.dst, q->cmd.size);
    q->done = 0;
    q->chain = q->cmd.header & HLRS_CMD_CHAIN;
    q->crc = ~(uint32_t)q->cmd.data;
    return true;
}

/* What stands at phase modulo 8 of the pattern comes first. */
static void hlrs_fill(uint8_t *buf, uint64_t len, uint64_t pattern,
                      uint64_t phase)
{
    pattern = ror64(pattern, phase % sizeof(pattern) * 8);
    for (; len >= sizeof(pattern); len -= sizeof(pattern)) {
        stq_le_p(buf, pattern);
        buf += sizeof(pattern);
    }
    for (; len; len--) {
        *buf++ = pattern;
        pattern >>= 8;
    }
}

static bool hlrs_resolve_operand(HlrsQueue *q, bool write, uint64_t len,
                                 HlrsSpan *span, HlrsFault *fault)
{
    uint64_t addr = (write ? q->cmd.dst : q->cmd.src) + q->done;

    return hlrs_resolve(q->fn, hlrs_cmd_space(&q->cmd, write),
                        hlrs_cmd_ctx(q, write), addr, len, write, span, fault);
}

/* Moves the next piece, at most limit bytes; 0 means a fault. */
static uint64_t hlrs_move_piece(HlrsQueue *q, uint64_t limit, uint64_t *ns,
                                HlrsFault *fault)
{
    HlrsFn *fn = q->fn;
    uint8_t *buf = fn->pf->bounce;
    const HlrsOp *o = &hlrs_ops[hlrs_cmd_op(&q->cmd)];
    bool stores = o->writes && !o->result;
    uint64_t n = MIN(limit, HLRS_BOUNCE_BYTES);
    HlrsFault src_fault, dst_fault;
    HlrsSpan src, dst;

    if (o->reads) {
        if (!hlrs_resolve_operand(q, false, n, &src, fault)) {
            return 0;
        }
        src_fault = *fault;
        n = src.len;
    }
    if (stores) {
        if (!hlrs_resolve_operand(q, true, n, &dst, fault)) {
            return 0;
        }
        dst_fault = *fault;
        n = dst.len;
    }
    if (o->reads) {
        src.len = n;
        *fault = src_fault;
        if (!hlrs_span_rw(fn, &src, buf, false, fault)) {
            return 0;
        }
        *ns += hlrs_span_cost(fn, &src);
    } else {
        hlrs_fill(buf, n, q->cmd.data, q->done);
    }
    if (stores) {
        *fault = dst_fault;
        if (!hlrs_span_rw(fn, &dst, buf, true, fault)) {
            return 0;
        }
        *ns += hlrs_span_cost(fn, &dst);
    } else {
        q->crc = hlrs_crc32c(q->crc, buf, n);
    }
    return n;
}

/* CRC32C that continues: the initial value is what an earlier one left. */
static bool hlrs_load_crc(HlrsQueue *q, HlrsFault *fault)
{
    uint32_t crc = 0;

    if (!hlrs_read_operand(q->fn, hlrs_cmd_space(&q->cmd, true),
                           hlrs_cmd_ctx(q, true), q->cmd.dst, &crc,
                           sizeof(crc), fault)) {
        return false;
    }
    q->crc = ~le32_to_cpu(crc);
    return true;
}

static bool hlrs_put(HlrsQueue *q, uint64_t offset, const void *buf,
                     uint64_t len, HlrsFault *fault)
{
    return hlrs_write_result(q->fn, hlrs_cmd_space(&q->cmd, true),
                             hlrs_cmd_ctx(q, true), q->cmd.dst + offset, buf,
                             len, fault);
}

static bool hlrs_put_u64(HlrsQueue *q, uint64_t offset, uint64_t val,
                         HlrsFault *fault)
{
    val = cpu_to_le64(val);
    return hlrs_put(q, offset, &val, sizeof(val), fault);
}

static bool hlrs_finish(HlrsQueue *q, HlrsFault *fault)
{
    uint64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
    struct hlrs_crc_result crc;

    switch (hlrs_cmd_op(&q->cmd)) {
    case HLRS_OP_CRC32C:
        crc.crc = cpu_to_le32(~q->crc);
        crc.valid = cpu_to_le32(1);
        return hlrs_put(q, 0, &crc, sizeof(crc), fault);
    case HLRS_OP_FENCE:
        return hlrs_put_u64(q, offsetof(struct hlrs_fence_result, timestamp),
                            now, fault) &&
               hlrs_put_u64(q, offsetof(struct hlrs_fence_result, seqno),
                            q->cmd.data, fault);
    case HLRS_OP_TIMESTAMP:
        return hlrs_put_u64(q, 0, now, fault);
    default:
        return true;
    }
}

/* One step of the command; *ns is the device time that its data took. */
HlrsStep hlrs_cmd_step(HlrsQueue *q, uint64_t *ns, HlrsFault *fault)
{
    const HlrsOp *o = &hlrs_ops[hlrs_cmd_op(&q->cmd)];
    uint64_t budget = HLRS_STEP_BYTES;

    *ns = 0;
    if (q->chain) {
        q->chain = false;
        if (!hlrs_load_crc(q, fault)) {
            return HLRS_STEP_FAULT;
        }
    }
    while (o->sized && q->done < q->cmd.size) {
        uint64_t n;

        if (!budget) {
            return HLRS_STEP_MORE;
        }
        n = hlrs_move_piece(q, MIN(budget, q->cmd.size - q->done), ns, fault);
        if (!n) {
            return HLRS_STEP_FAULT;
        }
        q->done += n;
        budget -= n;
    }
    return hlrs_finish(q, fault) ? HLRS_STEP_DONE : HLRS_STEP_FAULT;
}
