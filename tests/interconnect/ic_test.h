/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IC_TEST_H
#define IC_TEST_H

#include <linux/dma-buf-interconnect.h>

/* -- What exporter and importer share: a type of their own --------------------- */

/* A window of a node. */
struct ic_test_window {
	u64 offset;
	u64 len;
};

/* A mapping. */
struct ic_test_windows {
	u32 node;
	u32 count;
	struct ic_test_window windows[] __counted_by(count);
};

struct ic_test_ops {
	struct ic_test_windows *(*map_interconnect)(struct dma_buf_interconnect_attachment *ica,
						    enum dma_data_direction direction);
	void (*unmap_interconnect)(struct dma_buf_interconnect_attachment *ica,
				   struct ic_test_windows *windows,
				   enum dma_data_direction direction);
};

/* Either side. The importer has no operations and gives no answer for two sides of one node. */
struct ic_test_side {
	struct dma_buf_interconnect base;
	u32 node;
	int answer;
	const struct ic_test_ops *ops;
};

struct ic_test_match {
	struct dma_buf_interconnect_match base;
	u32 node;
	const struct ic_test_ops *ops;
};

extern const struct dma_buf_interconnect_type ic_test_type;

DEFINE_DMA_BUF_INTERCONNECT_MAP(ic_test, &ic_test_type, struct ic_test_match,
				struct ic_test_windows)

/* -- For the tests --------------------------------------------------------------- */

/**
 * struct ic_test_buffer_info - how a buffer is exported
 * @node: of its windows
 * @windows: number of windows
 * @match_error: what the match of the type returns, 0 to compare the nodes
 * @map_error: what a map returns, 0 to map
 */
struct ic_test_buffer_info {
	u32 node;
	u32 windows;
	s32 match_error;
	s32 map_error;
};

struct dma_buf *ic_test_export(const struct ic_test_buffer_info *info);
int ic_test_revoke(struct dma_buf *dmabuf, unsigned int ms,
		   struct dma_buf_interconnect_left *left);
void ic_test_restore(struct dma_buf *dmabuf);
unsigned int ic_test_visit(struct dma_buf *dmabuf);

struct ic_test_importer;

/**
 * enum ic_test_kind - what the importer knows
 * @IC_TEST_OWN_ONLY: the type of the tests only
 * @IC_TEST_OWN_AND_SGT: that and the scatterlist
 * @IC_TEST_SGT_ONLY: the scatterlist only
 * @IC_TEST_PLAIN: dma_buf_attach()
 */
enum ic_test_kind {
	IC_TEST_OWN_ONLY,
	IC_TEST_OWN_AND_SGT,
	IC_TEST_SGT_ONLY,
	IC_TEST_PLAIN,
};

struct ic_test_importer *ic_test_attach(struct dma_buf *dmabuf, struct device *dev,
					enum ic_test_kind kind, u32 node, bool unmaps);
int ic_test_map(struct ic_test_importer *importer, u64 *sum);
void ic_test_unmap(struct ic_test_importer *importer);
void ic_test_detach(struct ic_test_importer *importer);

/* What a module does when it is loaded and unloaded, in between. */
int ic_test_register_exporter(bool on);
int ic_test_register_importer(bool on);

int ic_test_exporter_references(void);
int ic_test_importer_references(void);
int ic_test_type_references(void);

#endif /* IC_TEST_H */
