// SPDX-License-Identifier: GPL-2.0

#include <drm/drm_vma_manager.h>

void ext_helper_drm_vma_node_unmap(struct drm_vma_offset_node *node,
				   struct address_space *file_mapping)
{
	drm_vma_node_unmap(node, file_mapping);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_vma_node_unmap);

u64 ext_helper_drm_vma_node_offset_addr(struct drm_vma_offset_node *node)
{
	return drm_vma_node_offset_addr(node);
}
EXPORT_SYMBOL_GPL(ext_helper_drm_vma_node_offset_addr);
