/* SPDX-License-Identifier: GPL-2.0 */
/* What bindgen reads for the crate hlrs_abi: the userspace ABI and the hardware interface. */
#include <linux/types.h>

#include <drm/hlrs_accel.h>
#include "../hlrs_hw.h"

/* Constants whose macros use functions or casts, which bindgen does not evaluate. */
const unsigned int RUST_CONST_HELPER_DRM_IOCTL_BASE = DRM_IOCTL_BASE;
