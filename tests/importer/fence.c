// SPDX-License-Identifier: GPL-2.0
/*
 * Fences of an importer: each signals after a time that the test chooses, or
 * when the test says so, whichever comes first.
 */
#include <linux/dma-fence.h>
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <linux/timer.h>

#include "importer.h"

struct hti_fence {
	struct dma_fence base; /* first: the core frees it */
	struct timer_list timer;
	struct list_head node; /* in the attachment's list, which has a reference */
};

static const char *hti_fence_driver_name(struct dma_fence *fence)
{
	return "hlrs-test-importer";
}

static const char *hti_fence_timeline_name(struct dma_fence *fence)
{
	return "job";
}

/* Without release() a signalled fence does not need this module any more. */
static const struct dma_fence_ops hti_fence_ops = {
	.get_driver_name = hti_fence_driver_name,
	.get_timeline_name = hti_fence_timeline_name,
};

static void hti_fence_timeout(struct timer_list *timer)
{
	struct hti_fence *fence = timer_container_of(fence, timer, timer);

	dma_fence_signal(&fence->base);
}

static enum dma_resv_usage hti_usage(u32 usage)
{
	switch (usage) {
	case HLRS_TEST_WRITE:
		return DMA_RESV_USAGE_WRITE;
	case HLRS_TEST_READ:
		return DMA_RESV_USAGE_READ;
	default:
		return DMA_RESV_USAGE_BOOKKEEP;
	}
}

static int hti_fence_add_locked(struct hti_attachment *a, struct hti_fence *fence,
				const struct hlrs_test_fence *args)
{
	int ret;

	if (a->gone)
		return -ENOENT;
	if (a->stale)
		return -ESTALE;
	ret = dma_resv_reserve_fences(a->dmabuf->resv, 1);
	if (ret)
		return ret;

	/*
	 * A context of its own, as they may signal in any order. The timer runs
	 * before anybody can wait.
	 */
	dma_fence_init(&fence->base, &hti_fence_ops, NULL, dma_fence_context_alloc(1), 1);
	timer_setup(&fence->timer, hti_fence_timeout, 0);
	mod_timer(&fence->timer, jiffies + msecs_to_jiffies(args->timeout_ms));

	spin_lock(&a->lock);
	list_add_tail(&fence->node, &a->fences);
	spin_unlock(&a->lock);
	dma_resv_add_fence(a->dmabuf->resv, &fence->base, hti_usage(args->usage));
	return 0;
}

int hti_fence_add(struct hti_attachment *a, const struct hlrs_test_fence *args)
{
	struct hti_fence *fence;
	int ret;

	if (args->pad || args->usage > HLRS_TEST_READ || !args->timeout_ms ||
	    args->timeout_ms > HLRS_TEST_MAX_MS)
		return -EINVAL;

	hti_fences_free(a, true);

	fence = kzalloc_obj(*fence);
	if (!fence)
		return -ENOMEM;

	ret = dma_resv_lock_interruptible(a->dmabuf->resv, NULL);
	if (!ret) {
		ret = hti_fence_add_locked(a, fence, args);
		dma_resv_unlock(a->dmabuf->resv);
	}
	if (ret)
		kfree(fence);
	return ret;
}

/* The first that has not signalled, with a reference. */
static struct dma_fence *hti_fence_first(struct hti_attachment *a)
{
	struct hti_fence *fence;
	struct dma_fence *found = NULL;

	spin_lock(&a->lock);
	list_for_each_entry(fence, &a->fences, node) {
		if (!dma_fence_is_signaled(&fence->base)) {
			found = dma_fence_get(&fence->base);
			break;
		}
	}
	spin_unlock(&a->lock);
	return found;
}

void hti_fences_signal(struct hti_attachment *a)
{
	struct dma_fence *fence;

	/* Not under the lock: who is called back may do much. */
	while ((fence = hti_fence_first(a))) {
		dma_fence_signal(fence);
		dma_fence_put(fence);
	}
}

/* Bounded, because each has its timer and a stale importer adds none. */
void hti_fences_wait(struct hti_attachment *a)
{
	struct dma_fence *fence;

	while ((fence = hti_fence_first(a))) {
		dma_fence_wait(fence, false);
		dma_fence_put(fence);
	}
}

u32 hti_fences_pending(struct hti_attachment *a)
{
	struct hti_fence *fence;
	u32 count = 0;

	spin_lock(&a->lock);
	list_for_each_entry(fence, &a->fences, node)
		count += !dma_fence_is_signaled(&fence->base);
	spin_unlock(&a->lock);
	return count;
}

/* Takes fences off the list, all of which must have signalled unless only those are meant. */
void hti_fences_free(struct hti_attachment *a, bool signalled_only)
{
	struct hti_fence *fence, *next;
	LIST_HEAD(old);

	spin_lock(&a->lock);
	list_for_each_entry_safe(fence, next, &a->fences, node)
		if (!signalled_only || dma_fence_is_signaled(&fence->base))
			list_move(&fence->node, &old);
	spin_unlock(&a->lock);

	list_for_each_entry_safe(fence, next, &old, node) {
		/* Its last run may not be over. */
		timer_shutdown_sync(&fence->timer);
		dma_fence_put(&fence->base);
	}
}
