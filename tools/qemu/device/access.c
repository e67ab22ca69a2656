/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: from the operand of a command to bytes.
 *
 * An operand is resolved piece by piece to spans, each contiguous in one
 * place. Resolving checks rights and ranges; moving checks what only shows
 * then: refused bus requests, poison, a link that is down.
 */

#include "qemu/osdep.h"
#include "hlrs.h"

static bool hlrs_fault(HlrsFault *fault, uint32_t reason)
{
    fault->reason = reason;
    return false;
}

static bool hlrs_resolve_lmem(HlrsFn *fn, HlrsSpan *span, HlrsFault *fault)
{
    uint64_t lmem, len;

    if (!hlrs_lmtt_translate(fn, span->addr, &lmem, &len)) {
        if (hlrs_is_vf(fn)) {
            hlrs_count(fn, HLRS_CNT_QUOTA_VIOLATION, 1);
        }
        return hlrs_fault(fault, HLRS_FAULT_LMEM_RANGE);
    }
    span->addr = lmem;
    span->len = MIN(span->len, len);
    return true;
}

static bool hlrs_resolve_link(HlrsFn *fn, HlrsSpan *span, HlrsFault *fault)
{
    HlrsPF *peer = fn->pf->peer;

    /* The port is the PF's: peer LMEM is not divided among VFs. */
    if (hlrs_is_vf(fn) || !peer) {
        return hlrs_fault(fault, HLRS_FAULT_LINK_DOWN);
    }
    if (span->addr >= peer->lmem_size) {
        return hlrs_fault(fault, HLRS_FAULT_LMEM_RANGE);
    }
    span->len = MIN(span->len, peer->lmem_size - span->addr);
    return true;
}

bool hlrs_resolve(HlrsFn *fn, unsigned space, uint32_t ctx, uint64_t addr,
                  uint64_t len, bool write, HlrsSpan *span, HlrsFault *fault)
{
    *fault = (HlrsFault) { .addr = addr, .ctx = -1, .write = write };
    *span = (HlrsSpan) { .addr = addr, .len = len };

    switch (space) {
    case HLRS_SPACE_LMEM:
        span->place = HLRS_PLACE_LMEM;
        break;
    case HLRS_SPACE_BUS:
        span->place = HLRS_PLACE_BUS;
        break;
    case HLRS_SPACE_LINK:
        span->place = HLRS_PLACE_LINK;
        break;
    default:
        if (!hlrs_mmu_translate(fn, ctx, addr, write, span, fault)) {
            return false;
        }
        span->len = MIN(span->len, len);
        break;
    }

    switch (span->place) {
    case HLRS_PLACE_LMEM:
        return hlrs_resolve_lmem(fn, span, fault);
    case HLRS_PLACE_LINK:
        return hlrs_resolve_link(fn, span, fault);
    default:
        return true;
    }
}

static void hlrs_count_bytes(HlrsFn *fn, const HlrsSpan *span, bool write)
{
    static const HlrsCounter counter[] = {
        [HLRS_PLACE_LMEM] = HLRS_CNT_LMEM_READ,
        [HLRS_PLACE_BUS] = HLRS_CNT_BUS_READ,
        [HLRS_PLACE_LINK] = HLRS_CNT_LINK_READ,
    };

    if (span->place != HLRS_PLACE_NULL) {
        hlrs_count(fn, counter[span->place] + write, span->len);
    }
}

/* All or nothing as far as faults go: a span never crosses what can fault. */
bool hlrs_span_rw(HlrsFn *fn, const HlrsSpan *span, void *buf, bool write,
                  HlrsFault *fault)
{
    HlrsPF *target = fn->pf;
    MemTxResult res = MEMTX_OK;

    switch (span->place) {
    case HLRS_PLACE_NULL:
        if (!write) {
            memset(buf, 0, span->len);
        }
        break;
    case HLRS_PLACE_BUS:
        res = hlrs_bus_rw(fn, span->addr, buf, span->len, write);
        break;
    case HLRS_PLACE_LINK:
        target = fn->pf->peer;
        if (!target) {
            return hlrs_fault(fault, HLRS_FAULT_LINK_DOWN);
        }
        /* fall through */
    case HLRS_PLACE_LMEM:
        if (!write && hlrs_lmem_poisoned(target, span->addr, span->len)) {
            return hlrs_fault(fault, HLRS_FAULT_LMEM_ERROR);
        }
        res = hlrs_lmem_rw(target, span->addr, buf, span->len, write);
        break;
    }
    if (res != MEMTX_OK) {
        return hlrs_fault(fault, HLRS_FAULT_BUS);
    }
    hlrs_count_bytes(fn, span, write);
    return true;
}

uint64_t hlrs_span_cost(HlrsFn *fn, const HlrsSpan *span)
{
    uint64_t rate = 0;

    switch (span->place) {
    case HLRS_PLACE_LMEM:
        rate = fn->time_lmem;
        break;
    case HLRS_PLACE_BUS:
        rate = fn->time_bus;
        break;
    case HLRS_PLACE_LINK:
        rate = fn->time_link;
        break;
    case HLRS_PLACE_NULL:
        break;
    }
    /* At most 256 KiB times a second a KiB: no overflow. */
    return DIV_ROUND_UP(span->len * rate, 1024);
}

/* A few bytes, which may nevertheless lie across a page border. */
static bool hlrs_operand_rw(HlrsFn *fn, unsigned space, uint32_t ctx,
                            uint64_t addr, uint8_t *buf, uint64_t len,
                            bool write, HlrsFault *fault)
{
    while (len) {
        HlrsSpan span;

        if (!hlrs_resolve(fn, space, ctx, addr, len, write, &span, fault) ||
            !hlrs_span_rw(fn, &span, buf, write, fault)) {
            return false;
        }
        addr += span.len;
        buf += span.len;
        len -= span.len;
    }
    return true;
}

bool hlrs_read_operand(HlrsFn *fn, unsigned space, uint32_t ctx, uint64_t addr,
                       void *buf, uint64_t len, HlrsFault *fault)
{
    return hlrs_operand_rw(fn, space, ctx, addr, buf, len, false, fault);
}

bool hlrs_write_result(HlrsFn *fn, unsigned space, uint32_t ctx, uint64_t addr,
                       const void *buf, uint64_t len, HlrsFault *fault)
{
    return hlrs_operand_rw(fn, space, ctx, addr, (void *)buf, len, true,
                           fault);
}
