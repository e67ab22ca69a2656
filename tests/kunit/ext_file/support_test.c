// SPDX-License-Identifier: GPL-2.0
/*
 * What processes do with files, for tests that run in the kernel.
 */
#include <linux/compat.h>
#include <linux/err.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/string.h>

#include "support_test.h"

/* Paths are those of init: threads of the kernel see none of them. */
struct file *ext_file_test_open(const char *path, int flags)
{
	struct file *file;

	scoped_with_init_fs()
		file = filp_open(path, flags, 0);
	return file;
}

/* Whether a path names something, were it a link that leads nowhere. */
bool ext_file_test_exists(const char *path)
{
	struct path found;
	int ret;

	scoped_with_init_fs()
		ret = kern_path(path, 0, &found);
	if (!ret)
		path_put(&found);
	return !ret;
}

/* Reads a file to its end, or until the buffer is full. */
ssize_t ext_file_test_read(const char *path, char *buf, size_t size)
{
	struct file *file = ext_file_test_open(path, O_RDONLY);
	ssize_t ret = 0;
	loff_t pos = 0;

	if (IS_ERR(file))
		return PTR_ERR(file);

	while (pos < size) {
		ret = kernel_read(file, buf + pos, size - pos, &pos);
		if (ret <= 0)
			break;
	}
	__fput_sync(file);
	return ret < 0 ? ret : pos;
}

ssize_t ext_file_test_write(const char *path, const char *buf, size_t size)
{
	struct file *file = ext_file_test_open(path, O_WRONLY);
	ssize_t ret;
	loff_t pos = 0;

	if (IS_ERR(file))
		return PTR_ERR(file);

	ret = kernel_write(file, buf, size, &pos);
	__fput_sync(file);
	return ret;
}

long ext_file_test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (file->f_op->unlocked_ioctl)
		return file->f_op->unlocked_ioctl(file, cmd, arg);
	return -ENOTTY;
}

/* As the kernel does it for a process of 32 bits. */
long ext_file_test_compat_ioctl(struct file *file, unsigned int cmd,
				unsigned long arg)
{
#ifdef CONFIG_COMPAT
	if (file->f_op->compat_ioctl)
		return file->f_op->compat_ioctl(file, cmd, arg);
#endif
	return -ENOTTY;
}

/* Reads what /proc/PID/fdinfo/FD shows of the file's own, as a string. */
void ext_file_test_fdinfo(struct file *file, char *buf, size_t size)
{
	struct seq_file m = { .buf = buf, .size = size - 1 };

	if (file->f_op->show_fdinfo)
		file->f_op->show_fdinfo(&m, file);
	buf[m.count] = '\0';
}

unsigned int ext_file_test_poll(struct file *file)
{
	return (__force unsigned int)vfs_poll(file, NULL);
}

/* What /proc/PID/fd/FD shows. */
int ext_file_test_name(struct file *file, char *buf, size_t size)
{
	char *name = file_path(file, buf, size);

	if (IS_ERR(name))
		return PTR_ERR(name);
	memmove(buf, name, strlen(name) + 1);
	return 0;
}

/* A new descriptor of an open file, as a process gets it over a socket. */
int ext_file_test_dup(struct file *file)
{
	return receive_fd(file, NULL, 0);
}

bool ext_file_test_cloexec(unsigned int fd)
{
	bool ret;

	spin_lock(&current->files->file_lock);
	ret = close_on_exec(fd, current->files);
	spin_unlock(&current->files->file_lock);
	return ret;
}

/* Waits until files that were put have been released. */
void ext_file_test_flush(void)
{
	flush_delayed_fput();
}
