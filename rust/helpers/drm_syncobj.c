// SPDX-License-Identifier: GPL-2.0

#include <drm/drm_syncobj.h>

void ext_helper_drm_syncobj_get(struct drm_syncobj *obj)
{
	drm_syncobj_get(obj);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_syncobj_get);

void ext_helper_drm_syncobj_put(struct drm_syncobj *obj)
{
	drm_syncobj_put(obj);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_syncobj_put);

struct dma_fence *ext_helper_drm_syncobj_fence_get(struct drm_syncobj *syncobj)
{
	return drm_syncobj_fence_get(syncobj);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_syncobj_fence_get);
