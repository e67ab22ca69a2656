// SPDX-License-Identifier: GPL-2.0

#include <linux/fs.h>

long ext_helper_file_count(struct file *file)
{
	return file_count(file);
}
EXPORT_SYMBOL_GPL(ext_helper_file_count);
