// SPDX-License-Identifier: GPL-2.0
/*
 * An exporter that speaks for a VF and is not to be trusted. The interface is
 * described in hlrs_test_exporter.h.
 */
#include <linux/compat.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-interconnect.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hlrs_test_exporter.h"

/* What there is to say about a buffer; protected by its reservation lock. */
struct hte_claim {
	u32 count;
	struct hlrs_test_range ranges[] __counted_by(count);
};

struct hte_buffer {
	struct pci_dev *vf;
	unsigned int bar;
	unsigned int mappings; /* protected by the reservation lock */
	struct hte_claim *claim;
};

static struct hte_claim *hte_claim_read(u64 user, u32 count)
{
	struct hte_claim *claim;

	if (count > HLRS_TEST_MAX_RANGES)
		return ERR_PTR(-E2BIG);
	claim = kvmalloc_flex(*claim, ranges, count);
	if (!claim)
		return ERR_PTR(-ENOMEM);
	claim->count = count;

	if (copy_from_user(claim->ranges, u64_to_user_ptr(user),
			   array_size(count, sizeof(claim->ranges[0])))) {
		kvfree(claim);
		return ERR_PTR(-EFAULT);
	}
	return claim;
}

/* -- The interconnect ---------------------------------------------------------- */

static struct dma_buf_iov_ranges *
hte_map_interconnect(struct dma_buf_interconnect_attachment *ica, enum dma_data_direction dir)
{
	struct hte_buffer *buffer = ica->dmabuf->priv;
	const struct hte_claim *claim = buffer->claim;
	struct dma_buf_iov_ranges *ranges;
	u32 i;

	ranges = dma_buf_iov_ranges_alloc(claim->count);
	if (!ranges)
		return ERR_PTR(-ENOMEM);

	for (i = 0; i < claim->count; i++) {
		ranges->ranges[i] = (struct dma_buf_iov_range) {
			.offset = claim->ranges[i].offset,
			.len = claim->ranges[i].len,
			.bar = claim->ranges[i].bar,
		};
	}
	buffer->mappings++;
	return ranges;
}

static void hte_unmap_interconnect(struct dma_buf_interconnect_attachment *ica,
				   struct dma_buf_iov_ranges *ranges, enum dma_data_direction dir)
{
	struct hte_buffer *buffer = ica->dmabuf->priv;

	buffer->mappings--;
	dma_buf_iov_ranges_free(ranges);
}

static const struct dma_buf_iov_ops hte_iov_ops = {
	.map_interconnect = hte_map_interconnect,
	.unmap_interconnect = hte_unmap_interconnect,
};

static int hte_match_interconnects(struct dma_buf *dmabuf,
				   struct dma_buf_interconnect_negotiation *negotiation)
{
	struct hte_buffer *buffer = dmabuf->priv;
	struct dma_buf_iov_exporter iov = {
		.base.type = &dma_buf_iov_type,
		.vf = buffer->vf,
		.bar = buffer->bar,
		.ops = &hte_iov_ops,
	};
	const struct dma_buf_interconnect *ics[] = { &iov.base };

	return dma_buf_match_interconnects(negotiation, ics, ARRAY_SIZE(ics));
}

/* There is no memory that could be mapped in the ordinary way. */
static struct sg_table *hte_map_dma_buf(struct dma_buf_attachment *attach,
					enum dma_data_direction dir)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void hte_unmap_dma_buf(struct dma_buf_attachment *attach, struct sg_table *table,
			      enum dma_data_direction dir)
{
}

static void hte_release(struct dma_buf *dmabuf)
{
	struct hte_buffer *buffer = dmabuf->priv;

	WARN_ON(buffer->mappings);
	pci_dev_put(buffer->vf);
	kvfree(buffer->claim);
	kfree(buffer);
}

static const struct dma_buf_interconnect_exporter hte_exporter = {
	.base = {
		.map_dma_buf = hte_map_dma_buf,
		.unmap_dma_buf = hte_unmap_dma_buf,
		.release = hte_release,
	},
	.owner = THIS_MODULE,
	.match_interconnects = hte_match_interconnects,
};

