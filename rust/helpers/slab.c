// SPDX-License-Identifier: GPL-2.0

#include <linux/slab.h>

void *ext_helper_kmalloc(size_t size)
{
	return kmalloc(size, GFP_KERNEL);
}
EXPORT_SYMBOL_GPL(ext_helper_kmalloc);
