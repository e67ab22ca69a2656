// SPDX-License-Identifier: GPL-2.0
/*
 * Page-table entries in memory of a device, stored by a plain loop; and the time
 * that the accelerator pretends to need.
 */
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/ktime.h>
#include <linux/pci.h>

#include "bench.h"
#include "hlrs_bench_peer.h"
#include "hlrs_hw.h"

struct pci_dev *bench_device(u32 address)
{
	return pci_get_domain_bus_and_slot(address >> 16, address >> 8 & 0xff, address & 0xff);
}

/* Leaves of consecutive pages. */
static noinline void bench_store_loop(void __iomem *to, u64 count)
{
	u64 entry = HLRS_PTE_V | HLRS_PTE_W | HLRS_PTE_DM | HLRS_PTE_LEAF, i;

	for (i = 0; i < count; i++) {
		writeq(entry, to + i * sizeof(entry));
		entry += PAGE_SIZE;
	}
}

int bench_store(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_bench_store *args = data;
	struct pci_dev *pdev;
	resource_size_t len;
	void __iomem *to;
	u64 start;
	int ret = 0;

	pdev = bench_device(args->device);
	if (!pdev)
		return -ENXIO;

	len = pci_resource_len(pdev, HLRS_BAR_LMEM);
	if (args->offset % sizeof(u64) || args->offset > len ||
	    args->count > (len - args->offset) / sizeof(u64)) {
		ret = -EINVAL;
		goto put_device;
	}

	to = ioremap_wc(pci_resource_start(pdev, HLRS_BAR_LMEM) + args->offset,
			args->count * sizeof(u64));
	if (!to) {
		ret = -ENOMEM;
		goto put_device;
	}

	start = ktime_get_ns();
	bench_store_loop(to, args->count);
	args->ns = ktime_get_ns() - start;
	iounmap(to);
put_device:
	pci_dev_put(pdev);
	return ret;
}

int bench_hurry(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_bench_hurry *args = data;
	struct pci_dev *pdev;
	void __iomem *regs;
	int ret = -ENXIO;

	pdev = bench_device(args->device);
	if (!pdev)
		return ret;

	regs = ioremap(pci_resource_start(pdev, HLRS_BAR_REGS), HLRS_REGS_SIZE);
	if (!regs) {
		ret = -ENOMEM;
		goto put_device;
	}
	if (readl(regs + HLRS_REG_ID) == HLRS_ID) {
		writel(0, regs + HLRS_REG_TIME_CMD);
		writel(0, regs + HLRS_REG_TIME_LMEM);
		writel(0, regs + HLRS_REG_TIME_BUS);
		ret = 0;
	}
	iounmap(regs);
put_device:
	pci_dev_put(pdev);
	return ret;
}
