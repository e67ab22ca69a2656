// SPDX-License-Identifier: GPL-2.0
/*
 * The least that a driver of the accelerator can do to run jobs: an ioctl, a
 * DRM scheduler, one hardware queue, an interrupt. A job is what user space
 * wrote, taken as it is: there are no address spaces, nobody is protected from
 * anybody, and nothing is done about faults. Fences, locks and threads are
 * those of any driver with a scheduler.
 *
 * It has no table of devices: it drives what it is given by driver_override.
 */
#include <drm/drm_accel.h>
#include <drm/drm_drv.h>
#include <drm/drm_exec.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_syncobj.h>
#include <drm/gpu_scheduler.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/interrupt.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/uaccess.h>

#include "bench.h"
#include "hlrs_bench_peer.h"
#include "hlrs_hw.h"

#define QUEUE		1
#define VECTOR		1
#define ORDER		7
#define RING_COMMANDS	(1U << ORDER)

struct bench_queue {
	struct drm_device drm;
	void __iomem *regs;

	struct drm_gpu_scheduler sched;
	struct drm_sched_entity entity;
	struct mutex arm_lock; /* from arming a job until it is pushed */

	/* What a job locks, in place of buffers. */
	struct drm_gem_object object;

	struct mutex lock; /* protects what follows */
	struct hlrs_cmd *ring;
	dma_addr_t ring_dma;
	struct hlrs_fence_result *result;
	dma_addr_t result_dma;
	struct dma_fence *running;
	u32 tail;

	u64 context;
	u64 seqno; /* that of the running job; jobs run one after the other */
	atomic_t jobs;
	wait_queue_head_t idle;
};

struct bench_fence {
	struct dma_fence base;
	spinlock_t lock;
};

struct bench_job {
	struct drm_sched_job base;
	struct bench_queue *queue;
	struct bench_fence *fence;
	u32 count;
	struct hlrs_cmd commands[] __counted_by(count);
};

static u32 queue_read(struct bench_queue *queue, u32 reg)
{
	return readl(queue->regs + HLRS_REG_Q(QUEUE) + reg);
}

static void queue_write(struct bench_queue *queue, u32 reg, u32 value)
{
	writel(value, queue->regs + HLRS_REG_Q(QUEUE) + reg);
}

static const char *bench_fence_name(struct dma_fence *fence)
{
	return "hlrs-bench-submit";
}

static const struct dma_fence_ops bench_fence_ops = {
	.get_driver_name = bench_fence_name,
	.get_timeline_name = bench_fence_name,
};

static void bench_push(struct bench_queue *queue, const struct hlrs_cmd *command)
{
	queue->ring[queue->tail++ % RING_COMMANDS] = *command;
}

static struct dma_fence *bench_run_job(struct drm_sched_job *base)
{
	struct bench_job *job = container_of(base, struct bench_job, base);
	struct bench_queue *queue = job->queue;
	struct bench_fence *fence = job->fence;
	struct hlrs_cmd end = {};
	u32 i;

	mutex_lock(&queue->lock);

	spin_lock_init(&fence->lock);
	dma_fence_init(&fence->base, &bench_fence_ops, &fence->lock, queue->context,
		       ++queue->seqno);
	job->fence = NULL;
	queue->running = dma_fence_get(&fence->base);

	for (i = 0; i < job->count; i++)
		bench_push(queue, &job->commands[i]);
	end.header = HLRS_OP_FENCE | HLRS_CMD_IRQ | HLRS_SPACE_BUS << HLRS_CMD_DST_SPACE_SHIFT;
	end.dst = queue->result_dma;
	end.data = queue->seqno;
	bench_push(queue, &end);
	queue_write(queue, HLRS_Q_TAIL, queue->tail);

	mutex_unlock(&queue->lock);
	return &fence->base;
}

static enum drm_gpu_sched_stat bench_timedout_job(struct drm_sched_job *base)
{
	return DRM_GPU_SCHED_STAT_NO_HANG;
}

static void bench_free_job(struct drm_sched_job *base)
{
	struct bench_job *job = container_of(base, struct bench_job, base);
	struct bench_queue *queue = job->queue;

	drm_sched_job_cleanup(base);
	kfree(job->fence);
	kfree(job);
	if (atomic_dec_and_test(&queue->jobs))
		wake_up(&queue->idle);
}

static const struct drm_sched_backend_ops bench_sched_ops = {
	.run_job = bench_run_job,
	.timedout_job = bench_timedout_job,
	.free_job = bench_free_job,
};

