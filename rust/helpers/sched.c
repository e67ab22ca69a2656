// SPDX-License-Identifier: GPL-2.0

#include <linux/sched.h>
#include <linux/string.h>

void ext_helper_get_current_comm(char *name, size_t size)
{
	/* The name is never longer, and ends with a zero that is never overwritten. */
	memcpy(name, current->comm, min(size, sizeof(current->comm)));
}
EXPORT_SYMBOL_GPL(ext_helper_get_current_comm);
