/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Address spaces (VMs) of the HLRS accelerator for the other drivers of the
 * device. A chapter for authors of such drivers is in docs/vm-consumers.md.
 */
#ifndef __LINUX_HLRS_H
#define __LINUX_HLRS_H

#include <linux/types.h>

struct auxiliary_device;
struct dma_fence;
struct hlrs_vm_user;
struct module;

/**
 * DOC: overview
 *
 * A process makes a *VM* on an accelerator and hands it to another driver as a
 * file descriptor. That driver, the *user* of the VM, is bound to an auxiliary
 * device ``hlrs.nic`` of the accelerator, and drives an engine that can access
 * the VMs of this function of the device. It
 *
 * 1. registers the VM that the descriptor stands for, hlrs_vm_register();
 * 2. announces each access before the engine begins, hlrs_vm_access(), with a
 *    fence that it signals when the engine has ended, and lets the engine use
 *    the hardware context of the VM, hlrs_vm_context();
 * 3. gives the VM up, hlrs_vm_unregister().
 *
 * The VM is not destroyed while it is registered, but it can be *revoked*: the
 * process that has made it closes its file of the accelerator, or is killed.
 * Then no access can be announced any more, &hlrs_vm_ops.revoked is called,
 * and the memory and the context of the VM go when that has returned and the
 * fences of all accesses are signalled. A VM whose own work has failed is
 * *banned*: no access can be announced any more, but nobody is called.
 *
 * Being registered holds references on the modules of the accelerator's driver
 * and of the user.
 *
 * All symbols are exported for GPL modules, in the namespace ``HLRS``. The
 * registers and the interrupt of the engine have no interface in C, only in
 * Rust: ``hlrs::nic``.
 */

/**
 * HLRS_VM_ACCESS_MAX - the most VMs that one access can be announced to
 */
#define HLRS_VM_ACCESS_MAX	16

/**
 * struct hlrs_vm_ops - what the user of a VM is told
 *
 * Must stay as it is while anything is registered with it.
 */
struct hlrs_vm_ops {
	/**
	 * @owner: the user's module, ``THIS_MODULE``. It cannot be unloaded
	 * while it has a VM registered.
	 */
	struct module *owner;

	/**
	 * @revoked: the VM is going to go. Mandatory.
	 *
	 * When this returns, the engine must not access the VM any more, and
	 * must not begin to: what runs was stopped, and what has been announced
	 * and not begun will not begin. The fences must be signalled then, or
	 * soon after without waiting for anything that needs memory. If one is
	 * pending longer than the parameter ``revoke_timeout_ms`` of hlrs.ko,
	 * the context is switched off, and nobody gets it or the memory of the
	 * VM until the fence is signalled.
	 *
	 * It is called at most once for each registration, and possibly before
	 * hlrs_vm_register() has returned. It is not called after
	 * hlrs_vm_unregister() has returned. After it, hlrs_vm_unregister() is
	 * still owed.
	 *
	 * Context: the process that closes the accelerator's file. May sleep.
	 * No lock of the accelerator is held that any function below takes, but
	 * hlrs_vm_unregister() for the same registration would wait for this
	 * call: it must not be called here, nor with a lock held that is taken
	 * here.
	 */
	void (*revoked)(void *data);

	/**
	 * @has_given_up: whether the user does not want to access the VM any
	 * more, because it is being unbound, for example. Optional.
	 *
	 * Calls of hlrs_vm_access() that wait for binds ask for it, and end
	 * with -ECANCELED.
	 *
	 * Context: the task that is in hlrs_vm_access(). May sleep. Must not
	 * call hlrs_vm_unregister(), nor take a lock that is held there.
	 */
	bool (*has_given_up)(void *data);
};

/**
 * hlrs_vm_register() - become a user of the VM behind a file descriptor
 * @adev: the auxiliary device that the caller is bound to
 * @fd: a descriptor of the current process, from ``DRM_IOCTL_HLRS_VM_EXPORT``
 * @ops: what the user is told
 * @data: argument of the functions in @ops; must be valid until
 *	hlrs_vm_unregister() has returned, and usable when this is called
 *
 * What counts is the open file and not the number of the descriptor, which may
 * be closed as soon as this has returned. Whether the process may use the VM is
 * decided here, once: its effective user must be the one that has exported the
 * VM, unless that was created with ``DRM_HLRS_VM_CREATE_SHARED``.
 *
 * Registering a VM twice makes two users of it, each of which is told of its
 * end and has to unregister.
 *
 * Context: in a system call of the process whose descriptor it is; between the
 * beginning of probe() and the end of remove() of the driver that is bound to
 * @adev. Sleeps. Must not be called with a reservation lock held.
 *
 * Return: the user, or an ERR_PTR():
 *
 * * -EBADF: there is no such descriptor
 * * -EINVAL: it is not that of a VM of an accelerator
 * * -EXDEV: the VM belongs to another function or another device
 * * -EACCES: the VM may not be used by this process
 * * -ENOENT: the VM was banned, or its device file closed
 * * -EBUSY: the VM has as many users as it can have, 16
 * * -ENXIO: @adev is not a device of the accelerator's driver
 * * -EOPNOTSUPP: @ops does not exist or has no function @revoked
 * * -ESHUTDOWN: the module in @ops is being unloaded
 * * -ENODEV: the device is being unbound
 * * -ENOMEM
 */
