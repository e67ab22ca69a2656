// SPDX-License-Identifier: GPL-2.0

#include <linux/sched.h>
#include <linux/string.h>

void ext_helper_get_current_comm(char *name, size_t size)
{
	strscpy_pad(name, current->comm, size);
}
EXPORT_SYMBOL_GPL(ext_helper_get_current_comm);
