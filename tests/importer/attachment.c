// SPDX-License-Identifier: GPL-2.0
/*
 * An importer's life: attach, map, invalidate, unmap, detach.
 *
 * The reservation lock of the buffer is taken before everything else here. The
 * exporter holds it while it calls hti_invalidate(), and perhaps while it waits
 * for fences, so no fence signals under it, and nothing that waits for the end
 * of unmap_work holds it.
 */
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "importer.h"

/* Undoes the mapping, stale or not. */
static void hti_unmap_locked(struct hti_attachment *a)
{
	dma_resv_assert_held(a->dmabuf->resv);

	dma_buf_unmap_attachment(a->attach, a->sgt, a->direction);
	if (a->pinned)
		dma_buf_unpin(a->attach);
	a->sgt = NULL;

	spin_lock(&a->lock);
	a->pinned = false;
	a->segments = 0;
	if (a->stale)
		a->unmap_ns = ktime_to_ns(ktime_sub(ktime_get(), a->invalidated));
	a->stale = false;
	spin_unlock(&a->lock);
}

static void hti_unmap_work(struct work_struct *work)
{
	struct hti_attachment *a = container_of(to_delayed_work(work), struct hti_attachment,
						unmap_work);

	hti_fences_wait(a);

	dma_resv_lock(a->dmabuf->resv, NULL);
	/* It may have been unmapped meanwhile, and mapped and invalidated anew. */
	if (a->stale && time_after_eq(jiffies, a->unmap_due))
		hti_unmap_locked(a);
	dma_resv_unlock(a->dmabuf->resv);
}

static void hti_invalidate(struct dma_buf_attachment *attach)
{
	struct hti_attachment *a = attach->importer_priv;
	bool owes;

	dma_resv_assert_held(attach->dmabuf->resv);

	spin_lock(&a->lock);
	a->invalidations++;
	owes = a->sgt && !a->stale;
	if (owes) {
		a->stale = true;
		a->invalidated = ktime_get();
	}
	spin_unlock(&a->lock);
	if (!owes)
		return;

	switch (a->kind) {
	case HLRS_TEST_UNMAP_INSIDE:
		hti_fences_wait(a);
		hti_unmap_locked(a);
		break;
	case HLRS_TEST_NEVER_UNMAP:
		break;
	default:
		a->unmap_due = jiffies + a->delay;
		mod_delayed_work(hti_wq, &a->unmap_work, a->delay);
		break;
	}
}

/* By HLRS_TEST_ALLOW_PEER2PEER. */
static const struct dma_buf_attach_ops hti_dynamic_ops[] = {
	{ .invalidate_mappings = hti_invalidate },
	{ .invalidate_mappings = hti_invalidate, .allow_peer2peer = true },
};

static const struct dma_buf_attach_ops hti_no_invalidate_ops[] = {
	{ },
	{ .allow_peer2peer = true },
};

static struct dma_buf_attachment *hti_dma_buf_attach(struct hti_attachment *a, bool peer2peer)
{
	struct device *dev = &a->pdev->dev;

	switch (a->kind) {
	case HLRS_TEST_STATIC:
		return dma_buf_attach(a->dmabuf, dev);
	case HLRS_TEST_NO_INVALIDATE:
		return dma_buf_dynamic_attach(a->dmabuf, dev, &hti_no_invalidate_ops[peer2peer], a);
	default:
		return dma_buf_dynamic_attach(a->dmabuf, dev, &hti_dynamic_ops[peer2peer], a);
	}
}

struct hti_attachment *hti_attach(const struct hlrs_test_attach *args)
{
	struct hti_attachment *a;
	int ret;

	if (args->kind > HLRS_TEST_NEVER_UNMAP || args->flags & ~HLRS_TEST_ALLOW_PEER2PEER ||
	    args->pad || args->domain > INT_MAX || args->delay_ms > HLRS_TEST_MAX_MS ||
	    (args->delay_ms && args->kind != HLRS_TEST_UNMAP_LATE))
		return ERR_PTR(-EINVAL);

	a = kzalloc_obj(*a);
	if (!a)
		return ERR_PTR(-ENOMEM);
	kref_init(&a->refs);
	a->kind = args->kind;
	a->delay = msecs_to_jiffies(args->delay_ms);
	INIT_DELAYED_WORK(&a->unmap_work, hti_unmap_work);
	spin_lock_init(&a->lock);
	INIT_LIST_HEAD(&a->fences);

	a->dmabuf = dma_buf_get(args->fd);
	if (IS_ERR(a->dmabuf)) {
		ret = PTR_ERR(a->dmabuf);
		goto free;
	}

	a->pdev = pci_get_domain_bus_and_slot(args->domain, args->bus, args->devfn);
	if (!a->pdev) {
		ret = -ENXIO;
		goto put_dmabuf;
	}