static irqreturn_t bench_interrupt(int irq, void *data)
{
	struct bench_queue *queue = data;
	struct dma_fence *fence = NULL;

	writel(1U << QUEUE, queue->regs + HLRS_REG_QUEUE_IRQ);

	mutex_lock(&queue->lock);
	if (queue->running && READ_ONCE(queue->result->seqno) == queue->seqno) {
		fence = queue->running;
		queue->running = NULL;
		dma_fence_signal(fence);
	}
	mutex_unlock(&queue->lock);

	dma_fence_put(fence);
	return IRQ_HANDLED;
}

static struct bench_job *bench_job_create(struct bench_queue *queue,
					  const struct drm_bench_submit *args)
{
	struct bench_job *job;

	job = kzalloc_flex(*job, commands, args->num_commands);
	if (!job)
		return ERR_PTR(-ENOMEM);
	job->queue = queue;

	if (copy_from_user(job->commands, u64_to_user_ptr(args->commands),
			   flex_array_size(job, commands, job->count))) {
		kfree(job);
		return ERR_PTR(-EFAULT);
	}

	job->fence = kzalloc_obj(*job->fence);
	if (!job->fence) {
		kfree(job);
		return ERR_PTR(-ENOMEM);
	}
	return job;
}

static void bench_job_destroy(struct bench_job *job)
{
	kfree(job->fence);
	kfree(job);
}

/* Locks, arms, publishes the fence, pushes. */
static int bench_job_push(struct bench_queue *queue, struct bench_job *job,
			  struct drm_syncobj *syncobj)
{
	struct drm_exec exec;
	int ret = 0;

	drm_exec_init(&exec, DRM_EXEC_INTERRUPTIBLE_WAIT, 0);
	drm_exec_until_all_locked(&exec) {
		ret = drm_exec_prepare_obj(&exec, &queue->object, 1);
		drm_exec_retry_on_contention(&exec);
		if (ret)
			goto fini_exec;
	}

	atomic_inc(&queue->jobs);
	mutex_lock(&queue->arm_lock);
	drm_sched_job_arm(&job->base);
	dma_resv_add_fence(queue->object.resv, &job->base.s_fence->finished,
			   DMA_RESV_USAGE_BOOKKEEP);
	drm_syncobj_replace_fence(syncobj, &job->base.s_fence->finished);
	drm_sched_entity_push_job(&job->base);
	mutex_unlock(&queue->arm_lock);

fini_exec:
	drm_exec_fini(&exec);
	return ret;
}

static int bench_submit(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct bench_queue *queue = container_of(drm, struct bench_queue, drm);
	struct drm_bench_submit *args = data;
	struct drm_syncobj *syncobj;
	struct bench_job *job;
	int ret, index;

	if (!args->num_commands || args->num_commands >= RING_COMMANDS)
		return -EINVAL;
	if (!drm_dev_enter(drm, &index))
		return -ENODEV;

	syncobj = drm_syncobj_find(file, args->syncobj);
	if (!syncobj) {
		ret = -ENOENT;
		goto exit;
	}

	job = bench_job_create(queue, args);
	if (IS_ERR(job)) {
		ret = PTR_ERR(job);
		goto put_syncobj;
	}

	ret = drm_sched_job_init(&job->base, &queue->entity, 1, file, file->client_id);
	if (ret) {
		bench_job_destroy(job);
		goto put_syncobj;
	}

	ret = bench_job_push(queue, job, syncobj);
	if (ret) {
		drm_sched_job_cleanup(&job->base);
		bench_job_destroy(job);
	}

put_syncobj:
	drm_syncobj_put(syncobj);
exit:
	drm_dev_exit(index);
	return ret;
}

static const struct drm_ioctl_desc bench_ioctls[] = {
	{
		.cmd = DRM_IOCTL_BENCH_SUBMIT,
		.func = bench_submit,
		.flags = DRM_ROOT_ONLY,
		.name = "BENCH_SUBMIT",
	},
};

DEFINE_DRM_ACCEL_FOPS(bench_submit_fops);

static const struct drm_driver bench_submit_driver = {
	.driver_features = DRIVER_COMPUTE_ACCEL | DRIVER_GEM | DRIVER_SYNCOBJ |
			   DRIVER_SYNCOBJ_TIMELINE,
	.fops = &bench_submit_fops,
	.ioctls = bench_ioctls,
	.num_ioctls = ARRAY_SIZE(bench_ioctls),
	.name = "hlrs-bench-submit",
	.desc = "peer of the hlrs benchmarks",
	.major = 1,
};

/* Ends what the queue does. The device accesses no memory for it afterwards. */
static int bench_reset(struct bench_queue *queue)
{
	u32 status;

	queue_write(queue, HLRS_Q_CTRL, HLRS_Q_CTRL_RESET);
	return readl_poll_timeout(queue->regs + HLRS_REG_Q(QUEUE) + HLRS_Q_STATUS, status,
				  !(status & (HLRS_Q_STATUS_RESETTING | HLRS_Q_STATUS_BUSY)),
				  10, USEC_PER_SEC);
}

