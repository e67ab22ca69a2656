// SPDX-License-Identifier: GPL-2.0

#include <drm/drm_gpuvm.h>

struct drm_gpuvm_bo *ext_helper_drm_gpuvm_bo_get(struct drm_gpuvm_bo *vm_bo)
{
	return drm_gpuvm_bo_get(vm_bo);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_gpuvm_bo_get);
