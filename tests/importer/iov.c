// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/hlrs-test-iov: an importer in the name of a PF, for tests only. It offers
 * the memory of a VF behind BAR 2 first, a scatterlist second, and tells what it
 * was given. An open file is one attachment; what it has ends with it.
 */
#include <linux/dma-buf.h>
#include <linux/dma-buf-interconnect.h>
#include <linux/dma-resv.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hlrs_test_iov.h"

struct hti_iov {
	/* Taken before the reservation lock. */
	struct mutex lock;
	struct pci_dev *pdev;
	struct dma_buf *dmabuf;
	struct dma_buf_interconnect_attachment *ica;

	/* Protected by the reservation lock. */
	struct dma_buf_iov_ranges *ranges;
	struct sg_table *table;
	u32 invalidations;
};

static void hti_iov_unmap(struct hti_iov *iov)
{
	if (iov->ranges)
		dma_buf_iov_unmap_interconnect(iov->ica, iov->ranges, DMA_BIDIRECTIONAL);
	if (iov->table)
		dma_buf_sgt_unmap_interconnect(iov->ica, iov->table, DMA_BIDIRECTIONAL);
	iov->ranges = NULL;
	iov->table = NULL;
}

static void hti_iov_invalidate(struct dma_buf_attachment *attach)
{
	struct dma_buf_interconnect_attachment *ica = dma_buf_interconnect_attachment(attach);
	struct hti_iov *iov = ica->importer_priv;

	iov->invalidations++;
	/* It may be told before it knows that it is attached; it has nothing then. */
	if (iov->ica)
		hti_iov_unmap(iov);
}

static const struct dma_buf_interconnect_importer hti_iov_importer = {
	.base = { .invalidate_mappings = hti_iov_invalidate, .allow_peer2peer = true },
	.owner = THIS_MODULE,
	.name = "hlrs_test_iov",
};

static int hti_iov_attach(struct hti_iov *iov, const struct hlrs_test_iov_attach *args)
{
	const struct dma_buf_iov_importer native = {
		.base = { .type = &dma_buf_iov_type },
		.bar = args->bar,
	};
	const struct dma_buf_sgt_interconnect table = {
		.base = { .type = &dma_buf_sgt_type },
		.peer2peer = true,
	};
	const struct dma_buf_interconnect *ics[] = { &native.base, &table.base };
	struct dma_buf_interconnect_attachment *ica;
	int ret;

	if (iov->ica)
		return -EBUSY;

	iov->dmabuf = dma_buf_get(args->fd);
	if (IS_ERR(iov->dmabuf))
		return PTR_ERR(iov->dmabuf);
	iov->pdev = pci_get_domain_bus_and_slot(args->domain, args->bus, args->devfn);
	if (!iov->pdev) {
		ret = -ENXIO;
		goto put;
	}

	ica = dma_buf_interconnect_attach(iov->dmabuf, &iov->pdev->dev, &hti_iov_importer, iov,
					  ics, ARRAY_SIZE(ics));
	if (!IS_ERR(ica)) {
		iov->ica = ica;
		return 0;
	}
	ret = PTR_ERR(ica);
	pci_dev_put(iov->pdev);
put:
	dma_buf_put(iov->dmabuf);
	return ret;
}

/* Maps, if it is not, and tells what there is. */
static int hti_iov_map(struct hti_iov *iov, struct hlrs_test_iov_map *args)
{
	const struct dma_buf_iov_match *match;
	int ret = 0;
	u32 n;

	if (!iov->ica)
		return -ENOTCONN;
	match = to_dma_buf_iov_match(iov->ica);
	memset(args, 0, sizeof(*args));
	args->native = !!match;

	dma_resv_lock(iov->dmabuf->resv, NULL);
	if (match && !iov->ranges) {
		iov->ranges = dma_buf_iov_map_interconnect(iov->ica, DMA_BIDIRECTIONAL);
		ret = PTR_ERR_OR_ZERO(iov->ranges);
		if (ret)
			iov->ranges = NULL;
	} else if (!match && !iov->table) {
		iov->table = dma_buf_sgt_map_interconnect(iov->ica, DMA_BIDIRECTIONAL);
		ret = PTR_ERR_OR_ZERO(iov->table);
		if (ret)
			iov->table = NULL;
	}
	if (!ret && match) {
		args->vf_number = match->vf_number;
		args->valid = !dma_buf_iov_ranges_check(iov->ica, iov->ranges,
							pci_resource_len(match->vf, match->bar));
		args->count = iov->ranges->count;
		for (n = 0; n < min(args->count, HLRS_TEST_IOV_RANGES); n++) {
			args->ranges[n].bar = iov->ranges->ranges[n].bar;
			args->ranges[n].offset = iov->ranges->ranges[n].offset;
			args->ranges[n].len = iov->ranges->ranges[n].len;
		}
	}
	dma_resv_unlock(iov->dmabuf->resv);
	return ret;
}

