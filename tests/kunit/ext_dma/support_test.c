// SPDX-License-Identifier: GPL-2.0
/*
 * Macros of KUnit and inline functions, for the Rust code of these tests.
 */
#include <linux/dma-buf-mapping.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/iommu.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>

#include <kunit/test.h>
#include <kunit/test-bug.h>

#include "support_test.h"

void ext_dma_test_skip(const char *reason)
{
	kunit_mark_skipped(kunit_get_current_test(), "%s", reason);
}

/* Threads of the kernel leave the release of a file to a work item. */
void ext_dma_test_flush_files(void)
{
	flush_delayed_fput();
}

void ext_dma_test_enable_dma(struct device *dev)
{
	dev->dma_mask = &dev->coherent_dma_mask;
	dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
}

bool ext_dma_test_translates(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && iommu_is_dma_domain(domain);
}

/* Where a DMA address of @dev leads to. */
u64 ext_dma_test_resolve(struct device *dev, u64 addr)
{
	if (!ext_dma_test_translates(dev))
		return addr;
	return iommu_iova_to_phys(iommu_get_domain_for_dev(dev), addr);
}

u32 ext_dma_test_set_max_segment(struct device *dev, u32 size)
{
	u32 before = dma_get_max_seg_size(dev);

	dma_set_max_seg_size(dev, size);
	return before;
}

u64 ext_dma_test_set_boundary(struct device *dev, u64 boundary)
{
	u64 before = dma_get_seg_boundary(dev);

	dma_set_seg_boundary(dev, boundary);
	return before;
}

/* Also a mask for which dma_set_mask() finds too little memory. */
u64 ext_dma_test_set_mask(struct device *dev, u64 mask)
{
	u64 before = *dev->dma_mask;

	*dev->dma_mask = mask;
	return before;
}

/* Maps one range of a BAR with the kernel's own function, and undoes it. */
int ext_dma_test_phys_vec_to_sgt(struct dma_buf_attachment *attachment,
				 struct device *provider, int bar, u64 start,
				 size_t len, u64 *addr)
{
	struct phys_vec range = { .paddr = start, .len = len };
	struct sg_table *table;

	table = dma_buf_phys_vec_to_sgt(attachment,
					pcim_p2pdma_provider(to_pci_dev(provider), bar),
					&range, 1, len, DMA_BIDIRECTIONAL);
	if (IS_ERR(table))
		return PTR_ERR(table);
	*addr = sg_dma_address(table->sgl);
	/* The function below frees as many entries as this says, and 7.3 has set it to 0. */
	table->orig_nents = table->nents;
	dma_buf_free_sgt(attachment, table, DMA_BIDIRECTIONAL);
	return 0;
}
