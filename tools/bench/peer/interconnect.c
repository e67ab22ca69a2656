// SPDX-License-Identifier: GPL-2.0
/*
 * What an importer pays for memory of a VF: attaching to it, and mapping it. In
 * three forms: as ranges of the VF's BAR, which were negotiated; as an xarray of
 * such ranges, the form of the first proposal of interconnects, which is rebuilt
 * here; and as a scatterlist.
 */
#include <linux/dma-buf.h>
#include <linux/dma-buf-interconnect.h>
#include <linux/dma-resv.h>
#include <linux/ktime.h>
#include <linux/pci.h>
#include <linux/range.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "bench.h"
#include "hlrs_bench_peer.h"
#include "hlrs_hw.h"

/* Nothing has to be done: every mapping here is undone right after it was made. */
static void bench_ic_invalidate(struct dma_buf_attachment *attach)
{
}

static const struct dma_buf_interconnect_importer bench_ic_importer = {
	.base = {
		.allow_peer2peer = true,
		.invalidate_mappings = bench_ic_invalidate,
	},
	.owner = THIS_MODULE,
	.name = "hlrs-bench-peer",
};

int bench_interconnect_init(void)
{
	return dma_buf_interconnect_register_importer(&bench_ic_importer);
}

void bench_interconnect_exit(void)
{
	dma_buf_interconnect_unregister_importer(&bench_ic_importer);
}

/* -- An xarray of ranges ------------------------------------------------------------ */

/* What the exporter of that form knows of a buffer. */
struct bench_xa_buffer {
	const struct bench_xa_ops *ops;
	u32 count;
	struct range ranges[] __counted_by(count);
};

struct bench_xa_mapping {
	struct xarray ranges;
	u32 count;
};

struct bench_xa_ops {
	int (*map)(const struct bench_xa_buffer *buffer, struct bench_xa_mapping *mapping);
	void (*unmap)(struct bench_xa_mapping *mapping);
};

/* The exporter's part: all ranges in one allocation, and each under its index. */
static int bench_xa_fill(const struct bench_xa_buffer *buffer, struct bench_xa_mapping *mapping)
{
	struct range *ranges = kvmalloc_objs(*ranges, buffer->count);
	int ret = 0;
	u32 i;

	if (!ranges)
		return -ENOMEM;

	mapping->count = buffer->count;
	for (i = 0; !ret && i < buffer->count; i++) {
		ranges[i] = buffer->ranges[i];
		ret = xa_err(xa_store(&mapping->ranges, i, &ranges[i], GFP_KERNEL));
	}
	if (ret)
		kvfree(ranges);
	return ret;
}

static void bench_xa_empty(struct bench_xa_mapping *mapping)
{
	/* The first one is the allocation. */
	kvfree(xa_load(&mapping->ranges, 0));
}

static const struct bench_xa_ops bench_xa_ops = {
	.map = bench_xa_fill,
	.unmap = bench_xa_empty,
};

/* The core's part. */
static noinline struct bench_xa_mapping *bench_xa_map(const struct bench_xa_buffer *buffer)
{
	struct bench_xa_mapping *mapping = kzalloc_obj(*mapping);
	int ret;

	if (!mapping)
		return ERR_PTR(-ENOMEM);

	xa_init(&mapping->ranges);
	ret = buffer->ops->map(buffer, mapping);
	if (ret) {
		xa_destroy(&mapping->ranges);
		kfree(mapping);
		return ERR_PTR(ret);
	}
	return mapping;
}

static noinline void bench_xa_unmap(const struct bench_xa_buffer *buffer,
				    struct bench_xa_mapping *mapping)
{
	buffer->ops->unmap(mapping);
	xa_destroy(&mapping->ranges);
	kfree(mapping);
}

/* The ranges that the buffer of @ica really has. */
static struct bench_xa_buffer *bench_xa_buffer(struct dma_buf_interconnect_attachment *ica)
{
	const struct dma_buf_iov_match *match = to_dma_buf_iov_match(ica);
	struct bench_xa_buffer *buffer;
	struct dma_buf_iov_ranges *ranges;
	u32 i;

