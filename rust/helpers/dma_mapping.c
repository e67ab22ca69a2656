// SPDX-License-Identifier: GPL-2.0

#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu-dma.h>

int ext_helper_dma_mapping_error(struct device *dev, dma_addr_t addr)
{
	return dma_mapping_error(dev, addr);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_mapping_error);

/* Whether the DMA API has no addresses for @dev but the physical ones. */
bool ext_helper_dma_is_direct(struct device *dev)
{
	return !use_dma_iommu(dev) && !get_dma_ops(dev);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_is_direct);

unsigned int ext_helper_dma_get_max_seg_size(struct device *dev)
{
	return dma_get_max_seg_size(dev);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_get_max_seg_size);

/* Three at once: each mapping needs them. */
void ext_helper_dma_get_limits(struct device *dev, unsigned int *max_seg_size,
			       unsigned long *seg_boundary, u64 *mask)
{
	*max_seg_size = dma_get_max_seg_size(dev);
	*seg_boundary = dma_get_seg_boundary(dev);
	*mask = dma_get_mask(dev);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_get_limits);
