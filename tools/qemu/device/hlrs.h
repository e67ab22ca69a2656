/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: state of the device model.
 *
 * A function (PF or VF) owns registers, contexts, queues and counters. The PF
 * also owns the LMEM, the table that gives pieces of it to VFs, and the link.
 * Numbers that the guest can see come from hlrs_hw.h and nowhere else.
 *
 * Everything here runs under the BQL. Register writes never touch the bus:
 * they change state and arm timers. Engines and interrupts run from timers on
 * the virtual clock only, so that a run under -icount is repeatable, and
 * because a guest can aim DMA and MSI writes at any register: nothing that
 * such a write does may pull the rug from under code that is running.
 */

#ifndef HW_MISC_HLRS_H
#define HW_MISC_HLRS_H

#include "hw/pci/pci_device.h"
#include "qemu/queue.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qom/object.h"
#include "hlrs_hw.h"

#define TYPE_HLRS_FN    "hlrs-function"
#define TYPE_HLRS_PF    "hlrs"
#define TYPE_HLRS_VF    "hlrs-vf"

typedef struct HlrsFn HlrsFn;
typedef struct HlrsPF HlrsPF;
typedef struct HlrsVF HlrsVF;

DECLARE_INSTANCE_CHECKER(HlrsFn, HLRS_FN, TYPE_HLRS_FN)
DECLARE_INSTANCE_CHECKER(HlrsPF, HLRS_PF, TYPE_HLRS_PF)
DECLARE_INSTANCE_CHECKER(HlrsVF, HLRS_VF, TYPE_HLRS_VF)

/* Virtual time that resets take. */
#define HLRS_RESET_NS           5000
#define HLRS_Q_RESET_NS         1000
/*
 * A step of an engine takes at least this long, whatever the timing registers
 * say: under -icount time stands still in a timer callback, and a queue that
 * rearms its timer for "now" would never let the guest run again.
 */
#define HLRS_STEP_MIN_NS        64
#define HLRS_STEP_BYTES         (256 * KiB)
#define HLRS_BOUNCE_BYTES       (64 * KiB)

#define HLRS_TLB_ENTRIES        1024

typedef struct HlrsTlbEntry {
    uint64_t tag;               /* first VA of the leaf + its level; or -1 */
    uint64_t pte;
} HlrsTlbEntry;

typedef struct HlrsCtx {
    uint64_t root;
    uint64_t fault_va;
    uint64_t inv_start;
    uint64_t inv_size;
    uint32_t fault_info;
    bool enabled;
    bool faulted;
    HlrsTlbEntry *tlb;          /* allocated when the context is first used */
} HlrsCtx;

typedef enum HlrsPhase {
    HLRS_PHASE_FETCH,           /* between commands */
    HLRS_PHASE_EXEC,            /* moving data, or about to */
    HLRS_PHASE_RETIRE,          /* the last data has moved, time is running */
    HLRS_PHASE_HUNG,
    HLRS_PHASE_RESET,
} HlrsPhase;

typedef struct HlrsQueue {
    HlrsFn *fn;
    QEMUTimer *timer;
    uint64_t ring;
    uint64_t fault_addr;
    uint64_t busy_ns;
    int64_t cmd_start;
    uint64_t done;              /* bytes of the command that are finished */
    struct hlrs_cmd cmd;        /* in host byte order */
    uint32_t order;
    uint32_t ctx;
    uint32_t head;
    uint32_t tail;
    uint32_t vector;
    uint32_t fault_info;
    uint32_t crc;
    uint8_t index;
    HlrsPhase phase;
    bool enabled;
    bool priv;
    bool stopped;
    bool chain;                 /* CRC32C whose initial value is not read yet */
} HlrsQueue;

/* In the order of the registers from HLRS_REG_CNT_BUS_READ on. */
typedef enum HlrsCounter {
    HLRS_CNT_BUS_READ,
    HLRS_CNT_BUS_WRITE,
    HLRS_CNT_LMEM_READ,
    HLRS_CNT_LMEM_WRITE,
    HLRS_CNT_LINK_READ,
    HLRS_CNT_LINK_WRITE,
    HLRS_CNT_TLB_HIT,
    HLRS_CNT_TLB_MISS,
    HLRS_CNT_TLB_INVALIDATE,
    HLRS_CNT_QUOTA_VIOLATION,
    HLRS_CNT_COMMANDS,
    HLRS_CNT_FAULTS,
    HLRS_CNT_IRQS,
    HLRS_CNT_IRQS_LOST,
    HLRS_NR_COUNTERS,
} HlrsCounter;

struct HlrsFn {
    PCIDevice parent_obj;

    HlrsPF *pf;                 /* itself on the PF */
    unsigned number;            /* 0 on the PF, VF number from 1 */

    MemoryRegion regs;
    MemoryRegion bar_lmem;      /* container: hole below, memory above */
    MemoryRegion hole;
    MemoryRegion bar_msix;
    uint8_t *msix_after;        /* what late accesses to bar_msix reach */

