// SPDX-License-Identifier: GPL-2.0
/*
 * Accesses: each is over after a time that the test chooses, when the test says
 * so, or when the VM is revoked, whichever comes first.
 */
#include <linux/dma-fence.h>
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <linux/timer.h>

#include "consumer.h"

struct htv_fence {
	struct dma_fence base; /* first: the core frees it */
	struct timer_list timer;
	struct list_head node; /* in the file's list, which has a reference */
	unsigned int count;
	const struct htv_user *users[HLRS_VM_ACCESS_MAX]; /* to compare with only */
};

static const char *htv_fence_driver_name(struct dma_fence *fence)
{
	return "hlrs-test-vm";
}

static const char *htv_fence_timeline_name(struct dma_fence *fence)
{
	return "access";
}

/* Without release() a signalled fence does not need this module any more. */
static const struct dma_fence_ops htv_fence_ops = {
	.get_driver_name = htv_fence_driver_name,
	.get_timeline_name = htv_fence_timeline_name,
};

static void htv_fence_timeout(struct timer_list *timer)
{
	struct htv_fence *fence = timer_container_of(fence, timer, timer);

	dma_fence_signal(&fence->base);
}

/* No user stands for any. */
static bool htv_fence_is_of(const struct htv_fence *fence, const struct htv_user *user)
{
	unsigned int i;

	if (!user)
		return true;
	for (i = 0; i < fence->count; i++)
		if (fence->users[i] == user)
			return true;
	return false;
}

/* Whether the access begins: not if a VM was revoked since it was announced. */
static bool htv_begin(struct htv_file *file, struct htv_fence *fence, u32 timeout_ms)
{
	unsigned int i;

	lockdep_assert_held(&file->lock);

	for (i = 0; i < fence->count; i++)
		if (fence->users[i]->calls)
			return false;
	mod_timer(&fence->timer, jiffies + msecs_to_jiffies(timeout_ms));
	list_add_tail(&fence->node, &file->fences);
	return true;
}

/* With &htv_file.use held for reading, so that the users stay. */
int htv_access(struct htv_file *file, struct htv_user *const *users,
	       struct hlrs_test_vm_access *args)
{
	struct hlrs_vm_user *vms[HLRS_VM_ACCESS_MAX + 1];
	struct htv_fence *fence;
	unsigned int i;
	int ret;

	fence = kzalloc_obj(*fence);
	if (!fence)
		return -ENOMEM;
	/* A context of its own, as they may signal in any order. */
	dma_fence_init(&fence->base, &htv_fence_ops, NULL, dma_fence_context_alloc(1), 1);
	timer_setup(&fence->timer, htv_fence_timeout, 0);

	for (i = 0; i < args->count; i++) {
		vms[i] = users[i] ? users[i]->vm : NULL;
		if (i < HLRS_VM_ACCESS_MAX)
			fence->users[i] = users[i];
	}
	ret = hlrs_vm_access(vms, args->count, &fence->base);
	if (ret) {
		/* Nobody has it, and nobody will signal it. */
		WARN_ON(kref_read(&fence->base.refcount) != 1);
		dma_fence_put(&fence->base);
		return ret;
	}
	fence->count = args->count;

	spin_lock(&file->lock);
	args->begun = htv_begin(file, fence, args->timeout_ms);
	spin_unlock(&file->lock);
	if (!args->begun) {
		dma_fence_set_error(&fence->base, -ECANCELED);
		dma_fence_signal(&fence->base);
		timer_shutdown_sync(&fence->timer);
		dma_fence_put(&fence->base);
	}
	return 0;
}

/* The first of a user that has not signalled, with a reference. */
static struct dma_fence *htv_fence_first(struct htv_file *file, const struct htv_user *user)
{
	struct htv_fence *fence;
	struct dma_fence *found = NULL;

	spin_lock(&file->lock);
	list_for_each_entry(fence, &file->fences, node) {
		if (htv_fence_is_of(fence, user) && !dma_fence_is_signaled(&fence->base)) {
			found = dma_fence_get(&fence->base);
			break;
		}
	}
	spin_unlock(&file->lock);
	return found;
}

void htv_fences_signal(struct htv_file *file, const struct htv_user *user)
{
	struct dma_fence *fence;

	/* Not under the lock: who is called back may do much. */
	while ((fence = htv_fence_first(file, user))) {
		dma_fence_signal(fence);
		dma_fence_put(fence);
	}
}

u32 htv_fences_pending(struct htv_file *file, const struct htv_user *user)
{
	struct htv_fence *fence;
	u32 count = 0;

	spin_lock(&file->lock);
	list_for_each_entry(fence, &file->fences, node)
		count += htv_fence_is_of(fence, user) && !dma_fence_is_signaled(&fence->base);
	spin_unlock(&file->lock);
	return count;
}

/* Takes those that have signalled off the list. */
void htv_fences_free(struct htv_file *file)
{
	struct htv_fence *fence, *next;
	LIST_HEAD(old);

	spin_lock(&file->lock);
	list_for_each_entry_safe(fence, next, &file->fences, node)
		if (dma_fence_is_signaled(&fence->base))
			list_move(&fence->node, &old);
	spin_unlock(&file->lock);

	list_for_each_entry_safe(fence, next, &old, node) {
		/* Its last run may not be over. */
		timer_shutdown_sync(&fence->timer);
		dma_fence_put(&fence->base);
	}
}
