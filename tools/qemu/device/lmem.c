/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: local memory, its windows in BAR2, and poison.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bitmap.h"
#include "qemu/log.h"
#include "hlrs.h"

/* What a BAR2 shows where it has no memory behind it. */
static uint64_t hlrs_hole_read(void *opaque, hwaddr addr, unsigned size)
{
    HlrsFn *fn = opaque;

    if (hlrs_is_vf(fn)) {
        hlrs_count(fn, HLRS_CNT_QUOTA_VIOLATION, 1);
    }
    return MAKE_64BIT_MASK(0, size * 8);
}

static void hlrs_hole_write(void *opaque, hwaddr addr, uint64_t val,
                            unsigned size)
{
    HlrsFn *fn = opaque;

    if (hlrs_is_vf(fn)) {
        hlrs_count(fn, HLRS_CNT_QUOTA_VIOLATION, 1);
    }
}

const MemoryRegionOps hlrs_hole_ops = {
    .read = hlrs_hole_read,
    .write = hlrs_hole_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
    .impl = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
};

bool hlrs_lmem_init(HlrsPF *pf, Error **errp)
{
    if (!memory_region_init_ram_nomigrate(&pf->lmem, OBJECT(pf), "hlrs-lmem",
                                          pf->lmem_size, errp)) {
        return false;
    }
    memory_region_init_alias(&pf->lmem_window, OBJECT(pf), "hlrs-lmem-window",
                             &pf->lmem, 0,
                             MIN(pf->lmem_size, pf->aperture_size));
    address_space_init(&pf->lmem_as, &pf->lmem, "hlrs-lmem");
    pf->poison = bitmap_new(pf->lmem_size / HLRS_INJECT_POISON_SIZE);
    pf->bounce = g_malloc(HLRS_BOUNCE_BYTES);
    return true;
}

void hlrs_lmem_exit(HlrsPF *pf)
{
    address_space_destroy(&pf->lmem_as);
}

void hlrs_lmem_finalize(HlrsPF *pf)
{
    g_free(pf->poison);
    g_free(pf->bounce);
}

MemTxResult hlrs_lmem_rw(HlrsPF *pf, uint64_t addr, void *buf, uint64_t len,
                         bool write)
{
    return address_space_rw(&pf->lmem_as, addr, MEMTXATTRS_UNSPECIFIED, buf,
                            len, write);
}

bool hlrs_lmem_poisoned(HlrsPF *pf, uint64_t addr, uint64_t len)
{
    uint64_t first = addr / HLRS_INJECT_POISON_SIZE;
    uint64_t end;

    if (!pf->nr_poison || !len) {
        return false;
    }
    end = (addr + len - 1) / HLRS_INJECT_POISON_SIZE + 1;
    return find_next_bit(pf->poison, end, first) < end;
}

/* A VF reaches only the LMEM that it was given, here as everywhere. */
void hlrs_lmem_inject(HlrsFn *fn)
{
    HlrsPF *pf = fn->pf;
    uint64_t addr, len;

    if (!hlrs_lmtt_translate(fn, fn->inject_addr, &addr, &len)) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "hlrs: poison at 0x%" PRIx64 " is outside of LMEM\n",
                      fn->inject_addr);
        return;
    }
    if (!test_and_set_bit(addr / HLRS_INJECT_POISON_SIZE, pf->poison)) {
        pf->nr_poison++;
    }
}

void hlrs_lmem_heal(HlrsFn *fn)
{
    HlrsPF *pf = fn->pf;
    uint64_t size = hlrs_is_vf(fn) ? hlrs_lmtt_size(fn) : pf->lmem_size;
    const uint64_t per_granule = HLRS_LMTT_GRANULE / HLRS_INJECT_POISON_SIZE;

    if (!pf->nr_poison) {
        return;
    }
    for (uint64_t at = 0; at < size; at += HLRS_LMTT_GRANULE) {
        uint64_t addr, len, bit;

        if (hlrs_lmtt_translate(fn, at, &addr, &len)) {
            bit = addr / HLRS_INJECT_POISON_SIZE;
            pf->nr_poison -= bitmap_count_one_with_offset(pf->poison, bit,
                                                          per_granule);
            bitmap_clear(pf->poison, bit, per_granule);
        }
    }
}
