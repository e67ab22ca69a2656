/* SPDX-License-Identifier: GPL-2.0 */
/* What bindgen reads for the crate hlrs_nic_abi: the userspace ABI of the NIC, and its commands. */
#include <linux/types.h>

#include <misc/hlrs_nic.h>
#include "../../../accel/hlrs/hlrs_hw.h"
