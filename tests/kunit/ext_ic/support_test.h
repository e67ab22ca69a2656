/* SPDX-License-Identifier: GPL-2.0 */
#ifndef EXT_IC_SUPPORT_TEST_H
#define EXT_IC_SUPPORT_TEST_H

#include <linux/types.h>

struct device;
struct dma_buf;
struct pci_dev;

void ext_ic_test_skip(const char *reason);
void ext_ic_test_flush_files(void);
void ext_ic_test_enable_dma(struct device *dev);
ssize_t ext_ic_test_read(const char *path, char *buf, size_t size);
void ext_ic_test_disable_sriov(struct pci_dev *pdev);
struct dma_buf *ext_ic_test_udmabuf(void);
struct dma_buf *ext_ic_test_heap(void);
struct dma_buf *ext_ic_test_vgem(void);
int ext_ic_test_arguments(struct device *dev);

#endif /* EXT_IC_SUPPORT_TEST_H */
