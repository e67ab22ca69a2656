// SPDX-License-Identifier: GPL-2.0
/*
 * What drivers in C can get wrong: arguments that Rust's types rule out, and an
 * exporter that keeps what it was told of an attachment that it refuses.
 */
#include <linux/dma-buf.h>
#include <linux/dma-buf-interconnect.h>
#include <linux/dma-resv.h>
#include <linux/fcntl.h>
#include <linux/module.h>

#include "support_test.h"

static const struct dma_buf_interconnect_type nameless = { .owner = THIS_MODULE };
static const struct dma_buf_interconnect_type named = { .owner = THIS_MODULE, .name = "arguments" };

/* What the exporter was told by the attachment that it refused. */
static struct dma_buf_interconnect_attachment *kept;

static int arguments_match(struct dma_buf *dmabuf,
			   struct dma_buf_interconnect_negotiation *negotiation)
{
	const struct dma_buf_interconnect first = { .type = &nameless };
	const struct dma_buf_interconnect second = { .type = &named };
	const struct dma_buf_interconnect *const ics[] = { &first, &second };

	if (dma_buf_match_interconnects(negotiation, NULL, 1) != -EINVAL)
		return -EXDEV;
	if (dma_buf_match_interconnects(negotiation, NULL, 0) != -DMA_BUF_INTERCONNECT_ENOMATCH)
		return -EXDEV;
	return dma_buf_match_interconnects(negotiation, ics, ARRAY_SIZE(ics));
}

static int arguments_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	kept = dma_buf_interconnect_attachment(attach);
	if (kept)
		dma_buf_interconnect_get(kept);
	return -EACCES;
}

static struct sg_table *arguments_map(struct dma_buf_attachment *attach,
				      enum dma_data_direction direction)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void arguments_unmap(struct dma_buf_attachment *attach, struct sg_table *table,
			    enum dma_data_direction direction)
{
}

static void arguments_release(struct dma_buf *dmabuf)
{
}

static const struct dma_buf_interconnect_exporter exporter = {
	.base = {
		.attach = arguments_attach,
		.map_dma_buf = arguments_map,
		.unmap_dma_buf = arguments_unmap,
		.release = arguments_release,
	},
	.owner = THIS_MODULE,
	.match_interconnects = arguments_match,
};

static void arguments_invalidate(struct dma_buf_attachment *attach)
{
}

static const struct dma_buf_interconnect_importer importer = {
	.base.invalidate_mappings = arguments_invalidate,
	.owner = THIS_MODULE,
	.name = "arguments",
};

static long attach_with(struct dma_buf *dmabuf, struct device *dev,
			const struct dma_buf_interconnect_type *type, unsigned int num)
{
	const struct dma_buf_interconnect side = { .type = type };
	const struct dma_buf_interconnect *const ics[] = { &side };

	/* Nothing here succeeds. */
	return PTR_ERR(dma_buf_interconnect_attach(dmabuf, dev, &importer, NULL, type ? ics : NULL,
						   num));
}

/* These return 0, or the line of the check that has failed. */
static int check_registration(void)
{
	static const struct dma_buf_interconnect_importer no_name = { .owner = THIS_MODULE };
	static const struct dma_buf_interconnect_exporter no_match = { .owner = THIS_MODULE };

	if (dma_buf_interconnect_register_importer(NULL) != -EINVAL)
		return __LINE__;
	if (dma_buf_interconnect_register_importer(&no_name) != -EINVAL)
		return __LINE__;
	if (dma_buf_interconnect_register_exporter(NULL) != -EINVAL)
		return __LINE__;
	if (dma_buf_interconnect_register_exporter(&no_match) != -EINVAL)
		return __LINE__;
	return 0;
}

static int check_attach(struct dma_buf *dmabuf, struct device *dev)
{
	int ret;

	if (attach_with(NULL, dev, &named, 1) != -EINVAL)
		return __LINE__;
	if (attach_with(dmabuf, NULL, &named, 1) != -EINVAL)
		return __LINE__;
	if (attach_with(dmabuf, dev, NULL, 1) != -EINVAL)
		return __LINE__;
	if (attach_with(dmabuf, dev, NULL, 0) != -DMA_BUF_INTERCONNECT_ENOMATCH)
		return __LINE__;
	/* debugfs could not name it. */
	if (attach_with(dmabuf, dev, &nameless, 1) != -EINVAL)
		return __LINE__;
	if (kept)
		return __LINE__;

	if (attach_with(dmabuf, dev, &named, 1) != -EACCES)
		return __LINE__;
	if (!kept)
		return __LINE__;
	/* The ordinary attachment has been freed. */
	if (kept->attach)
		return __LINE__;
	dma_resv_lock(dmabuf->resv, NULL);
	ret = dma_buf_interconnect_begin_map(kept, &named);
	dma_resv_unlock(dmabuf->resv);
	if (ret != -ENODEV)
		return __LINE__;
	return 0;
}

int ext_ic_test_arguments(struct device *dev)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;
	int ret;

	ret = check_registration();
	if (ret)
		return ret;

	info.ops = &exporter.base;
	info.size = PAGE_SIZE;
	info.flags = O_RDWR;
	info.priv = dev;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	kept = NULL;
	ret = dma_buf_interconnect_register_exporter(&exporter);
	if (ret)
		goto put;
	/* Not before it is registered. */
	ret = attach_with(dmabuf, dev, &named, 1) == -EINVAL ? 0 : __LINE__;
	if (!ret)
		ret = dma_buf_interconnect_register_importer(&importer);
	if (!ret)
		ret = check_attach(dmabuf, dev);
	if (kept)
		dma_buf_interconnect_put(kept);
	dma_buf_interconnect_unregister_importer(&importer);
	dma_buf_interconnect_unregister_exporter(&exporter);
put:
	dma_buf_put(dmabuf);
	return ret;
}