	dma_resv_lock(ica->dmabuf->resv, NULL);
	ranges = dma_buf_iov_map_interconnect(ica, DMA_BIDIRECTIONAL);
	if (IS_ERR(ranges)) {
		buffer = ERR_CAST(ranges);
		goto unlock;
	}

	buffer = kvmalloc_flex(*buffer, ranges, ranges->count);
	if (!buffer) {
		buffer = ERR_PTR(-ENOMEM);
		goto unmap;
	}
	buffer->ops = &bench_xa_ops;
	buffer->count = ranges->count;
	for (i = 0; i < ranges->count; i++) {
		buffer->ranges[i].start = pci_resource_start(match->vf, match->bar) +
					  ranges->ranges[i].offset;
		buffer->ranges[i].end = buffer->ranges[i].start + ranges->ranges[i].len - 1;
	}
unmap:
	dma_buf_iov_unmap_interconnect(ica, ranges, DMA_BIDIRECTIONAL);
unlock:
	dma_resv_unlock(ica->dmabuf->resv);
	return buffer;
}

/* -- One round of each --------------------------------------------------------------- */

/* All return the number of ranges. */
static int bench_round_iov(struct dma_buf_interconnect_attachment *ica)
{
	struct dma_buf_iov_ranges *ranges;
	int count;

	ranges = dma_buf_iov_map_interconnect(ica, DMA_BIDIRECTIONAL);
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);
	count = ranges->count;
	dma_buf_iov_unmap_interconnect(ica, ranges, DMA_BIDIRECTIONAL);
	return count;
}

static int bench_round_xa(const struct bench_xa_buffer *buffer)
{
	struct bench_xa_mapping *mapping = bench_xa_map(buffer);
	int count;

	if (IS_ERR(mapping))
		return PTR_ERR(mapping);
	count = mapping->count;
	bench_xa_unmap(buffer, mapping);
	return count;
}

static int bench_round_sgt(struct dma_buf_attachment *attach)
{
	struct sg_table *sgt = dma_buf_map_attachment(attach, DMA_BIDIRECTIONAL);
	int count;

	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	count = sgt->orig_nents;
	dma_buf_unmap_attachment(attach, sgt, DMA_BIDIRECTIONAL);
	return count;
}

static struct dma_buf_interconnect_attachment *
bench_ic_attach_to(struct dma_buf *dmabuf, struct device *dev)
{
	const struct dma_buf_iov_importer iov = {
		.base.type = &dma_buf_iov_type,
		.bar = HLRS_BAR_LMEM,
	};
	const struct dma_buf_sgt_interconnect sgt = { .base.type = &dma_buf_sgt_type };
	const struct dma_buf_interconnect *const ics[] = { &iov.base, &sgt.base };

	return dma_buf_interconnect_attach(dmabuf, dev, &bench_ic_importer, NULL, ics,
					   ARRAY_SIZE(ics));
}

/* -- Mapping --------------------------------------------------------------------------- */

static int bench_map_rounds(struct drm_bench_ic_map *args, struct dma_buf *dmabuf,
			    struct dma_buf_interconnect_attachment *ica,
			    const struct bench_xa_buffer *buffer,
			    struct dma_buf_attachment *attach)
{
	u64 start = 0;
	int ret = 0;
	u32 round;

	for (round = 0; ret >= 0 && round <= args->rounds; round++) {
		/* The first one warms up. */
		if (round == 1)
			start = ktime_get_ns();

		dma_resv_lock(dmabuf->resv, NULL);
		if (buffer)
			ret = bench_round_xa(buffer);
		else if (ica)
			ret = bench_round_iov(ica);
		else
			ret = bench_round_sgt(attach);
		dma_resv_unlock(dmabuf->resv);

		if (fatal_signal_pending(current))
			ret = -EINTR;
	}
	if (ret < 0)
		return ret;
	args->ns = ktime_get_ns() - start;
	args->count = ret;
	return 0;
}

