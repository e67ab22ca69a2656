// SPDX-License-Identifier: GPL-2.0
/*
 * A type of two drivers, in a module of its own, as if it belonged to a fabric
 * that both are on.
 */
#include <linux/module.h>

#include "ic_test.h"

/* begin example */
static int ic_test_match(const struct dma_buf_interconnect_pair *pair)
{
	const struct ic_test_side *exporter, *importer;

	exporter = container_of_const(pair->exporter, struct ic_test_side, base);
	importer = container_of_const(pair->importer, struct ic_test_side, base);
	if (exporter->node != importer->node)
		return -EOPNOTSUPP;
	return exporter->answer;
}

static int ic_test_finish_match(const struct dma_buf_interconnect_pair *pair,
				struct dma_buf_interconnect_match *base)
{
	struct ic_test_match *match = container_of(base, struct ic_test_match, base);
	const struct ic_test_side *exporter;

	exporter = container_of_const(pair->exporter, struct ic_test_side, base);
	match->node = exporter->node;
	match->ops = exporter->ops;
	return 0;
}

const struct dma_buf_interconnect_type ic_test_type = {
	.name = "ic-test",
	.owner = THIS_MODULE,
	.match_size = sizeof(struct ic_test_match),
	.match = ic_test_match,
	.finish_match = ic_test_finish_match,
};
EXPORT_SYMBOL_GPL(ic_test_type);
/* end example */

int ic_test_type_references(void)
{
	return module_refcount(THIS_MODULE);
}
EXPORT_SYMBOL_GPL(ic_test_type_references);

MODULE_AUTHOR("hlrs developers");
MODULE_DESCRIPTION("Interconnect type for tests");
MODULE_LICENSE("GPL");
