// SPDX-License-Identifier: GPL-2.0
/*
 * A user of the accelerator's VMs that user space drives: the driver, which
 * binds to the auxiliary device in place of that of the NIC, and the device
 * nodes. The interface is described in hlrs_test_vm.h.
 */
#include <linux/auxiliary_bus.h>
#include <linux/device.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "consumer.h"

static void htv_device_free(struct kref *refs)
{
	kfree(container_of(refs, struct htv_device, refs));
}

void htv_device_put(struct htv_device *dev)
{
	kref_put(&dev->refs, htv_device_free);
}

static int htv_probe(struct auxiliary_device *adev, const struct auxiliary_device_id *id)
{
	struct htv_device *dev = kzalloc_obj(*dev);
	int ret;

	if (!dev)
		return -ENOMEM;
	kref_init(&dev->refs);
	init_rwsem(&dev->sem);
	mutex_init(&dev->lock);
	INIT_LIST_HEAD(&dev->files);
	dev->adev = adev;
	snprintf(dev->name, sizeof(dev->name), "hlrs-test-vm%u", adev->id);
	dev->misc.minor = MISC_DYNAMIC_MINOR;
	dev->misc.name = dev->name;
	dev->misc.fops = &htv_fops;
	dev->misc.mode = 0666;
	dev->misc.parent = &adev->dev;

	ret = misc_register(&dev->misc);
	if (ret) {
		htv_device_put(dev);
		return ret;
	}
	auxiliary_set_drvdata(adev, dev);
	return 0;
}

static void htv_remove(struct auxiliary_device *adev)
{
	struct htv_device *dev = auxiliary_get_drvdata(adev);
	struct htv_file *file;

	misc_deregister(&dev->misc);
	/* Nobody registers any more. */
	down_write(&dev->sem);
	dev->adev = NULL;
	up_write(&dev->sem);

	mutex_lock(&dev->lock);
	list_for_each_entry(file, &dev->files, node)
		htv_file_clear(file);
	mutex_unlock(&dev->lock);
	htv_device_put(dev);
}

static const struct auxiliary_device_id htv_ids[] = {
	{ .name = "hlrs.nic" },
	{ }
};

static struct auxiliary_driver htv_driver = {
	.probe = htv_probe,
	.remove = htv_remove,
	.id_table = htv_ids,
};

/* The auxiliary device of somebody else. */
static struct device *htv_foreign_parent;

static void htv_foreign_release(struct device *dev)
{
}

struct auxiliary_device htv_foreign = {
	.name = "foreign",
	.dev.release = htv_foreign_release,
};

static int htv_foreign_add(void)
{
	int ret;

	htv_foreign_parent = root_device_register("hlrs-test-vm");
	if (IS_ERR(htv_foreign_parent))
		return PTR_ERR(htv_foreign_parent);

	htv_foreign.dev.parent = htv_foreign_parent;
	ret = auxiliary_device_init(&htv_foreign);
	if (ret)
		goto err_parent;
	ret = auxiliary_device_add(&htv_foreign);
	if (ret) {
		auxiliary_device_uninit(&htv_foreign);
		goto err_parent;
	}
	return 0;

err_parent:
	root_device_unregister(htv_foreign_parent);
	return ret;
}

static void htv_foreign_remove(void)
{
	auxiliary_device_delete(&htv_foreign);
	auxiliary_device_uninit(&htv_foreign);
	root_device_unregister(htv_foreign_parent);
}

static int __init htv_init(void)
{
	int ret;

	ret = htv_foreign_add();
	if (ret)
		return ret;
	ret = auxiliary_driver_register(&htv_driver);
	if (ret)
		htv_foreign_remove();
	return ret;
}

static void __exit htv_exit(void)
{
	auxiliary_driver_unregister(&htv_driver);
	htv_foreign_remove();
	/* All fences have signalled, but others may just be asking one for its names. */
	synchronize_rcu();
}

module_init(htv_init);
module_exit(htv_exit);

MODULE_AUTHOR("hlrs developers");
MODULE_DESCRIPTION("User of VMs of the accelerator, for tests");
MODULE_IMPORT_NS("HLRS");
MODULE_LICENSE("GPL");