/* -- The node -------------------------------------------------------------------- */

static struct hte_buffer *hte_buffer_new(const struct hlrs_test_export *args)
{
	struct hte_buffer *buffer = kzalloc_obj(*buffer);

	if (!buffer)
		return ERR_PTR(-ENOMEM);

	buffer->bar = args->bar;
	buffer->claim = hte_claim_read(args->ranges, args->count);
	if (IS_ERR(buffer->claim)) {
		int ret = PTR_ERR(buffer->claim);

		kfree(buffer);
		return ERR_PTR(ret);
	}

	buffer->vf = pci_get_domain_bus_and_slot(args->domain, args->bus, args->devfn);
	if (!buffer->vf) {
		kvfree(buffer->claim);
		kfree(buffer);
		return ERR_PTR(-ENODEV);
	}
	return buffer;
}

static int hte_export(struct hlrs_test_export *args)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct hte_buffer *buffer;
	struct dma_buf *dmabuf;

	if (args->pad || args->pad1)
		return -EINVAL;

	buffer = hte_buffer_new(args);
	if (IS_ERR(buffer))
		return PTR_ERR(buffer);

	info.ops = &hte_exporter.base;
	info.size = args->size;
	info.flags = O_RDWR;
	info.priv = buffer;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		pci_dev_put(buffer->vf);
		kvfree(buffer->claim);
		kfree(buffer);
		return PTR_ERR(dmabuf);
	}

	args->fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (args->fd < 0) {
		dma_buf_put(dmabuf);
		return args->fd;
	}
	return 0;
}

static int hte_change(struct hlrs_test_change *args)
{
	struct hte_buffer *buffer;
	struct hte_claim *claim;
	struct dma_buf *dmabuf;

	dmabuf = dma_buf_get(args->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	if (dmabuf->ops != &hte_exporter.base) {
		dma_buf_put(dmabuf);
		return -EINVAL;
	}

	claim = hte_claim_read(args->ranges, args->count);
	if (IS_ERR(claim)) {
		dma_buf_put(dmabuf);
		return PTR_ERR(claim);
	}

	buffer = dmabuf->priv;
	dma_resv_lock(dmabuf->resv, NULL);
	swap(buffer->claim, claim);
	if (!args->silent)
		dma_buf_invalidate_mappings(dmabuf);
	args->mappings = buffer->mappings;
	dma_resv_unlock(dmabuf->resv);

	kvfree(claim);
	dma_buf_put(dmabuf);
	return 0;
}

static long hte_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	union {
		struct hlrs_test_export export;
		struct hlrs_test_change change;
	} args;
	size_t size = _IOC_SIZE(cmd);
	int ret;

	if (size > sizeof(args))
		return -ENOTTY;
	if (copy_from_user(&args, user, size))
		return -EFAULT;

	switch (cmd) {
	case HLRS_TEST_IOC_EXPORT:
		ret = hte_export(&args.export);
		break;
	case HLRS_TEST_IOC_CHANGE:
		ret = hte_change(&args.change);
		break;
	default:
		return -ENOTTY;
	}
	if (ret)
		return ret;
	return copy_to_user(user, &args, size) ? -EFAULT : 0;
}

static const struct file_operations hte_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = hte_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice hte_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hlrs-test-exporter",
	.fops = &hte_fops,
	.mode = 0600,
};

static int __init hte_init(void)
{
	int ret = dma_buf_interconnect_register_exporter(&hte_exporter);

	if (ret)
		return ret;
	ret = misc_register(&hte_device);
	if (ret)
		dma_buf_interconnect_unregister_exporter(&hte_exporter);
	return ret;
}

static void __exit hte_exit(void)
{
	misc_deregister(&hte_device);
	dma_buf_interconnect_unregister_exporter(&hte_exporter);
}

module_init(hte_init);
module_exit(hte_exit);

MODULE_AUTHOR("hlrs developers");
MODULE_DESCRIPTION("An untrustworthy exporter of memory of VFs, for tests");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
