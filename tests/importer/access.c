// SPDX-License-Identifier: GPL-2.0
/*
 * The memory as the importing device sees it, by the CPU: through the DMA
 * addresses of the mapping, and through nothing else. Thereby a test sees what
 * an importer would that still has a mapping which was taken from it. Or, where
 * that is asked for, through the mapping of the kernel.
 */
#include <linux/iommu.h>
#include <linux/iosys-map.h>
#include <linux/ioport.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "importer.h"

/* Moved at once; the lock is released in between. */
#define HTI_CHUNK SZ_64K

/* Whether DMA addresses of the device are something else than the CPU's. */
static bool hti_translated(struct device *dev)
{
#ifdef CONFIG_IOMMU_API
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && iommu_is_dma_domain(domain);
#else
	return false;
#endif
}

static int hti_copy(phys_addr_t phys, void *data, size_t len, bool write)
{
	bool ram = page_is_ram(PHYS_PFN(phys));
	struct iosys_map map;

	if (ram)
		iosys_map_set_vaddr(&map, memremap(phys, len, MEMREMAP_WB));
	else
		iosys_map_set_vaddr_iomem(&map, ioremap_wc(phys, len));
	if (iosys_map_is_null(&map))
		return -ENOMEM;

	if (write) {
		iosys_map_memcpy_to(&map, 0, data, len);
		/* Out of the write-combining buffers, before anybody is told. */
		wmb();
	} else {
		iosys_map_memcpy_from(data, &map, 0, len);
	}

	if (ram)
		memunmap(map.vaddr);
	else
		iounmap(map.vaddr_iomem);
	return 0;
}

static bool hti_permits(enum dma_data_direction direction, bool write)
{
	return direction == DMA_BIDIRECTIONAL ||
	       direction == (write ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
}

/* Copies from or to @offset; returns how much, which may be less than @len. */
static ssize_t hti_copy_locked(struct hti_attachment *a, u64 offset, void *data, size_t len,
			       bool write)
{
	struct scatterlist *sg;
	u64 start = 0;
	int ret, n;

	if (a->gone)
		return -ENOENT;
	if (!a->sgt)
		return -ENOTCONN;
	if (!hti_permits(a->direction, write))
		return -EACCES;

	for_each_sgtable_dma_sg(a->sgt, sg, n) {
		u64 end = start + sg_dma_len(sg);

		if (offset < end) {
			len = min_t(u64, len, end - offset);
			ret = hti_copy(sg_dma_address(sg) + (offset - start), data, len, write);
			return ret ? ret : len;
		}
		start = end;
	}
	return -ENXIO;
}

int hti_access(struct hti_attachment *a, const struct hlrs_test_access *args, bool write)
{
	bool by_kernel = args->flags & HLRS_TEST_ACCESS_VMAP;
	u64 offset = args->offset, left = args->length, end;
	void __user *user = u64_to_user_ptr(args->data);
	ssize_t done = 0;
	void *chunk;

	if (args->flags & ~HLRS_TEST_ACCESS_VMAP)
		return -EINVAL;
	if (check_add_overflow(offset, left, &end) || end > a->dmabuf->size)
		return -ERANGE;
	if (!by_kernel && hti_translated(&a->pdev->dev))
		return -EOPNOTSUPP;

	chunk = kvmalloc(HTI_CHUNK, GFP_KERNEL);
	if (!chunk)
		return -ENOMEM;

	while (left) {
		size_t len = min_t(u64, left, HTI_CHUNK);

		/* What a segment's end cuts off is copied again with the next. */
		if (write && copy_from_user(chunk, user, len)) {
			done = -EFAULT;
			break;
		}

		done = dma_resv_lock_interruptible(a->dmabuf->resv, NULL);
		if (done)
			break;
		if (by_kernel)
			done = hti_vmap_copy_locked(a, offset, chunk, len, write);
		else
			done = hti_copy_locked(a, offset, chunk, len, write);
		dma_resv_unlock(a->dmabuf->resv);
		if (done < 0)
			break;

		if (!write && copy_to_user(user, chunk, done)) {
			done = -EFAULT;
			break;
		}
		if (fatal_signal_pending(current)) {
			done = -EINTR;
			break;
		}
		user += done;
		offset += done;
		left -= done;
	}

	kvfree(chunk);
	return done < 0 ? done : 0;
}
