// SPDX-License-Identifier: GPL-2.0
/*
 * Importers of dma-bufs that user space drives: the device node. The interface
 * is described in hlrs_test_importer.h.
 */
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "importer.h"

/* Its items wait for fences: not for a queue that others need. */
struct workqueue_struct *hti_wq;

struct hti_file {
	struct xarray attachments; /* by id */
};

union hti_args {
	struct hlrs_test_attach attach;
	struct hlrs_test_map map;
	struct hlrs_test_id id;
	struct hlrs_test_state state;
	struct hlrs_test_access access;
	struct hlrs_test_fence fence;
};

static struct hti_attachment *hti_find(struct hti_file *file, u32 id)
{
	struct hti_attachment *a;

	xa_lock(&file->attachments);
	a = xa_load(&file->attachments, id);
	if (a)
		kref_get(&a->refs);
	xa_unlock(&file->attachments);
	return a;
}

static int hti_ioctl_attach(struct hti_file *file, struct hlrs_test_attach *args)
{
	struct hti_attachment *a = hti_attach(args);
	int ret;

	if (IS_ERR(a))
		return PTR_ERR(a);

	ret = xa_alloc(&file->attachments, &args->id, a, xa_limit_31b, GFP_KERNEL);
	if (ret)
		hti_detach(a);
	return ret;
}

static int hti_ioctl_detach(struct hti_file *file, const struct hlrs_test_id *args)
{
	struct hti_attachment *a;

	if (args->pad)
		return -EINVAL;

	/* Of several callers one gets it. */
	a = xa_erase(&file->attachments, args->id);
	if (!a)
		return -ENOENT;
	hti_detach(a);
	return 0;
}

/* All ioctls that need an attachment and leave it. */
static int hti_ioctl_on(struct hti_attachment *a, unsigned int cmd, union hti_args *args)
{
	switch (cmd) {
	case HLRS_TEST_IOC_MAP:
		return hti_map(a, &args->map);
	case HLRS_TEST_IOC_UNMAP:
		return args->id.pad ? -EINVAL : hti_unmap(a);
	case HLRS_TEST_IOC_STATE:
		hti_state(a, &args->state);
		return 0;
	case HLRS_TEST_IOC_VMAP:
		return args->id.pad ? -EINVAL : hti_vmap(a);
	case HLRS_TEST_IOC_VUNMAP:
		return args->id.pad ? -EINVAL : hti_vunmap(a);
	case HLRS_TEST_IOC_READ:
		return hti_access(a, &args->access, false);
	case HLRS_TEST_IOC_WRITE:
		return hti_access(a, &args->access, true);
	case HLRS_TEST_IOC_FENCE:
		return hti_fence_add(a, &args->fence);
	case HLRS_TEST_IOC_SIGNAL:
		if (args->id.pad)
			return -EINVAL;
		hti_fences_signal(a);
		return 0;
	default:
		return -ENOTTY;
	}
}

static int hti_dispatch(struct hti_file *file, unsigned int cmd, union hti_args *args)
{
	struct hti_attachment *a;
	u32 id;
	int ret;

	switch (cmd) {
	case HLRS_TEST_IOC_ATTACH:
		return hti_ioctl_attach(file, &args->attach);
	case HLRS_TEST_IOC_DETACH:
		return hti_ioctl_detach(file, &args->id);
	case HLRS_TEST_IOC_MAP:
		id = args->map.id;
		break;
	case HLRS_TEST_IOC_STATE:
		id = args->state.id;
		break;
	case HLRS_TEST_IOC_READ:
	case HLRS_TEST_IOC_WRITE:
		id = args->access.id;
		break;
	case HLRS_TEST_IOC_FENCE:
		id = args->fence.id;
		break;
	case HLRS_TEST_IOC_UNMAP:
	case HLRS_TEST_IOC_SIGNAL:
	case HLRS_TEST_IOC_VMAP:
	case HLRS_TEST_IOC_VUNMAP:
		id = args->id.id;
		break;
	default:
		return -ENOTTY;
	}

	a = hti_find(file, id);
	if (!a)
		return -ENOENT;
	ret = hti_ioctl_on(a, cmd, args);
	hti_put(a);
	return ret;
}

static long hti_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	size_t size = _IOC_SIZE(cmd);
	union hti_args args = {};
	int ret;

	/* The size is part of the number, so an unknown one is refused below. */
	if (size > sizeof(args))
		return -ENOTTY;
	if (copy_from_user(&args, user, size))
		return -EFAULT;

	ret = hti_dispatch(filp->private_data, cmd, &args);
	if (ret)
		return ret;

	/* An attachment whose id does not arrive goes with the file. */
	if ((_IOC_DIR(cmd) & _IOC_READ) && copy_to_user(user, &args, size))
		return -EFAULT;
	return 0;
}

static int hti_mmap_file(struct file *filp, struct vm_area_struct *vma)
{
	struct hti_attachment *a;
	int ret;

	/* vm_pgoff has no more bits than an offset in the file, less those of a page. */
	a = hti_find(filp->private_data, vma->vm_pgoff / (HLRS_TEST_MMAP_STRIDE >> PAGE_SHIFT));
	if (!a)
		return -ENOENT;
	ret = hti_mmap(a, vma);
	hti_put(a);
	return ret;
}

static int hti_open(struct inode *inode, struct file *filp)
{
	struct hti_file *file = kzalloc_obj(*file);

	if (!file)
		return -ENOMEM;
	xa_init_flags(&file->attachments, XA_FLAGS_ALLOC1);
	filp->private_data = file;
	return 0;
}

static int hti_release(struct inode *inode, struct file *filp)
{
	struct hti_file *file = filp->private_data;
	struct hti_attachment *a;
	unsigned long id;

	xa_for_each(&file->attachments, id, a)
		hti_detach(a);
	xa_destroy(&file->attachments);
	kfree(file);
	return 0;
}

static const struct file_operations hti_fops = {
	.owner = THIS_MODULE,
	.open = hti_open,
	.release = hti_release,
	.mmap = hti_mmap_file,
	.unlocked_ioctl = hti_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice hti_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hlrs-test-importer",
	.fops = &hti_fops,
	.mode = 0600,
};

static int __init hti_init(void)
{
	int ret;

	hti_wq = alloc_workqueue("hlrs-test-importer", WQ_UNBOUND, 0);
	if (!hti_wq)
		return -ENOMEM;

	ret = misc_register(&hti_device);
	if (ret)
		destroy_workqueue(hti_wq);
	return ret;
}

static void __exit hti_exit(void)
{
	misc_deregister(&hti_device);
	destroy_workqueue(hti_wq);
	/* All fences have signalled, but others may just be asking one for its names. */
	synchronize_rcu();
}

module_init(hti_init);
module_exit(hti_exit);

MODULE_AUTHOR("hlrs developers");
MODULE_DESCRIPTION("Importers of dma-bufs for tests");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
