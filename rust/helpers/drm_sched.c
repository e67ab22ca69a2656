// SPDX-License-Identifier: GPL-2.0

#include <drm/gpu_scheduler.h>
#include <linux/completion.h>
#include <linux/dma-fence.h>
#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

static bool sched_entity_is_drained(struct drm_sched_entity *entity)
{
	return READ_ONCE(entity->stopped) || !spsc_queue_count(&entity->job_queue);
}

/* As the scheduler does when it takes an entity from the tree of a run queue. */
static bool sched_entity_dequeue(struct drm_sched_entity *entity)
{
	struct drm_sched_rq *rq = entity->rq;
	struct rb_node *first;
	bool queued;

	spin_lock(&entity->lock);
	spin_lock(&rq->lock);

	queued = !RB_EMPTY_NODE(&entity->rb_tree_node);
	if (queued) {
		rb_erase_cached(&entity->rb_tree_node, &rq->rb_tree_root);
		RB_CLEAR_NODE(&entity->rb_tree_node);

		first = rb_first_cached(&rq->rb_tree_root);
		rq->head_prio = first ?
			rb_entry(first, struct drm_sched_entity, rb_tree_node)->priority :
			DRM_SCHED_PRIORITY_INVALID;
	}

	spin_unlock(&rq->lock);
	spin_unlock(&entity->lock);
	return queued;
}

/*
 * drm_sched_entity_kill() takes the entity from its run queue, and waits for the
 * scheduler if that has selected it already. In Linux 7.3 the scheduler then puts
 * it back into the tree (drm_sched_rq_pop_entity()) if there are more jobs, where
 * it is selected while it is being killed, and found after it was freed. So it is
 * taken from there before. Each turn waits for those who selected it earlier, one
 * of whom may have put it back; the caller makes sure that nobody pushes a job, so
 * there are as many turns at most as there are jobs.
 */
static void sched_entity_kill(struct drm_sched_entity *entity)
{
	bool queued;

	do {
		queued = sched_entity_dequeue(entity);
		wait_for_completion(&entity->entity_idle);
	} while (queued);

	drm_sched_entity_kill(entity);
}

/* Kills, and wakes up those who wait for the queue to become empty. */
void ext_helper_drm_sched_entity_kill_wake(struct drm_sched_entity *entity)
{
	sched_entity_kill(entity);
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
	sched_entity_kill(entity);

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
