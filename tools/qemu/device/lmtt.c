/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: the LMEM translation table (LMTT), by which the PF gives
 * granules of LMEM to VFs.
 *
 * The PF stages a whole table and commits it. A commit is checked first and
 * then takes effect for engines and for the VF's BAR2 in one step. In the BAR
 * each run of contiguous granules is an alias of LMEM, so that the CPU and
 * other devices reach it as RAM; what no alias covers is the hole below.
 */

#include "qemu/osdep.h"
#include "hlrs.h"
#include "trace.h"

void hlrs_lmtt_init(HlrsPF *pf)
{
    pf->nr_granules = pf->lmem_size / HLRS_LMTT_GRANULE;
    pf->granule_owner = g_new0(uint8_t, pf->nr_granules);
    pf->staged = g_new0(uint64_t, pf->nr_granules);
}

void hlrs_lmtt_finalize(HlrsPF *pf)
{
    for (unsigned n = 0; n <= HLRS_MAX_VFS; n++) {
        g_free(pf->quota[n].granule);
    }
    g_free(pf->granule_owner);
    g_free(pf->staged);
}

/* Bytes of LMEM that the function may address. */
uint64_t hlrs_lmtt_size(HlrsFn *fn)
{
    HlrsPF *pf = fn->pf;

    if (!hlrs_is_vf(fn)) {
        return pf->lmem_size;
    }
    return (uint64_t)pf->quota[fn->number].count * HLRS_LMTT_GRANULE;
}

/*
 * Translates a device-local address. *len is set to what is contiguous from
 * there on. False if the address is outside of what the function has.
 */
bool hlrs_lmtt_translate(HlrsFn *fn, uint64_t addr, uint64_t *lmem,
                         uint64_t *len)
{
    HlrsQuota *quota = &fn->pf->quota[fn->number];
    uint64_t offset = addr % HLRS_LMTT_GRANULE;

    if (addr >= hlrs_lmtt_size(fn)) {
        return false;
    }
    if (!hlrs_is_vf(fn)) {
        *lmem = addr;
        *len = fn->pf->lmem_size - addr;
        return true;
    }
    *lmem = (uint64_t)quota->granule[addr >> HLRS_LMTT_GRANULE_SHIFT]
            << HLRS_LMTT_GRANULE_SHIFT;
    *lmem += offset;
    *len = HLRS_LMTT_GRANULE - offset;
    return true;
}

void hlrs_lmtt_unmap(HlrsVF *vf)
{
    memory_region_transaction_begin();
    for (unsigned i = 0; i < vf->windows->len; i++) {
        MemoryRegion *mr = g_ptr_array_index(vf->windows, i);

        memory_region_del_subregion(&vf->fn.bar_lmem, mr);
        object_unparent(OBJECT(mr));
        g_free(mr);
    }
    g_ptr_array_set_size(vf->windows, 0);
    memory_region_transaction_commit();
}

void hlrs_lmtt_map(HlrsVF *vf)
{
    HlrsPF *pf = vf->fn.pf;
    HlrsQuota *quota = &pf->quota[vf->fn.number];
    uint64_t limit = MIN(hlrs_lmtt_size(&vf->fn), pf->aperture_size);
    uint64_t at = 0;

    memory_region_transaction_begin();
    hlrs_lmtt_unmap(vf);
    while (at < limit) {
        uint32_t first = at >> HLRS_LMTT_GRANULE_SHIFT;
        uint32_t n = 1;
        MemoryRegion *mr = g_new0(MemoryRegion, 1);
        uint64_t size;

        while (first + n < quota->count &&
               quota->granule[first + n] == quota->granule[first] + n) {
            n++;
        }
        size = MIN((uint64_t)n * HLRS_LMTT_GRANULE, limit - at);
        memory_region_init_alias(mr, OBJECT(vf), "hlrs-granules", &pf->lmem,
            (uint64_t)quota->granule[first] * HLRS_LMTT_GRANULE, size);
        memory_region_add_subregion(&vf->fn.bar_lmem, at, mr);
        g_ptr_array_add(vf->windows, mr);
        at += size;
    }
    memory_region_transaction_commit();
}

