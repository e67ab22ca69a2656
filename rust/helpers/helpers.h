/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Out-of-line versions of inline functions and macros of the kernel, which Rust
 * cannot call. The crate ext_bindings sees them without the prefix.
 */
#ifndef EXT_HELPERS_H
#define EXT_HELPERS_H

#include <drm/drm_gem.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_syncobj.h>
#include <drm/gpu_scheduler.h>
#include <linux/devcoredump.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include <linux/wait.h>

void ext_helper_dev_coredumpv(struct device *dev, void *data, size_t datalen,
			      gfp_t gfp);
void ext_helper_dev_coredumpm_timeout(struct device *dev, struct module *owner,
				      void *data, size_t datalen, gfp_t gfp,
				      ssize_t (*read)(char *buffer, loff_t offset,
						      size_t count, void *data,
						      size_t datalen),
				      void (*free)(void *data),
				      unsigned long timeout);
void ext_helper_dev_coredump_put(struct device *dev);

void ext_helper_get_dma_buf(struct dma_buf *dmabuf);

void ext_helper_dma_fence_get(struct dma_fence *fence);
void ext_helper_dma_fence_put(struct dma_fence *fence);
bool ext_helper_dma_fence_is_signaled(struct dma_fence *fence);
bool ext_helper_dma_fence_begin_signalling(void);
void ext_helper_dma_fence_end_signalling(bool cookie);

int ext_helper_dma_mapping_error(struct device *dev, dma_addr_t addr);
bool ext_helper_dma_is_direct(struct device *dev);
unsigned int ext_helper_dma_get_max_seg_size(struct device *dev);
void ext_helper_dma_get_limits(struct device *dev, unsigned int *max_seg_size,
			       unsigned long *seg_boundary, u64 *mask);

int ext_helper_dma_resv_lock(struct dma_resv *obj, struct ww_acquire_ctx *ctx);
int ext_helper_dma_resv_lock_interruptible(struct dma_resv *obj,
					   struct ww_acquire_ctx *ctx);
void ext_helper_dma_resv_lock_slow(struct dma_resv *obj,
				   struct ww_acquire_ctx *ctx);
bool ext_helper_dma_resv_trylock(struct dma_resv *obj);
void ext_helper_dma_resv_unlock(struct dma_resv *obj);
void ext_helper_dma_resv_assert_held(struct dma_resv *obj);
struct ww_acquire_ctx *ext_helper_dma_resv_locking_ctx(struct dma_resv *obj);
void ext_helper_dma_resv_acquire_init(struct ww_acquire_ctx *ctx);
void ext_helper_dma_resv_acquire_fini(struct ww_acquire_ctx *ctx);

long ext_helper_file_count(struct file *file);

void *ext_helper_ioremap_wc(phys_addr_t offset, size_t size);
void ext_helper_iounmap(void *addr);
void *ext_helper_vmap_pfn_wc(unsigned long *pfns, unsigned int count);
void *ext_helper_vmap_pages(struct page **pages, unsigned int count);
void ext_helper_vunmap(const void *addr);

void ext_helper_drm_gem_object_get(struct drm_gem_object *obj);
void ext_helper_drm_gem_object_put(struct drm_gem_object *obj);
bool ext_helper_drm_gem_object_get_unless_zero(struct drm_gem_object *obj);
bool ext_helper_drm_gem_object_is_alive(struct drm_gem_object *obj);

struct drm_gpuvm_bo *ext_helper_drm_gpuvm_bo_get(struct drm_gpuvm_bo *vm_bo);

void ext_helper_drm_dbg_args_ratelimited(struct drm_device *dev, const void *args);

void ext_helper_drm_sched_entity_kill_wake(struct drm_sched_entity *entity);
void ext_helper_drm_sched_entity_fini_held(struct drm_sched_entity *entity);
long ext_helper_drm_sched_entity_wait(struct drm_sched_entity *entity,
				      unsigned long timeout);

void ext_helper_drm_syncobj_get(struct drm_syncobj *obj);
void ext_helper_drm_syncobj_put(struct drm_syncobj *obj);
struct dma_fence *ext_helper_drm_syncobj_fence_get(struct drm_syncobj *syncobj);

unsigned long ext_helper_page_to_pfn(const struct page *page);
pgprot_t ext_helper_pgprot_decrypted(pgprot_t prot);
unsigned long ext_helper_totalram_pages(void);
void ext_helper_vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags);
bool ext_helper_vma_is_cow_mapping(const struct vm_area_struct *vma);

int ext_helper_pci_dev_domain_nr(struct pci_dev *dev);
struct pci_dev *ext_helper_pci_upstream_bridge(struct pci_dev *dev);
struct pci_dev *ext_helper_pci_physfn(struct pci_dev *dev);

void ext_helper_get_current_comm(char name[TASK_COMM_LEN]);

void *ext_helper_kmalloc(size_t size);

void ext_helper_drm_vma_node_unmap(struct drm_vma_offset_node *node,
				   struct address_space *file_mapping);
u64 ext_helper_drm_vma_node_offset_addr(struct drm_vma_offset_node *node);

int ext_helper_vfio_check_feature(u32 flags, size_t argsz, u32 supported_ops,
				  size_t minsz);
void ext_helper_vfio_put_device(struct vfio_device *device);
void *ext_helper_vfio_pci_core_get_iomap(struct vfio_pci_core_device *vdev,
					 unsigned int bar);

void ext_helper_init_waitqueue_head(wait_queue_head_t *wq);
void ext_helper_wake_up_all(wait_queue_head_t *wq);
long ext_helper_wait_until_zero(wait_queue_head_t *wq, atomic_t *value,
				long timeout);

#endif /* EXT_HELPERS_H */
