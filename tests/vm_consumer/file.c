// SPDX-License-Identifier: GPL-2.0
/*
 * Open files: the ioctls of hlrs_test_vm.h.
 */
#include <linux/compat.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "consumer.h"

union htv_args {
	struct hlrs_test_vm_register reg;
	struct hlrs_test_vm_id id;
	struct hlrs_test_vm_access access;
	struct hlrs_test_vm_state state;
	struct hlrs_test_vm_same same;
};

static int htv_unregister(struct htv_file *file, const struct hlrs_test_vm_id *args)
{
	struct htv_user *user;

	if (args->pad)
		return -EINVAL;

	down_write(&file->use);
	/* Not one that is about to be registered. */
	user = xa_load(&file->users, args->id);
	if (user)
		xa_erase(&file->users, args->id);
	up_write(&file->use);
	if (!user)
		return -ENOENT;
	htv_user_gone(user);
	return 0;
}

/* As all that follow with &htv_file.use held for reading. */
static int htv_ioctl_access(struct htv_file *file, struct hlrs_test_vm_access *args)
{
	/* One more than is allowed can be tried. */
	struct htv_user *users[HLRS_VM_ACCESS_MAX + 1];
	u32 ids[HLRS_VM_ACCESS_MAX + 1];
	u32 i;

	if (args->pad || args->count > ARRAY_SIZE(ids) || !args->timeout_ms ||
	    args->timeout_ms > HLRS_TEST_VM_MAX_MS)
		return -EINVAL;
	if (copy_from_user(ids, u64_to_user_ptr(args->ids), args->count * sizeof(*ids)))
		return -EFAULT;

	for (i = 0; i < args->count; i++) {
		/* 0 stands for NULL. */
		users[i] = ids[i] ? xa_load(&file->users, ids[i]) : NULL;
		if (ids[i] && !users[i])
			return -ENOENT;
	}
	htv_fences_free(file);
	return htv_access(file, users, args);
}

static int htv_state(struct htv_file *file, struct htv_user *user,
		     struct hlrs_test_vm_state *args)
{
	spin_lock(&file->lock);
	args->calls = user->calls;
	args->returned = user->returned;
	spin_unlock(&file->lock);
	args->fences = htv_fences_pending(file, user);
	return 0;
}

static int htv_same(struct htv_file *file, struct hlrs_test_vm_same *args)
{
	struct htv_user *a = xa_load(&file->users, args->a);
	struct htv_user *b = xa_load(&file->users, args->b);

	if (args->pad)
		return -EINVAL;
	if (!a || !b)
		return -ENOENT;
	args->same = hlrs_vm_is_same(a->vm, b->vm);
	return 0;
}

static int htv_on(struct htv_file *file, unsigned int cmd, union htv_args *args)
{
	struct htv_user *user;

	switch (cmd) {
	case HLRS_TEST_VM_IOC_ACCESS:
		return htv_ioctl_access(file, &args->access);
	case HLRS_TEST_VM_IOC_SAME:
		return htv_same(file, &args->same);
	case HLRS_TEST_VM_IOC_STATE:
	case HLRS_TEST_VM_IOC_SIGNAL:
	case HLRS_TEST_VM_IOC_RECOVER:
		break;
	default:
		return -ENOTTY;
	}

	/* The id comes first in all of them. */
	user = xa_load(&file->users, args->id.id);
	if (!user)
		return -ENOENT;
	if (cmd == HLRS_TEST_VM_IOC_STATE)
		return htv_state(file, user, &args->state);
	if (args->id.pad)
		return -EINVAL;
	if (cmd == HLRS_TEST_VM_IOC_SIGNAL)
		htv_fences_signal(file, user);
	else if (!hlrs_vm_recover(user->vm))
		return -ESTALE;
	return 0;
}

static int htv_dispatch(struct htv_file *file, unsigned int cmd, union htv_args *args)
{
	int ret;

	switch (cmd) {
	case HLRS_TEST_VM_IOC_REGISTER:
		return htv_register(file, &args->reg);
	case HLRS_TEST_VM_IOC_UNREGISTER:
		return htv_unregister(file, &args->id);
	default:
		down_read(&file->use);
		ret = htv_on(file, cmd, args);
		up_read(&file->use);
		return ret;
	}
}

static long htv_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	size_t size = _IOC_SIZE(cmd);
	union htv_args args = {};
	int ret;

	/* The size is part of the number, so an unknown one is refused below. */
	if (size > sizeof(args))
		return -ENOTTY;
	if (copy_from_user(&args, user, size))
		return -EFAULT;

	ret = htv_dispatch(filp->private_data, cmd, &args);
	if (ret)
		return ret;

	/* A registration whose id does not arrive goes with the file. */
	if ((_IOC_DIR(cmd) & _IOC_READ) && copy_to_user(user, &args, size))
		return -EFAULT;
	return 0;
}

static int htv_open(struct inode *inode, struct file *filp)
{
	/* The core holds its lock, so that the device has not been removed. */
	struct htv_device *dev = container_of(filp->private_data, struct htv_device, misc);
	struct htv_file *file = kzalloc_obj(*file);

	if (!file)
		return -ENOMEM;
	kref_get(&dev->refs);
	file->dev = dev;
	xa_init_flags(&file->users, XA_FLAGS_ALLOC1);
	init_rwsem(&file->use);
	spin_lock_init(&file->lock);
	INIT_LIST_HEAD(&file->fences);

	mutex_lock(&dev->lock);
	list_add(&file->node, &dev->files);
	mutex_unlock(&dev->lock);
	filp->private_data = file;
	return 0;
}

/* Ends all registrations; those that are being made must be known not to be. */
void htv_file_clear(struct htv_file *file)
{
	struct htv_user *user;
	unsigned long id;

	do {
		id = 0;
		down_write(&file->use);
		user = xa_find(&file->users, &id, ULONG_MAX, XA_PRESENT);
		if (user)
			xa_erase(&file->users, id);
		up_write(&file->use);
		if (user)
			htv_user_gone(user);
	} while (user);
	/* What they have left. */
	htv_fences_signal(file, NULL);
}

static int htv_release(struct inode *inode, struct file *filp)
{
	struct htv_file *file = filp->private_data;
	struct htv_device *dev = file->dev;

	mutex_lock(&dev->lock);
	list_del(&file->node);
	mutex_unlock(&dev->lock);

	htv_file_clear(file);
	/* Those of users that were unregistered are over, too. */
	htv_fences_free(file);
	WARN_ON(!list_empty(&file->fences));
	xa_destroy(&file->users);
	kfree(file);
	htv_device_put(dev);
	return 0;
}

const struct file_operations htv_fops = {
	.owner = THIS_MODULE,
	.open = htv_open,
	.release = htv_release,
	.unlocked_ioctl = htv_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