static int bench_start(struct bench_queue *queue)
{
	int ret;

	ret = bench_reset(queue);
	if (ret)
		return ret;

	writeq(queue->ring_dma, queue->regs + HLRS_REG_Q(QUEUE) + HLRS_Q_RING);
	queue_write(queue, HLRS_Q_ORDER, ORDER);
	queue_write(queue, HLRS_Q_VECTOR, VECTOR);
	queue_write(queue, HLRS_Q_CTRL, HLRS_Q_CTRL_ENABLE | HLRS_Q_CTRL_PRIV);
	return queue_read(queue, HLRS_Q_CLASS) == HLRS_Q_CLASS_COPY ? 0 : -ENODEV;
}

static int bench_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct drm_sched_init_args args = {
		.ops = &bench_sched_ops,
		.num_rqs = DRM_SCHED_PRIORITY_COUNT,
		.credit_limit = 1,
		.timeout = HZ,
		.name = "hlrs-bench-submit",
		.dev = &pdev->dev,
	};
	struct drm_gpu_scheduler *sched;
	struct bench_queue *queue;
	int ret;

	queue = devm_drm_dev_alloc(&pdev->dev, &bench_submit_driver, struct bench_queue, drm);
	if (IS_ERR(queue))
		return PTR_ERR(queue);
	pci_set_drvdata(pdev, queue);
	mutex_init(&queue->arm_lock);
	mutex_init(&queue->lock);
	init_waitqueue_head(&queue->idle);
	queue->context = dma_fence_context_alloc(1);

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	queue->regs = pcim_iomap_region(pdev, 0, "hlrs-bench-submit");
	if (IS_ERR(queue->regs))
		return PTR_ERR(queue->regs);
	if (readl(queue->regs + HLRS_REG_ID) != HLRS_ID)
		return -ENODEV;

	queue->ring = dmam_alloc_coherent(&pdev->dev, RING_COMMANDS * sizeof(*queue->ring),
					  &queue->ring_dma, GFP_KERNEL);
	queue->result = dmam_alloc_coherent(&pdev->dev, sizeof(*queue->result),
					    &queue->result_dma, GFP_KERNEL);
	if (!queue->ring || !queue->result)
		return -ENOMEM;

	pci_set_master(pdev);
	ret = pci_alloc_irq_vectors(pdev, VECTOR + 1, VECTOR + 1, PCI_IRQ_MSIX);
	if (ret < 0)
		return ret;
	ret = request_threaded_irq(pci_irq_vector(pdev, VECTOR), NULL, bench_interrupt,
				   IRQF_ONESHOT, "hlrs-bench-submit", queue);
	if (ret)
		goto free_vectors;

	ret = bench_start(queue);
	if (ret)
		goto free_irq;
	ret = drm_sched_init(&queue->sched, &args);
	if (ret)
		goto reset;
	sched = &queue->sched;
	ret = drm_sched_entity_init(&queue->entity, DRM_SCHED_PRIORITY_NORMAL, &sched, 1, NULL);
	if (ret)
		goto fini_sched;

	drm_gem_private_object_init(&queue->drm, &queue->object, PAGE_SIZE);
	ret = drm_dev_register(&queue->drm, 0);
	if (ret)
		goto fini_entity;
	return 0;

fini_entity:
	drm_gem_private_object_fini(&queue->object);
	drm_sched_entity_destroy(&queue->entity);
fini_sched:
	drm_sched_fini(&queue->sched);
reset:
	bench_reset(queue);
free_irq:
	free_irq(pci_irq_vector(pdev, VECTOR), queue);
free_vectors:
	pci_free_irq_vectors(pdev);
	return ret;
}

static void bench_remove(struct pci_dev *pdev)
{
	struct bench_queue *queue = pci_get_drvdata(pdev);

	drm_dev_unplug(&queue->drm);
	/* Jobs end by themselves: there are no commands here that take long. */
	drm_sched_entity_flush(&queue->entity, MAX_WAIT_SCHED_ENTITY_Q_EMPTY);
	wait_event(queue->idle, !atomic_read(&queue->jobs));
	drm_sched_entity_destroy(&queue->entity);
	drm_sched_fini(&queue->sched);
	drm_gem_private_object_fini(&queue->object);

	bench_reset(queue);
	free_irq(pci_irq_vector(pdev, VECTOR), queue);
	pci_free_irq_vectors(pdev);
}

static struct pci_driver bench_pci_driver = {
	.name = "hlrs-bench-submit",
	.probe = bench_probe,
	.remove = bench_remove,
};

int bench_submit_init(void)
{
	return pci_register_driver(&bench_pci_driver);
}

void bench_submit_exit(void)
{
	pci_unregister_driver(&bench_pci_driver);
}
