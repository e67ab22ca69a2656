/* SPDX-License-Identifier: GPL-2.0 */
/* Inside the benchmark peer. */
#ifndef HLRS_BENCH_H
#define HLRS_BENCH_H

struct drm_device;
struct drm_file;

int bench_export(struct drm_device *drm, void *data, struct drm_file *file);
int bench_map(struct drm_device *drm, void *data, struct drm_file *file);
int bench_store(struct drm_device *drm, void *data, struct drm_file *file);
int bench_hurry(struct drm_device *drm, void *data, struct drm_file *file);

int bench_submit_init(void);
void bench_submit_exit(void);

#endif /* HLRS_BENCH_H */
