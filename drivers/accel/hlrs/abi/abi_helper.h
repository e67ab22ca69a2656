/* SPDX-License-Identifier: GPL-2.0 */
/* What bindgen reads for the crate hlrs_abi: the userspace ABI, the hardware interface, and what drivers in C use. */
#include <linux/types.h>

#include <drm/hlrs_accel.h>
#include <linux/hlrs.h>
#include "../hlrs_hw.h"

/* Constants whose macros use functions or casts, which bindgen does not evaluate. */
const unsigned int RUST_CONST_HELPER_DRM_IOCTL_BASE = DRM_IOCTL_BASE;
