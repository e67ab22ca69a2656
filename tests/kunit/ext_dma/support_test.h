/* SPDX-License-Identifier: GPL-2.0 */
#ifndef EXT_DMA_TEST_SUPPORT_H
#define EXT_DMA_TEST_SUPPORT_H

#include <linux/types.h>

struct device;
struct dma_buf_attachment;

void ext_dma_test_skip(const char *reason);
void ext_dma_test_flush_files(void);
void ext_dma_test_enable_dma(struct device *dev);
bool ext_dma_test_translates(struct device *dev);
u64 ext_dma_test_resolve(struct device *dev, u64 addr);
u32 ext_dma_test_set_max_segment(struct device *dev, u32 size);
u64 ext_dma_test_set_boundary(struct device *dev, u64 boundary);
u64 ext_dma_test_set_mask(struct device *dev, u64 mask);
int ext_dma_test_phys_vec_to_sgt(struct dma_buf_attachment *attachment,
				 struct device *provider, int bar, u64 start,
				 size_t len, u64 *addr);

#endif /* EXT_DMA_TEST_SUPPORT_H */
