// SPDX-License-Identifier: GPL-2.0

#include <linux/sched.h>
#include <linux/string.h>

void ext_helper_get_current_comm(char name[TASK_COMM_LEN])
{
	/* It ends with a zero that is never overwritten. */
	memcpy(name, current->comm, TASK_COMM_LEN);
}
EXPORT_SYMBOL_GPL(ext_helper_get_current_comm);
