/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Out-of-line versions of inline functions and macros of the kernel, which Rust
 * cannot call. The crate ext_bindings sees them without the prefix.
 */
#ifndef EXT_HELPERS_H
#define EXT_HELPERS_H

#include <drm/drm_gem.h>
#include <linux/pci.h>

struct pci_dev *ext_helper_pci_physfn(struct pci_dev *dev);
void ext_helper_drm_vma_node_unmap(struct drm_vma_offset_node *node,
				   struct address_space *file_mapping);
u64 ext_helper_drm_vma_node_offset_addr(struct drm_vma_offset_node *node);

#endif /* EXT_HELPERS_H */
