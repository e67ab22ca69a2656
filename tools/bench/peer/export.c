// SPDX-License-Identifier: GPL-2.0
/*
 * The least that an exporter can do: a dma-buf whose operations are empty, and
 * a descriptor for it. Nobody can map it.
 */
#include <linux/dma-buf.h>
#include <linux/fcntl.h>
#include <linux/module.h>

#include "bench.h"
#include "hlrs_bench_peer.h"

MODULE_IMPORT_NS("DMA_BUF");

static struct sg_table *empty_map(struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void empty_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
			enum dma_data_direction dir)
{
}

static void empty_release(struct dma_buf *dmabuf)
{
}

static const struct dma_buf_ops empty_ops = {
	.map_dma_buf = empty_map,
	.unmap_dma_buf = empty_unmap,
	.release = empty_release,
};

int bench_export(struct drm_device *drm, void *data, struct drm_file *file)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp_info);
	struct drm_bench_export *args = data;
	struct dma_buf *dmabuf;
	int fd;

	if (args->fd_flags & ~(O_CLOEXEC | O_ACCMODE) || !PAGE_ALIGNED(args->size) || !args->size)
		return -EINVAL;

	exp_info.ops = &empty_ops;
	exp_info.size = args->size;
	exp_info.flags = args->fd_flags & O_ACCMODE;
	/* The core wants some. */
	exp_info.priv = drm;

	dmabuf = dma_buf_export(&exp_info);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	fd = dma_buf_fd(dmabuf, args->fd_flags & O_CLOEXEC);
	if (fd < 0) {
		dma_buf_put(dmabuf);
		return fd;
	}
	args->fd = fd;
	return 0;
}
