// SPDX-License-Identifier: GPL-2.0
/*
 * An exporter that offers ic_test_type, and the scatterlist to everybody else.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "ic_test.h"

struct ic_test_buffer {
	struct dma_buf_interconnect_buffer state;
	struct ic_test_buffer_info info;
	struct page *page;
};

static struct sg_table *ic_test_map_dma_buf(struct dma_buf_attachment *attach,
					    enum dma_data_direction direction);
static void ic_test_unmap_dma_buf(struct dma_buf_attachment *attach, struct sg_table *table,
				  enum dma_data_direction direction);
static void ic_test_release(struct dma_buf *dmabuf);
static const struct dma_buf_interconnect_exporter ic_test_exporter;

static struct ic_test_windows *
ic_test_map_windows(struct dma_buf_interconnect_attachment *ica,
		    enum dma_data_direction direction)
{
	const struct ic_test_buffer *buffer = ica->dmabuf->priv;
	struct ic_test_windows *windows;
	u32 i;

	if (buffer->info.map_error)
		return ERR_PTR(buffer->info.map_error);

	windows = kvmalloc_flex(*windows, windows, buffer->info.windows);
	if (!windows)
		return ERR_PTR(-ENOMEM);

	windows->count = buffer->info.windows;
	windows->node = buffer->info.node;
	for (i = 0; i < windows->count; i++) {
		windows->windows[i].offset = (u64)i * PAGE_SIZE;
		windows->windows[i].len = PAGE_SIZE;
	}
	return windows;
}

static void ic_test_unmap_windows(struct dma_buf_interconnect_attachment *ica,
				  struct ic_test_windows *windows,
				  enum dma_data_direction direction)
{
	kvfree(windows);
}

/* begin example */
static const struct ic_test_ops ic_test_ops = {
	.map_interconnect = ic_test_map_windows,
	.unmap_interconnect = ic_test_unmap_windows,
};

static int ic_test_match_interconnects(struct dma_buf *dmabuf,
				       struct dma_buf_interconnect_negotiation *negotiation)
{
	const struct ic_test_buffer *buffer = dmabuf->priv;
	const struct ic_test_side own = {
		.base.type = &ic_test_type,
		.node = buffer->info.node,
		.ops = &ic_test_ops,
		.answer = buffer->info.match_error,
	};
	const struct dma_buf_sgt_interconnect sgt = { .base.type = &dma_buf_sgt_type };
	const struct dma_buf_interconnect *const ics[] = { &own.base, &sgt.base };

	return dma_buf_match_interconnects(negotiation, ics, ARRAY_SIZE(ics));
}

static struct dma_buf_interconnect_buffer *ic_test_state(struct dma_buf *dmabuf)
{
	struct ic_test_buffer *buffer = dmabuf->priv;

	return &buffer->state;
}

static const struct dma_buf_interconnect_exporter ic_test_exporter = {
	.base = {
		.map_dma_buf = ic_test_map_dma_buf,
		.unmap_dma_buf = ic_test_unmap_dma_buf,
		.release = ic_test_release,
	},
	.owner = THIS_MODULE,
	.match_interconnects = ic_test_match_interconnects,
	.buffer = ic_test_state,
};
/* end example */

static struct sg_table *ic_test_map_dma_buf(struct dma_buf_attachment *attach,
					    enum dma_data_direction direction)
{
	struct ic_test_buffer *buffer = attach->dmabuf->priv;
	struct sg_table *table;
	int ret;

	ret = dma_buf_interconnect_buffer_map(&buffer->state);
	if (ret)
		return ERR_PTR(ret);

	ret = -ENOMEM;
	table = kzalloc_obj(*table);
	if (!table)
		goto unmap;

	ret = sg_alloc_table_from_pages(table, &buffer->page, 1, 0, PAGE_SIZE, GFP_KERNEL);
	if (ret)
		goto free;

