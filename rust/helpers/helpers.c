// SPDX-License-Identifier: GPL-2.0
/*
 * One file for each header of the kernel whose inline functions are needed,
 * sorted alphabetically, as rust/helpers/helpers.c of the kernel does.
 */
#include <linux/export.h>

#include "helpers.h"

#include "drm_vma_manager.c"
#include "pci.c"
