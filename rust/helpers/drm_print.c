// SPDX-License-Identifier: GPL-2.0

#include <drm/drm_device.h>
#include <drm/drm_print.h>

/* args: fmt::Arguments of Rust, which "%pA" prints. */
void ext_helper_drm_dbg_args_ratelimited(struct drm_device *dev, const void *args)
{
	drm_dbg_ratelimited(dev, "%pA", args);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_dbg_args_ratelimited);
