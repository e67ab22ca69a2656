// SPDX-License-Identifier: GPL-2.0
/*
 * Registrations, and what becomes of them when a VM is revoked.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "consumer.h"

/* No lock of the accelerator is held, and this takes none but the spinlock. */
static void htv_revoked(void *data)
{
	struct htv_user *user = data;
	struct htv_file *file = user->file;

	/* From here on nothing begins, see htv_access(). */
	spin_lock(&file->lock);
	user->calls++;
	spin_unlock(&file->lock);

	if (user->delay_ms)
		msleep(user->delay_ms);
	if (!user->late)
		htv_fences_signal(file, user);

	spin_lock(&file->lock);
	user->returned++;
	spin_unlock(&file->lock);
}

static const struct hlrs_vm_ops htv_ops = {
	.owner = THIS_MODULE,
	.revoked = htv_revoked,
};

static const struct hlrs_vm_ops htv_no_callback = {
	.owner = THIS_MODULE,
};

static const struct hlrs_vm_ops *htv_which_ops(u32 flags)
{
	if (flags & HLRS_TEST_VM_NO_OPS)
		return NULL;
	if (flags & HLRS_TEST_VM_NO_CALLBACK)
		return &htv_no_callback;
	return &htv_ops;
}

/* With &htv_device.sem held for reading, and the driver bound. */
static int htv_register_bound(struct htv_file *file, struct htv_user *user,
			      struct hlrs_test_vm_register *args)
{
	struct auxiliary_device *adev =
		args->flags & HLRS_TEST_VM_FOREIGN ? &htv_foreign : file->dev->adev;
	int ret;

	/* Whoever guesses the number meanwhile finds nothing. */
	ret = xa_alloc(&file->users, &args->id, NULL, xa_limit_31b, GFP_KERNEL);
	if (ret)
		return ret;

	/* The callback may be called from here on. */
	user->vm = hlrs_vm_register(adev, args->fd, htv_which_ops(args->flags), user);
	if (IS_ERR(user->vm)) {
		xa_erase(&file->users, args->id);
		return PTR_ERR(user->vm);
	}

	args->context = hlrs_vm_context(user->vm);
	/* Room was allocated. */
	xa_store(&file->users, args->id, user, GFP_KERNEL);
	return 0;
}

int htv_register(struct htv_file *file, struct hlrs_test_vm_register *args)
{
	const u32 known = HLRS_TEST_VM_FOREIGN | HLRS_TEST_VM_NO_OPS | HLRS_TEST_VM_NO_CALLBACK |
			  HLRS_TEST_VM_LATE | HLRS_TEST_VM_LEAVE;
	struct htv_user *user;
	int ret = -ENODEV;

	if (args->pad || args->flags & ~known || args->delay_ms > HLRS_TEST_VM_MAX_MS)
		return -EINVAL;

	user = kzalloc_obj(*user);
	if (!user)
		return -ENOMEM;
	user->file = file;
	user->delay_ms = args->delay_ms;
	user->late = args->flags & HLRS_TEST_VM_LATE;
	user->leave = args->flags & HLRS_TEST_VM_LEAVE;

	down_read(&file->dev->sem);
	if (file->dev->adev)
		ret = htv_register_bound(file, user, args);
	up_read(&file->dev->sem);
	if (ret)
		kfree(user);
	return ret;
}

/* Ends a registration that nobody finds any more. */
void htv_user_gone(struct htv_user *user)
{
	/* There is no engine to stop; the fences tell the VM that it has. */
	hlrs_vm_unregister(user->vm);
	if (!user->leave)
		htv_fences_signal(user->file, user);
	kfree(user);
}