struct hlrs_vm_user *hlrs_vm_register(struct auxiliary_device *adev, int fd,
				      const struct hlrs_vm_ops *ops, void *data);

/**
 * hlrs_vm_unregister() - stop being the user of a VM
 * @user: from hlrs_vm_register(), which must not be used any more; NULL and
 *	ERR_PTR() are passed over
 *
 * The engine must not begin any more accesses for @user. Fences of accesses
 * may still be pending: the VM waits for them.
 *
 * What is registered must be unregistered before remove() of the driver
 * returns. What is not can be unregistered later, but accesses for it fail.
 *
 * Context: sleeps, and waits for a call of &hlrs_vm_ops.revoked that is under
 * way. Must not be called from there, nor with a lock held that is taken there,
 * nor with a reservation lock held.
 */
void hlrs_vm_unregister(struct hlrs_vm_user *user);

/**
 * hlrs_vm_access() - announce an access to some VMs
 * @users: the users that the access is for, at least one, of one function of
 *	one device; a VM may occur several times
 * @count: how many, at most %HLRS_VM_ACCESS_MAX
 * @fence: what will be signalled when the access has ended
 *
 * Brings back what was evicted from the VMs, waits for binds that were
 * submitted and have fences to wait for, and adds @fence, as
 * %DMA_RESV_USAGE_BOOKKEEP, to the VMs and to all that is mapped in them. What
 * is mapped at this time stays where it is until the fence is signalled, also
 * when it is unmapped.
 *
 * After success the engine may begin, unless &hlrs_vm_ops.revoked was called
 * meanwhile: the user needs a lock, or a flag, of its own between the two. The
 * fence must be signalled in any case, in bounded time, and as for all fences
 * without waiting for memory, reservation locks or later fences.
 *
 * After an error nobody has the fence, and the engine must not begin.
 *
 * Context: process. Sleeps, interruptibly. Must not be called with a reservation
 * lock held, nor where a fence depends on it.
 *
 * Return: 0 or
 *
 * * -EINVAL: no users, too many, a NULL among them, or no fence
 * * -EXDEV: the users are not of one function
 * * -ESTALE: a VM was revoked or banned
 * * -ECANCELED: a user has given up, or was revoked, while binds were waited for
 * * -EFAULT: a buffer that was evicted cannot be brought back
 * * -EINTR, -ERESTARTSYS: a signal came in
 * * -ENODEV: the device is being unbound, or was
 * * -ENOMEM
 */
int hlrs_vm_access(struct hlrs_vm_user *const *users, unsigned int count,
		   struct dma_fence *fence);

/**
 * hlrs_vm_context() - the hardware context of a VM
 * @user: from hlrs_vm_register()
 *
 * The number by which commands of the engine name the address space. It may be
 * used from the success of hlrs_vm_access() until the fence is signalled; when
 * the VM is gone it becomes that of another.
 *
 * Context: any.
 *
 * Return: the number
 */
u16 hlrs_vm_context(struct hlrs_vm_user *user);

/**
 * hlrs_vm_is_same() - whether two users are users of the same VM
 * @a: from hlrs_vm_register()
 * @b: from hlrs_vm_register()
 *
 * Also right when the VM was revoked, and for users of different devices.
 *
 * Context: any.
 *
 * Return: whether they are
 */
bool hlrs_vm_is_same(struct hlrs_vm_user *a, struct hlrs_vm_user *b);

/**
 * hlrs_vm_recover() - make a context usable again after a fault
 * @user: the user for whom the engine has accessed the VM
 *
 * A fault stops the context in which it occurs for all engines. To be called
 * when an access for @user has faulted, with the engine's queue stopped.
 *
 * Context: process. Sleeps, but allocates nothing and takes no reservation
 * lock, so that it may be called on the way to signalling fences.
 *
 * Return: whether it is usable; not if the VM was revoked, or is banned because
 * its own work has failed as well
 */
bool hlrs_vm_recover(struct hlrs_vm_user *user);

#endif /* __LINUX_HLRS_H */
