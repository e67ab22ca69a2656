// SPDX-License-Identifier: GPL-2.0

#include <drm/gpu_scheduler.h>
#include <linux/dma-fence.h>
#include <linux/rcupdate.h>
#include <linux/wait.h>

static bool sched_entity_is_drained(struct drm_sched_entity *entity)
{
	return READ_ONCE(entity->stopped) || !spsc_queue_count(&entity->job_queue);
}

/* Kills, and wakes up those who wait for the queue to become empty. */
void ext_helper_drm_sched_entity_kill_wake(struct drm_sched_entity *entity)
{
	drm_sched_entity_kill(entity);
	wake_up_all(&entity->rq->sched->job_scheduled);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_sched_entity_kill_wake);

/*
 * drm_sched_entity_fini() takes the fence that the entity waits for from
 * entity->dependency, and the callback on that fence clears the pointer and puts
 * the reference at any time. A reference of our own keeps the fence valid.
 */
void ext_helper_drm_sched_entity_fini_held(struct drm_sched_entity *entity)
{
	struct dma_fence *fence;

	/* From now on the scheduler gives the entity no other fence to wait for. */
	drm_sched_entity_kill(entity);

	rcu_read_lock();
	fence = READ_ONCE(entity->dependency);
	if (fence)
		fence = dma_fence_get_rcu(fence);
	rcu_read_unlock();

	drm_sched_entity_fini(entity);
	dma_fence_put(fence);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_sched_entity_fini_held);

/* As drm_sched_entity_flush(), but bounded for every process, and without killing. */
long ext_helper_drm_sched_entity_wait(struct drm_sched_entity *entity,
				      unsigned long timeout)
{
	return wait_event_killable_timeout(entity->rq->sched->job_scheduled,
					   sched_entity_is_drained(entity), timeout);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_sched_entity_wait);
