/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Files of a DRM accel device and memory of a process, for tests that run in
 * the kernel. Used by Rust code, see files.rs.
 */
#ifndef EXT_DRM_TEST_FILES_H
#define EXT_DRM_TEST_FILES_H

#include <linux/types.h>

struct device;
struct drm_device;
struct file;

struct file *ext_drm_test_open(struct drm_device *dev);
long ext_drm_test_ioctl(struct file *file, unsigned int cmd, void *arg, size_t size);
void ext_drm_test_fdinfo(struct file *file, char *buf, size_t size);
long ext_drm_test_mmap(struct file *file, size_t len, bool write, bool shared, u64 offset);
void ext_drm_test_munmap(unsigned long addr, size_t len);
int ext_drm_test_peek(unsigned long addr, u64 *val);
int ext_drm_test_poke(unsigned long addr, u64 val);
void ext_drm_test_enable_dma(struct device *dev);
phys_addr_t ext_drm_test_phys(void *addr);
bool ext_drm_test_dirty(unsigned long pfn);

#endif
