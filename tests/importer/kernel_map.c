// SPDX-License-Identifier: GPL-2.0
/*
 * The memory in the address space of the kernel, as vb2-vmalloc and shadow
 * buffers have it, and in that of processes through the importer's own file, as
 * DRM drivers offer it for what they have imported.
 */
#include <linux/iosys-map.h>
#include <linux/mm.h>

#include "importer.h"

/*
 * dma_buf_vmap(), except that it does not warn of an error, as of a defect of
 * the exporter: to be refused is what some tests want.
 */
static int hti_dma_buf_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct iosys_map first;
	int ret;

	if (!dmabuf->ops->vmap || dmabuf->vmapping_counter)
		return dma_buf_vmap(dmabuf, map);
	ret = dmabuf->ops->vmap(dmabuf, &first);
	if (ret)
		return ret;
	dmabuf->vmap_ptr = first;
	dmabuf->vmapping_counter = 1;
	*map = first;
	return 0;
}

int hti_vmap(struct hti_attachment *a)
{
	struct dma_buf *dmabuf = a->dmabuf;
	int ret;

	ret = dma_resv_lock_interruptible(dmabuf->resv, NULL);
	if (ret)
		return ret;
	if (a->gone)
		ret = -ENOENT;
	else if (iosys_map_is_set(&a->vmap))
		ret = -EBUSY;
	else
		ret = hti_dma_buf_vmap(dmabuf, &a->vmap);
	dma_resv_unlock(dmabuf->resv);
	return ret;
}

int hti_vunmap_locked(struct hti_attachment *a)
{
	dma_resv_assert_held(a->dmabuf->resv);

	if (iosys_map_is_null(&a->vmap))
		return -ENOTCONN;
	dma_buf_vunmap(a->dmabuf, &a->vmap);
	iosys_map_clear(&a->vmap);
	return 0;
}

int hti_vunmap(struct hti_attachment *a)
{
	int ret;

	dma_resv_lock(a->dmabuf->resv, NULL);
	ret = hti_vunmap_locked(a);
	dma_resv_unlock(a->dmabuf->resv);
	return ret;
}

/* Copies from or to @offset, which is within the buffer; returns how much. */
ssize_t hti_vmap_copy_locked(struct hti_attachment *a, u64 offset, void *data, size_t len,
			     bool write)
{
	dma_resv_assert_held(a->dmabuf->resv);

	if (a->gone)
		return -ENOENT;
	if (iosys_map_is_null(&a->vmap))
		return -ENOTCONN;
	if (write) {
		iosys_map_memcpy_to(&a->vmap, offset, data, len);
		/* Out of the write-combining buffers, before anybody is told. */
		wmb();
	} else {
		iosys_map_memcpy_from(data, &a->vmap, offset, len);
	}
	return len;
}

/* The exporter's mapping replaces that of the importer's file. */
int hti_mmap(struct hti_attachment *a, struct vm_area_struct *vma)
{
	unsigned long mask = (HLRS_TEST_MMAP_STRIDE >> PAGE_SHIFT) - 1;

	return dma_buf_mmap(a->dmabuf, vma, vma->vm_pgoff & mask);
}