static int bench_map_negotiated(struct drm_bench_ic_map *args, struct dma_buf *dmabuf,
				struct device *dev)
{
	struct dma_buf_interconnect_attachment *ica = bench_ic_attach_to(dmabuf, dev);
	struct bench_xa_buffer *buffer = NULL;
	int ret = -EOPNOTSUPP;

	if (IS_ERR(ica))
		return PTR_ERR(ica);
	if (!to_dma_buf_iov_match(ica))
		goto detach;

	if (args->form == DRM_BENCH_IC_XARRAY) {
		buffer = bench_xa_buffer(ica);
		if (IS_ERR(buffer)) {
			ret = PTR_ERR(buffer);
			goto detach;
		}
	}
	ret = bench_map_rounds(args, dmabuf, ica, buffer, NULL);
	kvfree(buffer);
detach:
	dma_buf_interconnect_detach(ica);
	return ret;
}

static int bench_map_sgt(struct drm_bench_ic_map *args, struct dma_buf *dmabuf,
			 struct device *dev)
{
	struct dma_buf_attachment *attach;
	int ret;

	attach = dma_buf_dynamic_attach(dmabuf, dev, &bench_attach_ops, dmabuf);
	if (IS_ERR(attach))
		return PTR_ERR(attach);
	ret = bench_map_rounds(args, dmabuf, NULL, NULL, attach);
	dma_buf_detach(dmabuf, attach);
	return ret;
}

int bench_ic_map(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_bench_ic_map *args = data;
	struct dma_buf *dmabuf;
	struct pci_dev *pdev;
	int ret;

	if (!args->rounds || args->form > DRM_BENCH_IC_SGT)
		return -EINVAL;
	dmabuf = dma_buf_get(args->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	pdev = bench_device(args->importer);
	if (!pdev) {
		ret = -ENXIO;
		goto put_dmabuf;
	}
	if (args->form == DRM_BENCH_IC_SGT)
		ret = bench_map_sgt(args, dmabuf, &pdev->dev);
	else
		ret = bench_map_negotiated(args, dmabuf, &pdev->dev);
	pci_dev_put(pdev);
put_dmabuf:
	dma_buf_put(dmabuf);
	return ret;
}

/* -- Attaching ------------------------------------------------------------------------- */

static int bench_attach_once(struct dma_buf *dmabuf, struct device *dev, bool negotiate)
{
	struct dma_buf_interconnect_attachment *ica;
	struct dma_buf_attachment *attach;

	if (negotiate) {
		ica = bench_ic_attach_to(dmabuf, dev);
		if (IS_ERR(ica))
			return PTR_ERR(ica);
		dma_buf_interconnect_detach(ica);
	} else {
		attach = dma_buf_dynamic_attach(dmabuf, dev, &bench_attach_ops, dmabuf);
		if (IS_ERR(attach))
			return PTR_ERR(attach);
		dma_buf_detach(dmabuf, attach);
	}
	return 0;
}

int bench_ic_attach(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_bench_ic_attach *args = data;
	struct dma_buf *dmabuf;
	struct pci_dev *pdev;
	u64 start = 0;
	int ret = 0;
	u32 round;

	dmabuf = dma_buf_get(args->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	pdev = bench_device(args->importer);
	if (!pdev) {
		ret = -ENXIO;
		goto put_dmabuf;
	}
	for (round = 0; !ret && round <= args->rounds; round++) {
		/* The first one warms up. */
		if (round == 1)
			start = ktime_get_ns();
		ret = bench_attach_once(dmabuf, &pdev->dev, args->negotiate);
		if (fatal_signal_pending(current))
			ret = -EINTR;
	}
	args->ns = ktime_get_ns() - start;
	pci_dev_put(pdev);
put_dmabuf:
	dma_buf_put(dmabuf);
	return ret;
}
