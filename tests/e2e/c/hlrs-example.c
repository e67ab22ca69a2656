/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A round trip through an hlrs accelerator, with nothing but the driver's
 * header: create buffers in system memory and in the device's own (LMEM),
 * write through a CPU mapping, copy by the device, checksum on the device,
 * copy back and compare.
 *
 *   cc -std=c11 -I include/uapi -I /usr/include/drm hlrs-example.c
 *   ./a.out /dev/accel/accel0
 *
 * Exit status 0 and a last line "round trip: OK", or 1 and what went wrong.
 */
#define _FILE_OFFSET_BITS 64	/* mmap offsets exceed 32 bits */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm/hlrs_accel.h>

#define BUFFER_SIZE ((size_t)1 << 20)

/* Calls that a signal interrupted are made again. */
static int call(int fd, unsigned long request, void *arg, const char *what)
{
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret == -1 && errno == EINTR);
	if (ret == -1)
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return ret;
}

/* Finds the number of the first region of a class; -1 if there is none. */
static long find_region(int fd, unsigned int mem_class)
{
	struct drm_hlrs_device_query query = { .query = DRM_HLRS_DEVICE_QUERY_MEM_REGIONS };
	struct drm_hlrs_query_mem_regions *answer;
	long found = -1;

	if (call(fd, DRM_IOCTL_HLRS_DEVICE_QUERY, &query, "size of the query"))
		return -1;
	answer = calloc(1, query.size);
	if (!answer)
		return -1;
	query.data = (uintptr_t)answer;
	if (!call(fd, DRM_IOCTL_HLRS_DEVICE_QUERY, &query, "query")) {
		for (uint32_t i = 0; i < answer->num_regions && found < 0; i++)
			if (answer->regions[i].mem_class == mem_class)
				found = answer->regions[i].instance;
	}
	free(answer);
	return found;
}

/* Creates a buffer; returns its handle, or 0, which is none. */
static uint32_t create(int fd, unsigned int mem_class)
{
	struct drm_hlrs_mem_create arg = { .size = BUFFER_SIZE };
	long region = find_region(fd, mem_class);

	if (region < 0) {
		fprintf(stderr, "no memory region of class %u\n", mem_class);
		return 0;
	}
	arg.region = (uint32_t)region;
	if (call(fd, DRM_IOCTL_HLRS_MEM_CREATE, &arg, "create"))
		return 0;
	return arg.handle;
}

static uint8_t *map(int fd, uint32_t handle)
{
	struct drm_hlrs_mem_mmap_offset arg = { .handle = handle };
	void *start;

	if (call(fd, DRM_IOCTL_HLRS_MEM_MMAP_OFFSET, &arg, "mmap offset"))
		return NULL;
	start = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)arg.offset);
	if (start == MAP_FAILED) {
		perror("mmap");
		return NULL;
	}
	return start;
}

static int copy(int fd, uint32_t from, uint32_t to)
{
	struct drm_hlrs_mem_copy arg = {
		.src_handle = from,
		.dst_handle = to,
		.size = BUFFER_SIZE,
	};

	return call(fd, DRM_IOCTL_HLRS_MEM_COPY, &arg, "copy");
}

static int close_handle(int fd, uint32_t handle)
{
	struct drm_gem_close arg = { .handle = handle };

	return call(fd, DRM_IOCTL_GEM_CLOSE, &arg, "close");
}

/* CRC-32C on the CPU, bit by bit. */
static uint32_t crc32c(const uint8_t *bytes, size_t size)
{
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return ~crc;
}

static int round_trip(int fd)
{
	uint32_t host = create(fd, DRM_HLRS_MEM_CLASS_SYSMEM);
	uint32_t lmem = create(fd, DRM_HLRS_MEM_CLASS_LMEM);
	struct drm_hlrs_mem_crc32c crc = { .handle = lmem, .size = BUFFER_SIZE };
	struct drm_hlrs_mem_fill fill = { .handle = host, .size = BUFFER_SIZE, .pattern = ~0ull };
	uint32_t expected;
	uint8_t *bytes;

	if (!host || !lmem)
		return -1;
	bytes = map(fd, host);
	if (!bytes)
		return -1;
	for (size_t i = 0; i < BUFFER_SIZE; i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 8));
	expected = crc32c(bytes, BUFFER_SIZE);

	if (copy(fd, host, lmem))
		return -1;
	if (call(fd, DRM_IOCTL_HLRS_MEM_CRC32C, &crc, "checksum"))
		return -1;
	printf("CRC32C of %zu bytes: %08x on the device, %08x on the CPU\n",
	       BUFFER_SIZE, (unsigned int)crc.crc, (unsigned int)expected);
	if (crc.crc != expected)
		return -1;

	/* Overwrite the original, so that only the copy can bring it back. */
	if (call(fd, DRM_IOCTL_HLRS_MEM_FILL, &fill, "fill"))
		return -1;
	if (bytes[0] != 0xff || bytes[BUFFER_SIZE - 1] != 0xff) {
		fprintf(stderr, "the fill is not to be seen\n");
		return -1;
	}
	if (copy(fd, lmem, host))
		return -1;
	for (size_t i = 0; i < BUFFER_SIZE; i++) {
		if (bytes[i] != (uint8_t)(i * 7 + (i >> 8))) {
			fprintf(stderr, "byte %zu is %02x\n", i, bytes[i]);
			return -1;
		}
	}
	if (munmap(bytes, BUFFER_SIZE) || close_handle(fd, host) || close_handle(fd, lmem))
		return -1;
	return 0;
}

int main(int argc, char **argv)
{
	const char *node = argc > 1 ? argv[1] : "/dev/accel/accel0";
	int fd = open(node, O_RDWR | O_CLOEXEC);
	int ret;

	if (fd == -1) {
		perror(node);
		return 1;
	}
	printf("a program of %zu bits on %s\n", sizeof(void *) * 8, node);
	ret = round_trip(fd);
	close(fd);
	if (ret)
		return 1;
	puts("round trip: OK");
	return 0;
}
