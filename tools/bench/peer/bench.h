/* SPDX-License-Identifier: GPL-2.0 */
/* Inside the benchmark peer. */
#ifndef HLRS_BENCH_H
#define HLRS_BENCH_H

#include <linux/types.h>

struct dma_buf_attach_ops;
struct drm_device;
struct drm_file;
struct pci_dev;

/* An importer that never has anything to let go of when it is told to. */
extern const struct dma_buf_attach_ops bench_attach_ops;

/* The function at an address as ioctls take it, with a reference; NULL if there is none. */
struct pci_dev *bench_device(u32 address);

int bench_export(struct drm_device *drm, void *data, struct drm_file *file);
int bench_map(struct drm_device *drm, void *data, struct drm_file *file);
int bench_store(struct drm_device *drm, void *data, struct drm_file *file);
int bench_hurry(struct drm_device *drm, void *data, struct drm_file *file);

int bench_ic_map(struct drm_device *drm, void *data, struct drm_file *file);
int bench_ic_attach(struct drm_device *drm, void *data, struct drm_file *file);

int bench_interconnect_init(void);
void bench_interconnect_exit(void);
int bench_submit_init(void);
void bench_submit_exit(void);

#endif /* HLRS_BENCH_H */