static int hti_iov_state(struct hti_iov *iov, struct hlrs_test_iov_state *args)
{
	if (!iov->ica)
		return -ENOTCONN;
	dma_resv_lock(iov->dmabuf->resv, NULL);
	args->mapped = iov->ranges || iov->table;
	args->invalidations = iov->invalidations;
	dma_resv_unlock(iov->dmabuf->resv);
	return 0;
}

static long hti_iov_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	union {
		struct hlrs_test_iov_attach attach;
		struct hlrs_test_iov_map map;
		struct hlrs_test_iov_state state;
	} args = {};
	struct hti_iov *iov = filp->private_data;
	size_t size = min(_IOC_SIZE(cmd), sizeof(args));
	int ret = -ENOTTY;

	if (copy_from_user(&args, (void __user *)arg, size))
		return -EFAULT;

	mutex_lock(&iov->lock);
	switch (cmd) {
	case HLRS_TEST_IOV_IOC_ATTACH:
		ret = hti_iov_attach(iov, &args.attach);
		break;
	case HLRS_TEST_IOV_IOC_MAP:
		ret = hti_iov_map(iov, &args.map);
		break;
	case HLRS_TEST_IOV_IOC_STATE:
		ret = hti_iov_state(iov, &args.state);
		break;
	}
	mutex_unlock(&iov->lock);

	if (!ret && copy_to_user((void __user *)arg, &args, size))
		ret = -EFAULT;
	return ret;
}

static int hti_iov_open(struct inode *inode, struct file *filp)
{
	struct hti_iov *iov = kzalloc_obj(*iov);

	if (!iov)
		return -ENOMEM;
	mutex_init(&iov->lock);
	filp->private_data = iov;
	return 0;
}

static int hti_iov_release(struct inode *inode, struct file *filp)
{
	struct hti_iov *iov = filp->private_data;

	if (iov->ica) {
		dma_resv_lock(iov->dmabuf->resv, NULL);
		hti_iov_unmap(iov);
		dma_resv_unlock(iov->dmabuf->resv);
		dma_buf_interconnect_detach(iov->ica);
		pci_dev_put(iov->pdev);
		dma_buf_put(iov->dmabuf);
	}
	mutex_destroy(&iov->lock);
	kfree(iov);
	return 0;
}

static const struct file_operations hti_iov_fops = {
	.owner = THIS_MODULE,
	.open = hti_iov_open,
	.release = hti_iov_release,
	.unlocked_ioctl = hti_iov_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice hti_iov_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hlrs-test-iov",
	.fops = &hti_iov_fops,
	.mode = 0600,
};

static int __init hti_iov_init(void)
{
	int ret = dma_buf_interconnect_register_importer(&hti_iov_importer);

	if (ret)
		return ret;
	ret = misc_register(&hti_iov_device);
	if (ret)
		dma_buf_interconnect_unregister_importer(&hti_iov_importer);
	return ret;
}

static void __exit hti_iov_exit(void)
{
	misc_deregister(&hti_iov_device);
	dma_buf_interconnect_unregister_importer(&hti_iov_importer);
}

module_init(hti_iov_init);
module_exit(hti_iov_exit);

MODULE_AUTHOR("hlrs developers");
MODULE_DESCRIPTION("Importer of VF memory for tests");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
