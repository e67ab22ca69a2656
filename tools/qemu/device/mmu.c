/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: page tables of contexts and the cache of translations.
 *
 * A cached leaf is used until the driver invalidates it, whatever happened to
 * the table, the root or the enable bit since: a driver that forgets to
 * invalidate must be caught. Only reset drops translations by itself. What the
 * LMTT says is not cached; the PF must be able to take memory away at once.
 */

#include "qemu/osdep.h"
#include "hlrs.h"

#define HLRS_PAGE_SHIFT         12
#define HLRS_LEVEL_BITS         9
#define HLRS_ROOT_LEVEL         3
#define HLRS_MAX_LEAF_LEVEL     2
#define HLRS_TLB_EMPTY          UINT64_MAX

/* What may be set in an entry that points to a table. */
#define HLRS_PTE_TABLE_MASK     (HLRS_PTE_V | HLRS_PTE_DM | HLRS_PTE_ADDR_MASK)

static uint64_t hlrs_level_size(unsigned level)
{
    return 1ull << (HLRS_PAGE_SHIFT + HLRS_LEVEL_BITS * level);
}

static HlrsTlbEntry *hlrs_tlb_slot(HlrsCtx *ctx, uint64_t va, unsigned level)
{
    uint64_t page = va >> (HLRS_PAGE_SHIFT + HLRS_LEVEL_BITS * level);

    /* Leaves of different sizes at one address use different slots. */
    return &ctx->tlb[(page + level * 341) % HLRS_TLB_ENTRIES];
}

static uint64_t hlrs_tlb_tag(uint64_t va, unsigned level)
{
    return (va & ~(hlrs_level_size(level) - 1)) | level;
}

static bool hlrs_tlb_lookup(HlrsFn *fn, HlrsCtx *ctx, uint64_t va,
                            unsigned *level, uint64_t *pte)
{
    for (unsigned l = 0; l <= HLRS_MAX_LEAF_LEVEL; l++) {
        HlrsTlbEntry *e = hlrs_tlb_slot(ctx, va, l);

        if (e->tag == hlrs_tlb_tag(va, l)) {
            hlrs_count(fn, HLRS_CNT_TLB_HIT, 1);
            *level = l;
            *pte = e->pte;
            return true;
        }
    }
    hlrs_count(fn, HLRS_CNT_TLB_MISS, 1);
    return false;
}

/* Reads one entry of a table; 0, or the reason why it could not be read. */
static uint32_t hlrs_read_entry(HlrsFn *fn, uint64_t table, unsigned index,
                                uint64_t *entry)
{
    uint64_t addr = (table & HLRS_PTE_ADDR_MASK) + index * sizeof(*entry);
    uint64_t lmem, len;
    MemTxResult res;

    if (!(table & HLRS_PTE_DM)) {
        res = hlrs_bus_rw(fn, addr, entry, sizeof(*entry), false);
    } else if (!hlrs_lmtt_translate(fn, addr, &lmem, &len)) {
        if (hlrs_is_vf(fn)) {
            hlrs_count(fn, HLRS_CNT_QUOTA_VIOLATION, 1);
        }
        return HLRS_FAULT_TABLE;
    } else if (hlrs_lmem_poisoned(fn->pf, lmem, sizeof(*entry))) {
        return HLRS_FAULT_LMEM_ERROR;
    } else {
        res = hlrs_lmem_rw(fn->pf, lmem, entry, sizeof(*entry), false);
    }
    if (res != MEMTX_OK) {
        return HLRS_FAULT_TABLE;
    }
    *entry = le64_to_cpu(*entry);
    return 0;
}

/* Whether a leaf is well formed, at a level where leaves may be. */
static bool hlrs_leaf_good(uint64_t pte, unsigned level)
{
    uint64_t kind = pte & (HLRS_PTE_DM | HLRS_PTE_LINK | HLRS_PTE_NULL);

    return level <= HLRS_MAX_LEAF_LEVEL && !(kind & (kind - 1)) &&
           !(pte & HLRS_PTE_ADDR_MASK & (hlrs_level_size(level) - 1));
}

/* 0 with *level and *pte of the leaf, or a fault reason with *level. */
static uint32_t hlrs_walk(HlrsFn *fn, HlrsCtx *ctx, uint64_t va,
                          unsigned *level, uint64_t *pte)
{
    uint64_t table = ctx->root;

    for (unsigned l = HLRS_ROOT_LEVEL; ; l--) {
        unsigned index = (va / hlrs_level_size(l)) &
                         ((1 << HLRS_LEVEL_BITS) - 1);
        uint64_t entry;
        uint32_t reason = hlrs_read_entry(fn, table, index, &entry);

        *level = l;
        if (reason) {
            return reason;
        }
        if (!(entry & HLRS_PTE_V)) {
            return HLRS_FAULT_NOT_PRESENT;
        }
        if (entry & HLRS_PTE_RESERVED_MASK) {
            return HLRS_FAULT_BAD_ENTRY;
        }
        if (entry & HLRS_PTE_LEAF) {
            *pte = entry;
            return hlrs_leaf_good(entry, l) ? 0 : HLRS_FAULT_BAD_ENTRY;
        }
        if (l == 0 || (entry & ~HLRS_PTE_TABLE_MASK)) {
            return HLRS_FAULT_BAD_ENTRY;
        }
        table = entry;
    }
}

