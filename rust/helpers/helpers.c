// SPDX-License-Identifier: GPL-2.0
/*
 * One file for each header of the kernel whose inline functions are needed,
 * sorted alphabetically, as rust/helpers/helpers.c of the kernel does.
 */
#include <linux/export.h>

#include "helpers.h"

#include "devcoredump.c"
#include "dma_buf.c"
#include "dma_fence.c"
#include "dma_mapping.c"
#include "dma_resv.c"
#include "drm_gem.c"
#include "drm_gpuvm.c"
#include "drm_print.c"
#include "drm_sched.c"
#include "drm_syncobj.c"
#include "drm_vma_manager.c"
#include "fs.c"
#include "io.c"
#include "mm.c"
#include "pci.c"
#include "sched.c"
#include "slab.c"
#include "vfio.c"
#include "wait.c"
