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

bool ext_helper_drm_gem_object_get_unless_zero(struct drm_gem_object *obj)
{
	return kref_get_unless_zero(&obj->refcount);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_gem_object_get_unless_zero);

bool ext_helper_drm_gem_object_is_alive(struct drm_gem_object *obj)
{
	return kref_read(&obj->refcount) != 0;
}
EXPORT_SYMBOL_GPL(ext_helper_drm_gem_object_is_alive);