    QEMUTimer *reset_timer;
    QEMUTimer *irq_timer;

    uint32_t scratch;
    uint32_t reset_count;
    uint32_t time_cmd;
    uint32_t time_lmem;
    uint32_t time_bus;
    uint32_t time_link;
    uint32_t event_status;
    uint32_t event_enable;
    uint32_t queue_irq;
    uint32_t irq_pending;       /* vectors to be sent by irq_timer */
    uint32_t read_latch;        /* high half of the last 64-bit register read */
    uint32_t read_latch_addr;
    uint32_t write_latch;       /* low half of a 64-bit write-only register */
    uint64_t inject_addr;
    bool resetting;
    bool lmem_error;
    bool lose_irq;
    /*
     * Unrealized: only memory is left. A processor that has found a region
     * before still accesses it, after it has waited for the one that has
     * removed the device.
     */
    bool gone;

    uint64_t counters[HLRS_NR_COUNTERS];
    HlrsCtx ctx[HLRS_NR_CTX];
    HlrsQueue queue[HLRS_NR_QUEUES];
};

/* What the PF has committed for one VF. */
typedef struct HlrsQuota {
    uint32_t count;
    uint32_t *granule;          /* number of the LMEM granule, by VF granule */
} HlrsQuota;

struct HlrsPF {
    HlrsFn fn;

    /* Properties. */
    uint64_t lmem_size;
    uint64_t aperture_size;
    uint64_t uid;
    uint32_t total_vfs;
    char *link;
    bool inject;

    MemoryRegion lmem;
    MemoryRegion lmem_window;   /* what BAR2 shows of it */
    AddressSpace lmem_as;       /* for engines: keeps track of dirty pages */

    unsigned long *poison;      /* one bit a KiB */
    uint64_t nr_poison;

    uint32_t nr_granules;
    uint8_t *granule_owner;     /* VF number, 0 if none */
    HlrsQuota quota[HLRS_MAX_VFS + 1];
    uint64_t *staged;
    uint32_t lmtt_vf;
    uint32_t lmtt_index;
    uint32_t lmtt_status;
    uint64_t vf_flr;
    bool config_write;          /* the guest is writing the PF's config space */

    HlrsPF *peer;               /* other end of the link, NULL while down */
    QLIST_ENTRY(HlrsPF) next;

    uint8_t *bounce;            /* HLRS_BOUNCE_BYTES for the running engine */
};

struct HlrsVF {
    HlrsFn fn;
    GPtrArray *windows;         /* MemoryRegion: aliases of granted LMEM */
};

static inline PCIDevice *hlrs_pci(HlrsFn *fn)
{
    return &fn->parent_obj;
}

static inline bool hlrs_is_vf(const HlrsFn *fn)
{
    return fn->number != 0;
}

static inline void hlrs_count(HlrsFn *fn, HlrsCounter counter, uint64_t n)
{
    fn->counters[counter] += n;
}

/* A place that an engine reads or writes, after all translation. */
typedef enum HlrsPlace {
    HLRS_PLACE_LMEM,            /* addr is an offset in the PF's LMEM */
    HLRS_PLACE_BUS,
    HLRS_PLACE_LINK,
    HLRS_PLACE_NULL,
} HlrsPlace;

typedef struct HlrsSpan {
    HlrsPlace place;
    uint64_t addr;
    uint64_t len;               /* contiguous from addr on, at most as asked */
} HlrsSpan;

typedef struct HlrsFault {
    uint64_t addr;
    uint32_t reason;            /* HLRS_FAULT_, 0 for none */
    uint32_t level;
    int ctx;                    /* context that stops with the queue, or -1 */
    bool write;
} HlrsFault;

/* fn.c: what PF and VF have in common */
void hlrs_fn_realize(HlrsFn *fn, HlrsPF *pf, unsigned number, Error **errp);
void hlrs_fn_exit(HlrsFn *fn);

/* vf.c */
HlrsFn *hlrs_vf_get(HlrsPF *pf, unsigned number);
void hlrs_vf_sync_decode(HlrsPF *pf);

/* regs.c */
extern const MemoryRegionOps hlrs_regs_ops;

/* regs_queue.c */
uint32_t hlrs_ctx_read(HlrsFn *fn, unsigned n, unsigned offset);
void hlrs_ctx_write(HlrsFn *fn, unsigned n, unsigned offset, uint32_t val);
uint32_t hlrs_q_read(HlrsQueue *q, unsigned offset);
void hlrs_q_write(HlrsQueue *q, unsigned offset, uint32_t val);

/* irq.c */
void hlrs_irq_init(HlrsFn *fn);
void hlrs_irq_exit(HlrsFn *fn);
void hlrs_irq_raise(HlrsFn *fn, unsigned vector);
void hlrs_event(HlrsFn *fn, uint32_t events);
void hlrs_event_enable(HlrsFn *fn, uint32_t events);

