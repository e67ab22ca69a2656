// SPDX-License-Identifier: GPL-2.0
/*
 * Files of a DRM accel device and memory of a process, for tests that run in
 * the kernel.
 */
#include <linux/anon_inodes.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_accel.h>
#include <drm/drm_device.h>
#include <drm/drm_drv.h>

#include <kunit/test.h>

#include "files_test.h"

static const struct file_operations no_fops;

/*
 * Does what open(2) of the device's node does, from accel_stub_open() on: finds
 * the minor by its number and opens it with the driver's file operations.
 */
struct file *ext_drm_test_open(struct drm_device *dev)
{
	const struct file_operations *fops = dev->driver->fops;
	struct inode *inode;
	struct file *file;
	int ret;

	inode = kzalloc_obj(*inode);
	if (!inode)
		return ERR_PTR(-ENOMEM);
	inode->i_rdev = MKDEV(ACCEL_MAJOR, dev->accel->index);

	/* Takes the reference to the module that fops names. */
	file = anon_inode_getfile("accel", fops, NULL, O_RDWR);
	if (!IS_ERR(file)) {
		ret = fops->open(inode, file);
		if (ret) {
			/* A file that is not open must not be released. */
			file->f_op = &no_fops;
			fops_put(fops);
			__fput_sync(file);
			file = ERR_PTR(ret);
		}
	}

	kfree(inode);
	return file;
}

/* Calls an ioctl with a copy of the argument in memory of a process. */
long ext_drm_test_ioctl(struct file *file, unsigned int cmd, void *arg, size_t size)
{
	unsigned long addr;
	long ret;

	ret = kunit_attach_mm();
	if (ret)
		return ret;

	addr = vm_mmap(NULL, 0, PAGE_ALIGN(size), PROT_READ | PROT_WRITE,
		       MAP_ANONYMOUS | MAP_PRIVATE, 0);
	if (IS_ERR_VALUE(addr))
		return addr;

	if (copy_to_user((void __user *)addr, arg, size)) {
		ret = -EFAULT;
	} else {
		ret = file->f_op->unlocked_ioctl(file, cmd, addr);
		if (copy_from_user(arg, (void __user *)addr, size))
			ret = -EFAULT;
	}

	vm_munmap(addr, PAGE_ALIGN(size));
	return ret;
}

/* Reads what /proc/PID/fdinfo/FD shows, as a string. */
void ext_drm_test_fdinfo(struct file *file, char *buf, size_t size)
{
	struct seq_file m = { .buf = buf, .size = size - 1 };

	file->f_op->show_fdinfo(&m, file);
	buf[m.count] = '\0';
}

long ext_drm_test_mmap(struct file *file, size_t len, bool write, bool shared, u64 offset)
{
	int ret;

	ret = kunit_attach_mm();
	if (ret)
		return ret;

	return vm_mmap(file, 0, len, PROT_READ | (write ? PROT_WRITE : 0),
		       shared ? MAP_SHARED : MAP_PRIVATE, offset);
}

void ext_drm_test_munmap(unsigned long addr, size_t len)
{
	vm_munmap(addr, len);

	/* In a kernel thread, files are released later. */
	flush_delayed_fput();
}

/* Reads and writes memory of the process; -EFAULT stands for a signal. */
int ext_drm_test_peek(unsigned long addr, u64 *val)
{
	return get_user(*val, (u64 __user *)addr);
}

int ext_drm_test_poke(unsigned long addr, u64 val)
{
	return put_user(val, (u64 __user *)addr);
}

/* The bus of the test's devices has no notion of DMA. */
void ext_drm_test_enable_dma(struct device *dev)
{
	dev->coherent_dma_mask = DMA_BIT_MASK(64);
	dev->dma_mask = &dev->coherent_dma_mask;
}

phys_addr_t ext_drm_test_phys(void *addr)
{
	return virt_to_phys(addr);
}

bool ext_drm_test_dirty(unsigned long pfn)
{
	return PageDirty(pfn_to_page(pfn));
}