	a->attach = hti_dma_buf_attach(a, args->flags & HLRS_TEST_ALLOW_PEER2PEER);
	if (IS_ERR(a->attach)) {
		ret = PTR_ERR(a->attach);
		goto put_pdev;
	}
	return a;

put_pdev:
	pci_dev_put(a->pdev);
put_dmabuf:
	dma_buf_put(a->dmabuf);
free:
	kfree(a);
	return ERR_PTR(ret);
}

static int hti_map_locked(struct hti_attachment *a, enum dma_data_direction direction)
{
	bool pin = a->kind == HLRS_TEST_PIN;
	struct sg_table *sgt;
	long left;
	int ret;

	if (a->gone)
		return -ENOENT;
	if (a->sgt)
		return -EBUSY;

	if (pin) {
		ret = dma_buf_pin(a->attach);
		if (ret)
			return ret;
	}

	sgt = dma_buf_map_attachment(a->attach, direction);
	if (IS_ERR(sgt)) {
		ret = PTR_ERR(sgt);
		goto unpin;
	}

	left = dma_resv_wait_timeout(a->dmabuf->resv, DMA_RESV_USAGE_KERNEL, true,
				     msecs_to_jiffies(HLRS_TEST_MAX_MS));
	if (left <= 0) {
		ret = left ? left : -ETIME;
		goto unmap;
	}

	a->sgt = sgt;
	a->direction = direction;
	spin_lock(&a->lock);
	a->pinned = pin;
	a->segments = sgt->nents;
	spin_unlock(&a->lock);
	return 0;

unmap:
	dma_buf_unmap_attachment(a->attach, sgt, direction);
unpin:
	if (pin)
		dma_buf_unpin(a->attach);
	return ret;
}

int hti_map(struct hti_attachment *a, struct hlrs_test_map *args)
{
	struct hlrs_test_segment *segments = NULL;
	struct scatterlist *sg;
	u32 count, n;
	int ret;

	if (args->direction > DMA_FROM_DEVICE)
		return -EINVAL;

	ret = dma_resv_lock_interruptible(a->dmabuf->resv, NULL);
	if (ret)
		return ret;

	ret = hti_map_locked(a, args->direction);
	if (ret)
		goto unlock;

	/* The user's array is not written under the lock: its pages may need it. */
	args->num_segments = a->sgt->nents;
	count = min(args->max_segments, args->num_segments);
	segments = kvmalloc_objs(*segments, max(count, 1U));
	if (!segments) {
		hti_unmap_locked(a);
		ret = -ENOMEM;
		goto unlock;
	}
	for_each_sgtable_dma_sg(a->sgt, sg, n) {
		if (n == count)
			break;
		segments[n].dma_address = sg_dma_address(sg);
		segments[n].length = sg_dma_len(sg);
	}

unlock:
	dma_resv_unlock(a->dmabuf->resv);
	if (ret)
		return ret;

	if (copy_to_user(u64_to_user_ptr(args->segments), segments, count * sizeof(*segments))) {
		hti_unmap(a);
		ret = -EFAULT;
	}
	kvfree(segments);
	return ret;
}

int hti_unmap(struct hti_attachment *a)
{
	int ret = -ENOTCONN;

	dma_resv_lock(a->dmabuf->resv, NULL);
	if (a->sgt) {
		hti_unmap_locked(a);
		ret = 0;
	}
	dma_resv_unlock(a->dmabuf->resv);
	return ret;
}

void hti_state(struct hti_attachment *a, struct hlrs_test_state *args)
{
	args->flags = HLRS_TEST_STATE_ATTACHED;
	args->pad = 0;
	args->fences = hti_fences_pending(a);

	spin_lock(&a->lock);
	if (a->segments)
		args->flags |= HLRS_TEST_STATE_MAPPED;
	if (a->pinned)
		args->flags |= HLRS_TEST_STATE_PINNED;
	if (a->stale)
		args->flags |= HLRS_TEST_STATE_STALE;
	args->segments = a->segments;
	args->invalidations = a->invalidations;
	args->unmap_ns = a->unmap_ns;
	spin_unlock(&a->lock);
}

/* Ends an importer; drops the reference of the file's table. */
void hti_detach(struct hti_attachment *a)
{
	/* The exporter may hold the lock until they have signalled. */
	hti_fences_signal(a);

	dma_resv_lock(a->dmabuf->resv, NULL);
	a->gone = true;
	if (a->sgt)
		hti_unmap_locked(a);
	hti_vunmap_locked(a);
	dma_resv_unlock(a->dmabuf->resv);

	/* Others may have added some before, but nobody does from here on. */
	hti_fences_signal(a);
	cancel_delayed_work_sync(&a->unmap_work);
	dma_buf_detach(a->dmabuf, a->attach);
	hti_fences_free(a, false);
	hti_put(a);
}

static void hti_free(struct kref *refs)
{
	struct hti_attachment *a = container_of(refs, struct hti_attachment, refs);

	pci_dev_put(a->pdev);
	dma_buf_put(a->dmabuf);
	kfree(a);
}

void hti_put(struct hti_attachment *a)
{
	kref_put(&a->refs, hti_free);
}
