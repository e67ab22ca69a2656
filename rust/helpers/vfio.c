// SPDX-License-Identifier: GPL-2.0

#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>

/* Functions of VFIO's modules are not called here: they would have to be loaded for ours. */

int ext_helper_vfio_check_feature(u32 flags, size_t argsz, u32 supported_ops,
				  size_t minsz)
{
	return vfio_check_feature(flags, argsz, supported_ops, minsz);
}
EXPORT_SYMBOL_GPL(ext_helper_vfio_check_feature);

void ext_helper_vfio_put_device(struct vfio_device *device)
{
	vfio_put_device(device);
}
EXPORT_SYMBOL_GPL(ext_helper_vfio_put_device);

void *ext_helper_vfio_pci_core_get_iomap(struct vfio_pci_core_device *vdev,
					 unsigned int bar)
{
	return (__force void *)vfio_pci_core_get_iomap(vdev, bar);
}
EXPORT_SYMBOL_GPL(ext_helper_vfio_pci_core_get_iomap);