static HlrsVF *hlrs_lmtt_vf(HlrsPF *pf, unsigned number)
{
    PCIDevice **vfs = hlrs_pci(&pf->fn)->exp.sriov_pf.vf;

    return vfs ? HLRS_VF(vfs[number - 1]) : NULL;
}

static void hlrs_lmtt_apply(HlrsPF *pf, unsigned number, uint32_t count)
{
    HlrsQuota *quota = &pf->quota[number];
    HlrsVF *vf = hlrs_lmtt_vf(pf, number);

    for (uint32_t i = 0; i < quota->count; i++) {
        pf->granule_owner[quota->granule[i]] = 0;
    }
    quota->granule = g_renew(uint32_t, quota->granule, count);
    quota->count = count;
    for (uint32_t i = 0; i < count; i++) {
        quota->granule[i] = (pf->staged[i] & HLRS_LMTT_ADDR_MASK) >>
                            HLRS_LMTT_GRANULE_SHIFT;
        pf->granule_owner[quota->granule[i]] = number;
    }
    if (vf && !vf->fn.gone) {
        hlrs_lmtt_map(vf);
        hlrs_event(&vf->fn, HLRS_EVENT_QUOTA);
    }
}

static bool hlrs_lmtt_check(HlrsPF *pf, uint32_t count)
{
    g_autofree uint8_t *seen = g_new0(uint8_t, pf->nr_granules);

    if (!pf->lmtt_vf || pf->lmtt_vf > pf->total_vfs ||
        count > pf->nr_granules) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t entry = pf->staged[i];
        uint64_t granule = (entry & HLRS_LMTT_ADDR_MASK) >>
                           HLRS_LMTT_GRANULE_SHIFT;

        if (!(entry & HLRS_LMTT_VALID) ||
            (entry & ~(HLRS_LMTT_VALID | HLRS_LMTT_ADDR_MASK)) ||
            granule >= pf->nr_granules || seen[granule] ||
            (pf->granule_owner[granule] &&
             pf->granule_owner[granule] != pf->lmtt_vf)) {
            return false;
        }
        seen[granule] = 1;
    }
    return true;
}

void hlrs_lmtt_commit(HlrsPF *pf, uint32_t count)
{
    bool good = hlrs_lmtt_check(pf, count);

    trace_hlrs_lmtt(hlrs_pci(&pf->fn)->name, pf->lmtt_vf, count, good);
    pf->lmtt_status = good ? 0 : HLRS_LMTT_STATUS_REJECTED;
    if (good) {
        hlrs_lmtt_apply(pf, pf->lmtt_vf, count);
    }
}

/* Starts staging from what is committed, so that software can read it back. */
void hlrs_lmtt_select(HlrsPF *pf, uint32_t vf)
{
    HlrsQuota *quota = &pf->quota[MIN(vf, HLRS_MAX_VFS)];

    pf->lmtt_vf = vf;
    pf->lmtt_index = 0;
    memset(pf->staged, 0, pf->nr_granules * sizeof(pf->staged[0]));
    if (vf && vf <= pf->total_vfs) {
        for (uint32_t i = 0; i < quota->count; i++) {
            pf->staged[i] = HLRS_LMTT_VALID |
                (uint64_t)quota->granule[i] << HLRS_LMTT_GRANULE_SHIFT;
        }
    }
}

uint64_t hlrs_lmtt_entry(HlrsPF *pf)
{
    return pf->lmtt_index < pf->nr_granules ? pf->staged[pf->lmtt_index] : 0;
}

void hlrs_lmtt_set_entry(HlrsPF *pf, uint64_t val)
{
    if (pf->lmtt_index < pf->nr_granules) {
        pf->staged[pf->lmtt_index++] = val;
    }
}

void hlrs_lmtt_reset(HlrsPF *pf)
{
    hlrs_lmtt_select(pf, 0);
    pf->lmtt_status = 0;
    for (unsigned n = 1; n <= pf->total_vfs; n++) {
        if (pf->quota[n].count) {
            hlrs_lmtt_apply(pf, n, 0);
        }
    }
}
