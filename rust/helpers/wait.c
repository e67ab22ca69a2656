// SPDX-License-Identifier: GPL-2.0

#include <linux/wait.h>

void ext_helper_init_waitqueue_head(wait_queue_head_t *wq)
{
	init_waitqueue_head(wq);
}
EXPORT_SYMBOL_GPL(ext_helper_init_waitqueue_head);

void ext_helper_wake_up_all(wait_queue_head_t *wq)
{
	wake_up_all(wq);
}
EXPORT_SYMBOL_GPL(ext_helper_wake_up_all);

/* What is left of the time, at least 1, if @value became 0; otherwise 0. */
long ext_helper_wait_until_zero(wait_queue_head_t *wq, atomic_t *value, long timeout)
{
	return wait_event_timeout(*wq, !atomic_read_acquire(value), timeout);
}
EXPORT_SYMBOL_GPL(ext_helper_wait_until_zero);
