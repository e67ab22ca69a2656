// SPDX-License-Identifier: GPL-2.0
/*
 * An importer that knows the type of ic_test_exporter and the scatterlist.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "ic_test.h"

/* What is mapped is protected by the reservation lock. */
struct ic_test_importer {
	struct dma_buf *dmabuf;
	bool unmaps;
	unsigned int first; /* of what it knows, and how much of that */
	unsigned int num;
	struct dma_buf_attachment *plain; /* or: */
	struct dma_buf_interconnect_attachment *ica;
	struct sg_table *table;
	struct ic_test_windows *windows;
};

static void ic_test_unmap_locked(struct ic_test_importer *importer)
{
	if (importer->windows)
		ic_test_unmap_interconnect(importer->ica, importer->windows, DMA_TO_DEVICE);
	else if (importer->table && importer->plain)
		dma_buf_unmap_attachment(importer->plain, importer->table, DMA_TO_DEVICE);
	else if (importer->table)
		dma_buf_sgt_unmap_interconnect(importer->ica, importer->table, DMA_TO_DEVICE);
	importer->windows = NULL;
	importer->table = NULL;
}

static void ic_test_invalidate(struct dma_buf_attachment *attach)
{
	struct dma_buf_interconnect_attachment *ica = dma_buf_interconnect_attachment(attach);
	struct ic_test_importer *importer = ica->importer_priv;

	if (importer->unmaps)
		ic_test_unmap_locked(importer);
}

/* begin example */
static const struct dma_buf_interconnect_importer ic_test_importer_ops = {
	.base.invalidate_mappings = ic_test_invalidate,
	.owner = THIS_MODULE,
	.name = "ic-test-importer",
};

static struct dma_buf_interconnect_attachment *
ic_test_negotiate(struct ic_test_importer *importer, struct device *dev, u32 node)
{
	const struct ic_test_side own = { .base.type = &ic_test_type, .node = node };
	const struct dma_buf_sgt_interconnect sgt = { .base.type = &dma_buf_sgt_type };
	const struct dma_buf_interconnect *const ics[] = { &own.base, &sgt.base };

	/* Tests leave out one or the other. */
	return dma_buf_interconnect_attach(importer->dmabuf, dev, &ic_test_importer_ops, importer,
					   ics + importer->first, importer->num);
}

static int ic_test_map_own(struct ic_test_importer *importer, u64 *sum)
{
	struct ic_test_windows *windows;
	u32 i;

	windows = ic_test_map_interconnect(importer->ica, DMA_TO_DEVICE);
	if (IS_ERR(windows))
		return PTR_ERR(windows);

	importer->windows = windows;
	*sum = windows->node;
	for (i = 0; i < windows->count; i++)
		*sum += windows->windows[i].offset;
	return 0;
}
/* end example */

struct ic_test_importer *ic_test_attach(struct dma_buf *dmabuf, struct device *dev,
					enum ic_test_kind kind, u32 node, bool unmaps)
{
	struct ic_test_importer *importer;
	int ret;

	importer = kzalloc_obj(*importer);
	if (!importer)
		return ERR_PTR(-ENOMEM);
	importer->dmabuf = dmabuf;
	importer->unmaps = unmaps;
	importer->first = kind == IC_TEST_SGT_ONLY ? 1 : 0;
	importer->num = kind == IC_TEST_OWN_AND_SGT ? 2 : 1;

	if (kind == IC_TEST_PLAIN) {
		importer->plain = dma_buf_attach(dmabuf, dev);
		ret = PTR_ERR_OR_ZERO(importer->plain);
	} else {
		importer->ica = ic_test_negotiate(importer, dev, node);
		ret = PTR_ERR_OR_ZERO(importer->ica);
	}
	if (ret) {
		kfree(importer);
		return ERR_PTR(ret);
	}
	return importer;
}
EXPORT_SYMBOL_GPL(ic_test_attach);

static int ic_test_map_sgt(struct ic_test_importer *importer, u64 *sum)
{
	struct scatterlist *sg;
	struct sg_table *table;
	int i;

	if (importer->plain)
		table = dma_buf_map_attachment(importer->plain, DMA_TO_DEVICE);
	else
		table = dma_buf_sgt_map_interconnect(importer->ica, DMA_TO_DEVICE);
	if (IS_ERR(table))
		return PTR_ERR(table);

	importer->table = table;
	*sum = 0;
	for_each_sgtable_dma_sg(table, sg, i)
		*sum += sg_dma_len(sg);
	return 0;
}

/*
 * Maps. @sum is the sum of the lengths of a scatterlist, or the node plus the
 * sum of the offsets of windows.
 */
int ic_test_map(struct ic_test_importer *importer, u64 *sum)
{
	int ret;

	dma_resv_lock(importer->dmabuf->resv, NULL);
	if (importer->ica && importer->ica->match->type == &ic_test_type)
		ret = ic_test_map_own(importer, sum);
	else
		ret = ic_test_map_sgt(importer, sum);
	dma_resv_unlock(importer->dmabuf->resv);
	return ret;
}
EXPORT_SYMBOL_GPL(ic_test_map);

void ic_test_unmap(struct ic_test_importer *importer)
{
	dma_resv_lock(importer->dmabuf->resv, NULL);
	ic_test_unmap_locked(importer);
	dma_resv_unlock(importer->dmabuf->resv);
}
EXPORT_SYMBOL_GPL(ic_test_unmap);

void ic_test_detach(struct ic_test_importer *importer)
{
	ic_test_unmap(importer);
	if (importer->plain)
		dma_buf_detach(importer->dmabuf, importer->plain);
	else
		dma_buf_interconnect_detach(importer->ica);
	kfree(importer);
}
EXPORT_SYMBOL_GPL(ic_test_detach);

int ic_test_importer_references(void)
{
	return module_refcount(THIS_MODULE);
}
EXPORT_SYMBOL_GPL(ic_test_importer_references);

/* Registers the importer again, or undoes that. */
int ic_test_register_importer(bool on)
{
	if (on)
		return dma_buf_interconnect_register_importer(&ic_test_importer_ops);
	dma_buf_interconnect_unregister_importer(&ic_test_importer_ops);
	return 0;
}
EXPORT_SYMBOL_GPL(ic_test_register_importer);

static int __init ic_test_init(void)
{
	return ic_test_register_importer(true);
}

static void __exit ic_test_exit(void)
{
	ic_test_register_importer(false);
}

module_init(ic_test_init);
module_exit(ic_test_exit);

MODULE_AUTHOR("hlrs developers");
MODULE_DESCRIPTION("Importer that negotiates, for tests");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
