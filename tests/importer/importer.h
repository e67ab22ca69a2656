/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IMPORTER_H
#define IMPORTER_H

#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/iosys-map.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "hlrs_test_importer.h"

/**
 * struct hti_attachment - one importer
 *
 * Whoever works on it holds a reference, so that the reservation object stays;
 * the reference of the file's table is dropped by hti_detach(). The exporter
 * calls back only while @attach is on the list of the dma-buf, which is before
 * that.
 */
struct hti_attachment {
	struct kref refs;
	enum hlrs_test_kind kind;
	unsigned long delay; /* jiffies */
	struct pci_dev *pdev;
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attach;
	struct delayed_work unmap_work;

	/* Protected by the reservation lock: */
	struct sg_table *sgt;
	enum dma_data_direction direction;
	bool gone; /* hti_detach() has begun */
	unsigned long unmap_due; /* jiffies, for a stale mapping */
	struct iosys_map vmap; /* in the address space of the kernel */

	/*
	 * For the state, which must be readable while the exporter holds the
	 * reservation lock for long. Fields of a mapping are written with both.
	 */
	spinlock_t lock;
	bool pinned;
	bool stale;
	u32 segments;
	u32 invalidations;
	ktime_t invalidated;
	u64 unmap_ns;

	/* Protected by @lock, and added to with the reservation lock held. */
	struct list_head fences;
};

extern struct workqueue_struct *hti_wq;

struct hti_attachment *hti_attach(const struct hlrs_test_attach *args);
int hti_map(struct hti_attachment *a, struct hlrs_test_map *args);
int hti_unmap(struct hti_attachment *a);
void hti_state(struct hti_attachment *a, struct hlrs_test_state *args);
void hti_detach(struct hti_attachment *a);
void hti_put(struct hti_attachment *a);

int hti_vmap(struct hti_attachment *a);
int hti_vunmap(struct hti_attachment *a);
int hti_vunmap_locked(struct hti_attachment *a);
ssize_t hti_vmap_copy_locked(struct hti_attachment *a, u64 offset, void *data, size_t len,
			     bool write);
int hti_mmap(struct hti_attachment *a, struct vm_area_struct *vma);

int hti_access(struct hti_attachment *a, const struct hlrs_test_access *args, bool write);

int hti_fence_add(struct hti_attachment *a, const struct hlrs_test_fence *args);
void hti_fences_signal(struct hti_attachment *a);
void hti_fences_wait(struct hti_attachment *a);
u32 hti_fences_pending(struct hti_attachment *a);
void hti_fences_free(struct hti_attachment *a, bool signalled_only);

#endif /* IMPORTER_H */
