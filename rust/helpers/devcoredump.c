// SPDX-License-Identifier: GPL-2.0

#include <linux/devcoredump.h>

void ext_helper_dev_coredumpv(struct device *dev, void *data, size_t datalen,
			      gfp_t gfp)
{
	dev_coredumpv(dev, data, datalen, gfp);
}
EXPORT_SYMBOL_GPL(ext_helper_dev_coredumpv);

void ext_helper_dev_coredumpm_timeout(struct device *dev, struct module *owner,
				      void *data, size_t datalen, gfp_t gfp,
				      ssize_t (*read)(char *buffer, loff_t offset,
						      size_t count, void *data,
						      size_t datalen),
				      void (*free)(void *data),
				      unsigned long timeout)
{
	dev_coredumpm_timeout(dev, owner, data, datalen, gfp, read, free, timeout);
}
EXPORT_SYMBOL_GPL(ext_helper_dev_coredumpm_timeout);

void ext_helper_dev_coredump_put(struct device *dev)
{
	dev_coredump_put(dev);
}
EXPORT_SYMBOL_GPL(ext_helper_dev_coredump_put);
