// SPDX-License-Identifier: GPL-2.0

#include <linux/dma-fence.h>

void ext_helper_dma_fence_get(struct dma_fence *fence)
{
	dma_fence_get(fence);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_fence_get);

void ext_helper_dma_fence_put(struct dma_fence *fence)
{
	dma_fence_put(fence);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_fence_put);

bool ext_helper_dma_fence_is_signaled(struct dma_fence *fence)
{
	return dma_fence_is_signaled(fence);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_fence_is_signaled);