static void hlrs_mmu_place(uint64_t pte, unsigned level, uint64_t va,
                           HlrsSpan *span)
{
    uint64_t offset = va & (hlrs_level_size(level) - 1);

    span->addr = (pte & HLRS_PTE_ADDR_MASK) + offset;
    span->len = hlrs_level_size(level) - offset;
    if (pte & HLRS_PTE_NULL) {
        span->place = HLRS_PLACE_NULL;
    } else if (pte & HLRS_PTE_LINK) {
        span->place = HLRS_PLACE_LINK;
    } else {
        span->place = pte & HLRS_PTE_DM ? HLRS_PLACE_LMEM : HLRS_PLACE_BUS;
    }
}

/* Whether queues may use the context. */
bool hlrs_mmu_usable(HlrsFn *fn, uint32_t n)
{
    return n < HLRS_NR_CTX && fn->ctx[n].enabled && !fn->ctx[n].faulted;
}

/* A device-local result is not yet through the LMTT. */
bool hlrs_mmu_translate(HlrsFn *fn, uint32_t n, uint64_t va, bool write,
                        HlrsSpan *span, HlrsFault *fault)
{
    unsigned level = 0;
    HlrsCtx *ctx;
    uint64_t pte;

    if (!hlrs_mmu_usable(fn, n)) {
        fault->reason = HLRS_FAULT_CTX_DISABLED;
        return false;
    }
    ctx = &fn->ctx[n];
    fault->ctx = n;
    if (va >> HLRS_VA_BITS) {
        fault->reason = HLRS_FAULT_VA_RANGE;
        return false;
    }
    if (!hlrs_tlb_lookup(fn, ctx, va, &level, &pte)) {
        fault->reason = hlrs_walk(fn, ctx, va, &level, &pte);
        fault->level = level;
        if (fault->reason) {
            return false;
        }
        *hlrs_tlb_slot(ctx, va, level) = (HlrsTlbEntry) {
            .tag = hlrs_tlb_tag(va, level),
            .pte = pte,
        };
    }
    fault->level = level;
    if (write && !(pte & HLRS_PTE_W)) {
        fault->reason = HLRS_FAULT_READ_ONLY;
        return false;
    }
    hlrs_mmu_place(pte, level, va, span);
    return true;
}

static void hlrs_tlb_drop(HlrsCtx *ctx, uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < HLRS_TLB_ENTRIES; i++) {
        HlrsTlbEntry *e = &ctx->tlb[i];
        unsigned level = e->tag & (hlrs_level_size(0) - 1);
        uint64_t first = e->tag & ~(hlrs_level_size(0) - 1);

        if (e->tag != HLRS_TLB_EMPTY && first < end &&
            first + hlrs_level_size(level) > start) {
            e->tag = HLRS_TLB_EMPTY;
        }
    }
}

void hlrs_mmu_invalidate(HlrsFn *fn, unsigned n, uint32_t what)
{
    HlrsCtx *ctx = &fn->ctx[n];
    uint64_t start = 0;
    uint64_t end = UINT64_MAX;

    if (what == HLRS_CTX_INVALIDATE_RANGE) {
        start = ctx->inv_start;
        end = ctx->inv_size > UINT64_MAX - start ? UINT64_MAX
                                                 : start + ctx->inv_size;
    } else if (what != HLRS_CTX_INVALIDATE_ALL) {
        return;
    }
    hlrs_count(fn, HLRS_CNT_TLB_INVALIDATE, 1);
    if (ctx->tlb && start < end) {
        hlrs_tlb_drop(ctx, start, end);
    }
}

/* Called when a context is enabled: most of the 32 never are. */
void hlrs_mmu_prepare(HlrsCtx *ctx)
{
    if (!ctx->tlb) {
        ctx->tlb = g_new(HlrsTlbEntry, HLRS_TLB_ENTRIES);
        memset(ctx->tlb, 0xff, HLRS_TLB_ENTRIES * sizeof(*ctx->tlb));
    }
}

void hlrs_mmu_reset(HlrsFn *fn)
{
    for (unsigned n = 0; n < HLRS_NR_CTX; n++) {
        HlrsCtx *ctx = &fn->ctx[n];

        g_free(ctx->tlb);
        memset(ctx, 0, sizeof(*ctx));
    }
}

void hlrs_mmu_finalize(HlrsFn *fn)
{
    hlrs_mmu_reset(fn);
}
