// SPDX-License-Identifier: GPL-2.0

#include <linux/dma-resv.h>

int ext_helper_dma_resv_lock(struct dma_resv *obj, struct ww_acquire_ctx *ctx)
{
	return dma_resv_lock(obj, ctx);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_resv_lock);

int ext_helper_dma_resv_lock_interruptible(struct dma_resv *obj,
					   struct ww_acquire_ctx *ctx)
{
	return dma_resv_lock_interruptible(obj, ctx);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_resv_lock_interruptible);

void ext_helper_dma_resv_lock_slow(struct dma_resv *obj,
				   struct ww_acquire_ctx *ctx)
{
	dma_resv_lock_slow(obj, ctx);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_resv_lock_slow);

bool ext_helper_dma_resv_trylock(struct dma_resv *obj)
{
	return dma_resv_trylock(obj);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_resv_trylock);

void ext_helper_dma_resv_unlock(struct dma_resv *obj)
{
	dma_resv_unlock(obj);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_resv_unlock);

void ext_helper_dma_resv_assert_held(struct dma_resv *obj)
{
	dma_resv_assert_held(obj);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_resv_assert_held);

struct ww_acquire_ctx *ext_helper_dma_resv_locking_ctx(struct dma_resv *obj)
{
	return dma_resv_locking_ctx(obj);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_resv_locking_ctx);

/* The class is one for all reservation objects: reservation_ww_class. */
void ext_helper_dma_resv_acquire_init(struct ww_acquire_ctx *ctx)
{
	ww_acquire_init(ctx, &reservation_ww_class);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_resv_acquire_init);

void ext_helper_dma_resv_acquire_fini(struct ww_acquire_ctx *ctx)
{
	ww_acquire_fini(ctx);
}
EXPORT_SYMBOL_GPL(ext_helper_dma_resv_acquire_fini);
