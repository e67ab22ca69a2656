// SPDX-License-Identifier: GPL-2.0
/*
 * Macros of KUnit, and buffers of the kernel's own exporters, which are made
 * for processes.
 */
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/dma-mapping.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/kmod.h>
#include <linux/mman.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/shmem_fs.h>
#include <linux/uio.h>
#include <linux/uaccess.h>
#include <uapi/drm/drm.h>
#include <uapi/drm/drm_mode.h>
#include <uapi/linux/dma-heap.h>
#include <uapi/linux/udmabuf.h>

#include <kunit/test.h>
#include <kunit/test-bug.h>

#include "support_test.h"

void ext_ic_test_skip(const char *reason)
{
	kunit_mark_skipped(kunit_get_current_test(), "%s", reason);
}

/* Threads of the kernel leave the release of a file to a work item. */
void ext_ic_test_flush_files(void)
{
	flush_delayed_fput();
}

void ext_ic_test_enable_dma(struct device *dev)
{
	dev->dma_mask = &dev->coherent_dma_mask;
	dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
}

/* Paths are those of init: threads of the kernel see none of them. */
static struct file *ext_ic_test_open(const char *path, int flags)
{
	struct file *file;

	scoped_with_init_fs()
		file = filp_open(path, flags, 0);
	return file;
}

/*
 * Reads a seq_file to its end, or until the buffer is full. Without a detour by
 * user space, so that locks may be held.
 */
ssize_t ext_ic_test_read(const char *path, char *buf, size_t size)
{
	struct file *file = ext_ic_test_open(path, O_RDONLY);
	struct kvec vec = { .iov_base = buf, .iov_len = size };
	struct iov_iter iter;
	struct kiocb kiocb;
	ssize_t ret;

	if (IS_ERR(file))
		return PTR_ERR(file);

	do {
		init_sync_kiocb(&kiocb, file);
		kiocb.ki_pos = size - vec.iov_len;
		iov_iter_kvec(&iter, ITER_DEST, &vec, 1, vec.iov_len);
		ret = seq_read_iter(&kiocb, &iter);
		if (ret > 0) {
			vec.iov_base += ret;
			vec.iov_len -= ret;
		}
	} while (ret > 0 && vec.iov_len);
	__fput_sync(file);
	return ret < 0 ? ret : size - vec.iov_len;
}

/* Disables the VFs of a device, as its driver would do it when it is removed. */
void ext_ic_test_disable_sriov(struct pci_dev *pdev)
{
	pci_lock_rescan_remove();
	pci_disable_sriov(pdev);
	pci_unlock_rescan_remove();
}

/* An ioctl with an argument of @size bytes, as a process would do it. */
static int ext_ic_test_ioctl(struct file *file, unsigned int cmd, void *arg, size_t size)
{
	struct kunit *test = kunit_get_current_test();
	unsigned long user;
	int ret;

	user = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	if (!user || IS_ERR_VALUE(user))
		return -ENOMEM;
	if (copy_to_user((void __user *)user, arg, size))
		return -EFAULT;
	ret = file->f_op->unlocked_ioctl(file, cmd, user);
	if (copy_from_user(arg, (void __user *)user, size))
		return -EFAULT;
	return ret;
}

/* The dma-buf at a descriptor, which is closed. */
static struct dma_buf *ext_ic_test_take(int fd)
{
	struct dma_buf *dmabuf;

	if (fd < 0)
		return ERR_PTR(fd);
	dmabuf = dma_buf_get(fd);
	close_fd(fd);
	return dmabuf;
}

/* The system heap. */
struct dma_buf *ext_ic_test_heap(void)
{
	struct dma_heap_allocation_data data = { .len = PAGE_SIZE, .fd_flags = O_RDWR | O_CLOEXEC };
	struct file *file = ext_ic_test_open("/dev/dma_heap/system", O_RDWR);
	int ret;

	if (IS_ERR(file))
		return ERR_CAST(file);
	ret = ext_ic_test_ioctl(file, DMA_HEAP_IOCTL_ALLOC, &data, sizeof(data));
	__fput_sync(file);
	return ext_ic_test_take(ret ? ret : data.fd);
}

/* Pages of a file that cannot shrink. */
struct dma_buf *ext_ic_test_udmabuf(void)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = PAGE_SIZE };
	struct file *file, *pages;
	int ret, fd;

	file = ext_ic_test_open("/dev/udmabuf", O_RDWR);
	if (IS_ERR(file))
		return ERR_CAST(file);

	pages = shmem_file_setup("ext-ic", PAGE_SIZE, EMPTY_VMA_FLAGS);
	if (IS_ERR(pages)) {
		__fput_sync(file);
		return ERR_CAST(pages);
	}
	SHMEM_I(file_inode(pages))->seals = F_SEAL_SHRINK;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		fput(pages);
		ret = fd;
	} else {
		fd_install(fd, pages);
		create.memfd = fd;
		ret = ext_ic_test_ioctl(file, UDMABUF_CREATE, &create, sizeof(create));
		close_fd(fd);
	}
	__fput_sync(file);
	return ext_ic_test_take(ret);
}

/* A buffer of a graphics driver, which is loaded if it is there. */
struct dma_buf *ext_ic_test_vgem(void)
{
	struct drm_mode_create_dumb dumb = { .width = 64, .height = 16, .bpp = 32 };
	struct drm_prime_handle prime = { .flags = O_RDWR | O_CLOEXEC };
	/* Where the guest has it, which is not where the kernel looks. */
	char *argv[3] = { "/bin/modprobe", "vgem", NULL };
	char *envp[2] = { "PATH=/usr/bin:/bin:/usr/sbin:/sbin", NULL };
	struct file *file;
	int ret;

	call_usermodehelper(argv[0], argv, envp, UMH_WAIT_PROC);
	file = ext_ic_test_open("/dev/dri/card0", O_RDWR);
	if (IS_ERR(file))
		return ERR_CAST(file);
	ret = ext_ic_test_ioctl(file, DRM_IOCTL_MODE_CREATE_DUMB, &dumb, sizeof(dumb));
	if (!ret) {
		prime.handle = dumb.handle;
		ret = ext_ic_test_ioctl(file, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime, sizeof(prime));
	}
	__fput_sync(file);
	return ext_ic_test_take(ret ? ret : prime.fd);
}
