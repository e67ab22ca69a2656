// SPDX-License-Identifier: GPL-2.0
/*
 * An importer as short as one can be: it attaches, maps, unmaps and detaches,
 * and looks at the clock. The buffer may be that of any exporter.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/ktime.h>
#include <linux/pci.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bench.h"
#include "hlrs_bench_peer.h"

/* Nothing has to be done: every mapping here is undone right after it was made. */
static void bench_invalidate(struct dma_buf_attachment *attach)
{
}

const struct dma_buf_attach_ops bench_attach_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = bench_invalidate,
};

static int bench_one_round(struct dma_buf *dmabuf, struct device *dev)
{
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;

	attach = dma_buf_dynamic_attach(dmabuf, dev, &bench_attach_ops, dmabuf);
	if (IS_ERR(attach))
		return PTR_ERR(attach);

	sgt = dma_buf_map_attachment_unlocked(attach, DMA_BIDIRECTIONAL);
	if (!IS_ERR(sgt))
		dma_buf_unmap_attachment_unlocked(attach, sgt, DMA_BIDIRECTIONAL);
	dma_buf_detach(dmabuf, attach);
	return PTR_ERR_OR_ZERO(sgt);
}

/* Where the memory is, so that the peer can be given the same. */
static int bench_segments(struct dma_buf *dmabuf, struct device *dev, struct drm_bench_map *args)
{
	struct drm_bench_segment *segments;
	struct dma_buf_attachment *attach;
	struct scatterlist *sg;
	struct sg_table *sgt;
	u32 count = min(args->max_segments, DRM_BENCH_MAX_SEGMENTS);
	int ret = 0, n;

	segments = kvzalloc_objs(*segments, max(count, 1U));
	if (!segments)
		return -ENOMEM;

	attach = dma_buf_dynamic_attach(dmabuf, dev, &bench_attach_ops, dmabuf);
	if (IS_ERR(attach)) {
		ret = PTR_ERR(attach);
		goto free;
	}

	sgt = dma_buf_map_attachment_unlocked(attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		ret = PTR_ERR(sgt);
		goto detach;
	}
	args->num_segments = sgt->nents;
	for_each_sgtable_dma_sg(sgt, sg, n) {
		if (n == count)
			break;
		segments[n].address = sg_dma_address(sg);
		segments[n].length = sg_dma_len(sg);
	}
	dma_buf_unmap_attachment_unlocked(attach, sgt, DMA_BIDIRECTIONAL);

	count = min(count, args->num_segments);
	if (copy_to_user(u64_to_user_ptr(args->segments), segments, count * sizeof(*segments)))
		ret = -EFAULT;
detach:
	dma_buf_detach(dmabuf, attach);
free:
	kvfree(segments);
	return ret;
}

int bench_map(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_bench_map *args = data;
	struct dma_buf *dmabuf;
	struct pci_dev *pdev;
	u64 start;
	u32 round;
	int ret;

	dmabuf = dma_buf_get(args->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	pdev = bench_device(args->importer);
	if (!pdev) {
		ret = -ENXIO;
		goto put_dmabuf;
	}

	ret = bench_segments(dmabuf, &pdev->dev, args);

	start = ktime_get_ns();
	for (round = 0; !ret && round < args->rounds; round++) {
		ret = bench_one_round(dmabuf, &pdev->dev);
		if (fatal_signal_pending(current))
			ret = -EINTR;
	}
	args->ns = ktime_get_ns() - start;

	pci_dev_put(pdev);
put_dmabuf:
	dma_buf_put(dmabuf);
	return ret;
}
