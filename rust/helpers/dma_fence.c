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

bool ext_helper_dma_fence_begin_signalling(void)
{
	return dma_fence_begin_signalling();
}
EXPORT_SYMBOL_GPL(ext_helper_dma_fence_begin_signalling);

void ext_helper_dma_fence_end_signalling(bool cookie)
{
	dma_fence_end_signalling(cookie);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_fence_end_signalling);
