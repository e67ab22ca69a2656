/* SPDX-License-Identifier: GPL-2.0 */
#ifndef CONSUMER_H
#define CONSUMER_H

#include <linux/auxiliary_bus.h>
#include <linux/fs.h>
#include <linux/hlrs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include "hlrs_test_vm.h"

/* A device node; the driver has a reference while it is bound, and so has each open file. */
struct htv_device {
	struct kref refs;
	struct miscdevice misc;
	char name[32];
	/* Held for reading while @adev is used. */
	struct rw_semaphore sem;
	struct auxiliary_device *adev; /* NULL when the driver was unbound */
	struct mutex lock; /* protects @files */
	struct list_head files;
};

/* An open file. Lives longer than its users and fences. */
struct htv_file {
	struct htv_device *dev;
	struct list_head node; /* in &htv_device.files */
	struct xarray users; /* by id */
	/*
	 * Held for reading while a user is looked up and used, for writing to
	 * take one out. The callback does not take it.
	 */
	struct rw_semaphore use;
	spinlock_t lock; /* protects all that follows, and what users say */
	struct list_head fences;
};

/* A VM that is registered. */
struct htv_user {
	struct htv_file *file;
	struct hlrs_vm_user *vm;
	u32 delay_ms;
	bool late;
	bool leave;
	/* Under &htv_file.lock */
	u32 calls, returned;
};

/* file.c */
extern const struct file_operations htv_fops;
void htv_file_clear(struct htv_file *file);

/* main.c */
extern struct auxiliary_device htv_foreign;
void htv_device_put(struct htv_device *dev);

/* user.c; htv_user_gone() may be called with no lock held only */
int htv_register(struct htv_file *file, struct hlrs_test_vm_register *args);
void htv_user_gone(struct htv_user *user);

/* fence.c */
int htv_access(struct htv_file *file, struct htv_user *const *users,
	       struct hlrs_test_vm_access *args);
void htv_fences_signal(struct htv_file *file, const struct htv_user *user);
u32 htv_fences_pending(struct htv_file *file, const struct htv_user *user);
void htv_fences_free(struct htv_file *file);

#endif /* CONSUMER_H */
