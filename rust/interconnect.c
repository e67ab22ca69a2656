// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the functions of include/linux/dma-buf-interconnect.h, which are
 * implemented in rust/dma_buf/interconnect/.
 */
#include <linux/dma-buf-interconnect.h>
#include <linux/export.h>

EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_register_exporter, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_unregister_exporter, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_register_importer, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_unregister_importer, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_attach, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_detach, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_get, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_put, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_attachment, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_match_interconnects, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_begin_map, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_begin_unmap, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_end_unmap, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_mappings, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_buffer_init, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_buffer_map, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_buffer_unmap, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_revoke, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_restore, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_interconnect_for_each, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_sgt_type, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_sgt_map_interconnect, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_sgt_unmap_interconnect, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_iov_type, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_iov_ranges_alloc, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_iov_ranges_free, "DMA_BUF");
EXPORT_SYMBOL_NS_GPL(dma_buf_iov_ranges_check, "DMA_BUF");
