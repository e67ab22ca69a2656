// SPDX-License-Identifier: GPL-2.0

#include <linux/dma-mapping.h>

int ext_helper_dma_mapping_error(struct device *dev, dma_addr_t addr)
{
	return dma_mapping_error(dev, addr);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_mapping_error);

u64 ext_helper_dma_get_mask(struct device *dev)
{
	return dma_get_mask(dev);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_get_mask);

unsigned int ext_helper_dma_get_max_seg_size(struct device *dev)
{
	return dma_get_max_seg_size(dev);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_get_max_seg_size);

unsigned long ext_helper_dma_get_seg_boundary(struct device *dev)
{
	return dma_get_seg_boundary(dev);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_get_seg_boundary);
