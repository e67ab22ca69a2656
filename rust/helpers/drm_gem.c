// SPDX-License-Identifier: GPL-2.0

#include <drm/drm_gem.h>

void ext_helper_drm_gem_object_get(struct drm_gem_object *obj)
{
	drm_gem_object_get(obj);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_gem_object_get);

void ext_helper_drm_gem_object_put(struct drm_gem_object *obj)
{
	drm_gem_object_put(obj);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_gem_object_put);
