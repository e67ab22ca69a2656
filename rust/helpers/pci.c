// SPDX-License-Identifier: GPL-2.0

#include <linux/pci.h>

struct pci_dev *ext_helper_pci_physfn(struct pci_dev *dev)
{
	return pci_physfn(dev);
}
EXPORT_SYMBOL_GPL(ext_helper_pci_physfn);

struct pci_dev *ext_helper_pci_upstream_bridge(struct pci_dev *dev)
{
	return pci_upstream_bridge(dev);
}
EXPORT_SYMBOL_GPL(ext_helper_pci_upstream_bridge);

int ext_helper_pci_dev_domain_nr(struct pci_dev *dev)
{
	return pci_domain_nr(dev->bus);
}
EXPORT_SYMBOL_GPL(ext_helper_pci_dev_domain_nr);