	ret = dma_map_sgtable(attach->dev, table, direction, 0);
	if (ret)
		goto free_table;
	return table;

free_table:
	sg_free_table(table);
free:
	kfree(table);
unmap:
	dma_buf_interconnect_buffer_unmap(&buffer->state);
	return ERR_PTR(ret);
}

static void ic_test_unmap_dma_buf(struct dma_buf_attachment *attach, struct sg_table *table,
				  enum dma_data_direction direction)
{
	struct ic_test_buffer *buffer = attach->dmabuf->priv;

	dma_unmap_sgtable(attach->dev, table, direction, 0);
	sg_free_table(table);
	kfree(table);
	dma_buf_interconnect_buffer_unmap(&buffer->state);
}

static void ic_test_release(struct dma_buf *dmabuf)
{
	struct ic_test_buffer *buffer = dmabuf->priv;

	__free_page(buffer->page);
	kfree(buffer);
}

/* Exports a buffer of a page. */
struct dma_buf *ic_test_export(const struct ic_test_buffer_info *info)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp_info);
	struct ic_test_buffer *buffer;
	struct dma_buf *dmabuf;

	buffer = kzalloc_obj(*buffer);
	if (!buffer)
		return ERR_PTR(-ENOMEM);
	buffer->info = *info;
	dma_buf_interconnect_buffer_init(&buffer->state);

	dmabuf = ERR_PTR(-ENOMEM);
	buffer->page = alloc_page(GFP_KERNEL);
	if (!buffer->page)
		goto free;

	exp_info.ops = &ic_test_exporter.base;
	exp_info.size = PAGE_SIZE;
	exp_info.flags = O_RDWR;
	exp_info.priv = buffer;
	dmabuf = dma_buf_export(&exp_info);
	if (!IS_ERR(dmabuf))
		return dmabuf;

	__free_page(buffer->page);
free:
	kfree(buffer);
	return dmabuf;
}
EXPORT_SYMBOL_GPL(ic_test_export);

int ic_test_revoke(struct dma_buf *dmabuf, unsigned int ms,
		   struct dma_buf_interconnect_left *left)
{
	struct ic_test_buffer *buffer = dmabuf->priv;

	return dma_buf_interconnect_revoke(dmabuf, &buffer->state, msecs_to_jiffies(ms), left);
}
EXPORT_SYMBOL_GPL(ic_test_revoke);

void ic_test_restore(struct dma_buf *dmabuf)
{
	struct ic_test_buffer *buffer = dmabuf->priv;

	dma_buf_interconnect_restore(dmabuf, &buffer->state);
}
EXPORT_SYMBOL_GPL(ic_test_restore);

static void ic_test_count(struct dma_buf_interconnect_attachment *ica, unsigned int mappings,
			  void *data)
{
	*(unsigned int *)data += mappings;
}

/* Mappings of all negotiated attachments. */
unsigned int ic_test_visit(struct dma_buf *dmabuf)
{
	unsigned int total = 0;

	dma_resv_lock(dmabuf->resv, NULL);
	dma_buf_interconnect_for_each(dmabuf, ic_test_count, &total);
	dma_resv_unlock(dmabuf->resv);
	return total;
}
EXPORT_SYMBOL_GPL(ic_test_visit);

int ic_test_exporter_references(void)
{
	return module_refcount(THIS_MODULE);
}
EXPORT_SYMBOL_GPL(ic_test_exporter_references);

/* Registers the exporter again, or undoes that. */
int ic_test_register_exporter(bool on)
{
	if (on)
		return dma_buf_interconnect_register_exporter(&ic_test_exporter);
	dma_buf_interconnect_unregister_exporter(&ic_test_exporter);
	return 0;
}
EXPORT_SYMBOL_GPL(ic_test_register_exporter);

static int __init ic_test_init(void)
{
	return ic_test_register_exporter(true);
}

static void __exit ic_test_exit(void)
{
	ic_test_register_exporter(false);
}

module_init(ic_test_init);
module_exit(ic_test_exit);

MODULE_AUTHOR("hlrs developers");
MODULE_DESCRIPTION("Exporter with an interconnect of its own, for tests");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