/* reset.c */
void hlrs_reset_init(HlrsFn *fn);
void hlrs_reset_exit(HlrsFn *fn);
void hlrs_reset_function(HlrsFn *fn);
void hlrs_reset_all(HlrsPF *pf);
void hlrs_reset_power_on(HlrsFn *fn);
void hlrs_reset_engines(HlrsFn *fn);

/* lmem.c */
bool hlrs_lmem_init(HlrsPF *pf, Error **errp);
void hlrs_lmem_exit(HlrsPF *pf);
void hlrs_lmem_finalize(HlrsPF *pf);
extern const MemoryRegionOps hlrs_hole_ops;
MemTxResult hlrs_lmem_rw(HlrsPF *pf, uint64_t addr, void *buf, uint64_t len,
                         bool write);
bool hlrs_lmem_poisoned(HlrsPF *pf, uint64_t addr, uint64_t len);
void hlrs_lmem_inject(HlrsFn *fn);
void hlrs_lmem_heal(HlrsFn *fn);

/* lmtt.c */
void hlrs_lmtt_init(HlrsPF *pf);
void hlrs_lmtt_finalize(HlrsPF *pf);
void hlrs_lmtt_reset(HlrsPF *pf);
uint64_t hlrs_lmtt_size(HlrsFn *fn);
bool hlrs_lmtt_translate(HlrsFn *fn, uint64_t addr, uint64_t *lmem,
                         uint64_t *len);
void hlrs_lmtt_select(HlrsPF *pf, uint32_t vf);
void hlrs_lmtt_commit(HlrsPF *pf, uint32_t count);
uint64_t hlrs_lmtt_entry(HlrsPF *pf);
void hlrs_lmtt_set_entry(HlrsPF *pf, uint64_t val);
void hlrs_lmtt_unmap(HlrsVF *vf);
void hlrs_lmtt_map(HlrsVF *vf);

/* abort.c */
void hlrs_abort_install(PCIBus *bus);

/* bus.c */
MemTxResult hlrs_bus_rw(HlrsFn *fn, uint64_t addr, void *buf, uint64_t len,
                        bool write);

/* mmu.c */
bool hlrs_mmu_translate(HlrsFn *fn, uint32_t ctx, uint64_t va, bool write,
                        HlrsSpan *span, HlrsFault *fault);
bool hlrs_mmu_usable(HlrsFn *fn, uint32_t ctx);
void hlrs_mmu_invalidate(HlrsFn *fn, unsigned ctx, uint32_t what);
void hlrs_mmu_prepare(HlrsCtx *ctx);
void hlrs_mmu_reset(HlrsFn *fn);
void hlrs_mmu_finalize(HlrsFn *fn);

/* access.c: resolving addresses and moving bytes */
bool hlrs_resolve(HlrsFn *fn, unsigned space, uint32_t ctx, uint64_t addr,
                  uint64_t len, bool write, HlrsSpan *span, HlrsFault *fault);
bool hlrs_span_rw(HlrsFn *fn, const HlrsSpan *span, void *buf, bool write,
                  HlrsFault *fault);
uint64_t hlrs_span_cost(HlrsFn *fn, const HlrsSpan *span);
bool hlrs_read_operand(HlrsFn *fn, unsigned space, uint32_t ctx, uint64_t addr,
                       void *buf, uint64_t len, HlrsFault *fault);
bool hlrs_write_result(HlrsFn *fn, unsigned space, uint32_t ctx, uint64_t addr,
                       const void *buf, uint64_t len, HlrsFault *fault);

/* queue.c */
void hlrs_queue_init(HlrsFn *fn, unsigned index);
void hlrs_queue_exit(HlrsQueue *q);
void hlrs_queue_kick(HlrsQueue *q);
void hlrs_queue_reset(HlrsQueue *q);
void hlrs_queue_clear(HlrsQueue *q);
uint64_t hlrs_queue_busy_ns(const HlrsQueue *q);
static inline bool hlrs_queue_is_nic(const HlrsQueue *q)
{
    return q->index >= HLRS_NR_COPY_QUEUES;
}

/* crc32c.c */
uint32_t hlrs_crc32c(uint32_t crc, const uint8_t *buf, uint64_t len);

/* engine.c */
typedef enum HlrsStep {
    HLRS_STEP_MORE,
    HLRS_STEP_DONE,
    HLRS_STEP_FAULT,
} HlrsStep;

bool hlrs_cmd_check(HlrsQueue *q, uint64_t where, HlrsFault *fault);
HlrsStep hlrs_cmd_step(HlrsQueue *q, uint64_t *ns, HlrsFault *fault);

/* link.c */
void hlrs_link_join(HlrsPF *pf);
void hlrs_link_leave(HlrsPF *pf);

#endif /* HW_MISC_HLRS_H */
