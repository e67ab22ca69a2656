/* SPDX-License-Identifier: GPL-2.0 */
#ifndef EXT_FILE_SUPPORT_TEST_H
#define EXT_FILE_SUPPORT_TEST_H

#include <linux/fs.h>

struct file *ext_file_test_open(const char *path, int flags);
bool ext_file_test_exists(const char *path);
ssize_t ext_file_test_read(const char *path, char *buf, size_t size);
ssize_t ext_file_test_write(const char *path, const char *buf, size_t size);
long ext_file_test_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long ext_file_test_compat_ioctl(struct file *file, unsigned int cmd,
				unsigned long arg);
void ext_file_test_fdinfo(struct file *file, char *buf, size_t size);
unsigned int ext_file_test_poll(struct file *file);
int ext_file_test_name(struct file *file, char *buf, size_t size);
int ext_file_test_dup(struct file *file);
bool ext_file_test_cloexec(unsigned int fd);
void ext_file_test_flush(void);

#endif /* EXT_FILE_SUPPORT_TEST_H */
