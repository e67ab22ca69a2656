// SPDX-License-Identifier: GPL-2.0
/*
 * What "make bench" compares the driver with: an accel device without hardware
 * whose buffers are a GEM object and blocks of the GPU buddy allocator, and
 * nothing else. It is as short as a driver can be that goes the same way
 * through the DRM core. It also exports dma-bufs, with nothing behind them,
 * imports those of others in several ways, and stores into memory of the
 * accelerator. For jobs there is another driver, see submit.c.
 */
#include <drm/drm_accel.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <linux/device/faux.h>
#include <linux/gpu_buddy.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include "bench.h"
#include "hlrs_bench_peer.h"

struct bench_device {
	struct drm_device drm;
	struct gpu_buddy mm;
	struct mutex lock; /* protects mm */
};

struct bench_object {
	struct drm_gem_object base;
	struct list_head blocks;
};

static struct bench_device *bench;
static struct faux_device *parent;

static void bench_free(struct drm_gem_object *obj)
{
	struct bench_object *buffer = container_of(obj, struct bench_object, base);

	mutex_lock(&bench->lock);
	gpu_buddy_free_list(&bench->mm, &buffer->blocks, 0);
	mutex_unlock(&bench->lock);
	drm_gem_object_release(obj);
	kfree(buffer);
}

static const struct drm_gem_object_funcs bench_funcs = {
	.free = bench_free,
};

static int bench_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_bench_create *args = data;
	struct bench_object *buffer;
	int ret;

	if (!args->size || args->size % SZ_4K || args->size > bench->mm.size)
		return -EINVAL;

	buffer = kzalloc_obj(*buffer);
	if (!buffer)
		return -ENOMEM;
	INIT_LIST_HEAD(&buffer->blocks);
	buffer->base.funcs = &bench_funcs;

	mutex_lock(&bench->lock);
	ret = gpu_buddy_alloc_blocks(&bench->mm, 0, bench->mm.size, args->size, SZ_4K,
				     &buffer->blocks, 0);
	mutex_unlock(&bench->lock);
	if (ret) {
		kfree(buffer);
		return ret;
	}

	drm_gem_private_object_init(drm, &buffer->base, args->size);
	ret = drm_gem_handle_create(file, &buffer->base, &args->handle);
	drm_gem_object_put(&buffer->base);
	return ret;
}

static const struct drm_ioctl_desc bench_ioctls[] = {
	{
		.cmd = DRM_IOCTL_BENCH_CREATE,
		.func = bench_create,
		.name = "BENCH_CREATE",
	},
	{
		.cmd = DRM_IOCTL_BENCH_EXPORT,
		.func = bench_export,
		.name = "BENCH_EXPORT",
	},
	{
		.cmd = DRM_IOCTL_BENCH_MAP,
		.func = bench_map,
		.flags = DRM_ROOT_ONLY,
		.name = "BENCH_MAP",
	},
	{
		.cmd = DRM_IOCTL_BENCH_STORE,
		.func = bench_store,
		.flags = DRM_ROOT_ONLY,
		.name = "BENCH_STORE",
	},
	{
		.cmd = DRM_IOCTL_BENCH_HURRY,
		.func = bench_hurry,
		.flags = DRM_ROOT_ONLY,
		.name = "BENCH_HURRY",
	},
	{
		.cmd = DRM_IOCTL_BENCH_IC_MAP,
		.func = bench_ic_map,
		.flags = DRM_ROOT_ONLY,
		.name = "BENCH_IC_MAP",
	},
	{
		.cmd = DRM_IOCTL_BENCH_IC_ATTACH,
		.func = bench_ic_attach,
		.flags = DRM_ROOT_ONLY,
		.name = "BENCH_IC_ATTACH",
	},
};

DEFINE_DRM_ACCEL_FOPS(bench_fops);

static const struct drm_driver bench_driver = {
	.driver_features = DRIVER_COMPUTE_ACCEL | DRIVER_GEM,
	.fops = &bench_fops,
	.ioctls = bench_ioctls,
	.num_ioctls = ARRAY_SIZE(bench_ioctls),
	.name = "hlrs-bench-peer",
	.desc = "peer of the hlrs benchmarks",
	.major = 1,
};

static int __init bench_init(void)
{
	int ret;

	parent = faux_device_create("hlrs-bench-peer", NULL, NULL);
	if (!parent)
		return -ENODEV;

	bench = devm_drm_dev_alloc(&parent->dev, &bench_driver, struct bench_device, drm);
	if (IS_ERR(bench)) {
		ret = PTR_ERR(bench);
		goto destroy_parent;
	}
	mutex_init(&bench->lock);

	/* As much as the accelerators of the test machine have. */
	ret = gpu_buddy_init(&bench->mm, SZ_256M, SZ_4K);
	if (ret)
		goto destroy_parent;

	ret = drm_dev_register(&bench->drm, 0);
	if (ret)
		goto fini_buddy;

	ret = bench_submit_init();
	if (ret)
		goto unregister;

	ret = bench_interconnect_init();
	if (ret)
		goto exit_submit;
	return 0;

exit_submit:
	bench_submit_exit();
unregister:
	drm_dev_unregister(&bench->drm);
fini_buddy:
	gpu_buddy_fini(&bench->mm);
destroy_parent:
	faux_device_destroy(parent);
	return ret;
}

static void __exit bench_exit(void)
{
	bench_interconnect_exit();
	bench_submit_exit();
	drm_dev_unregister(&bench->drm);
	gpu_buddy_fini(&bench->mm);
	faux_device_destroy(parent);
}

module_init(bench_init);
module_exit(bench_exit);

MODULE_AUTHOR("hlrs developers");
MODULE_DESCRIPTION("Peer of the hlrs benchmarks");
MODULE_LICENSE("GPL");
