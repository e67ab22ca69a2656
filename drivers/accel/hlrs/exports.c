// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the symbols of hlrs.ko that other modules refer to: of its crates, by
 * a list that Kbuild generates from the objects themselves, and the functions
 * of include/linux/hlrs.h, which are implemented in c_api.rs.
 */
#include <linux/export.h>
#include <linux/hlrs.h>

#define EXPORT_SYMBOL_RUST_GPL(sym) extern int sym; EXPORT_SYMBOL_GPL(sym)

#include "exports_generated.h"

EXPORT_SYMBOL_NS_GPL(hlrs_vm_register, "HLRS");
EXPORT_SYMBOL_NS_GPL(hlrs_vm_unregister, "HLRS");
EXPORT_SYMBOL_NS_GPL(hlrs_vm_access, "HLRS");
EXPORT_SYMBOL_NS_GPL(hlrs_vm_context, "HLRS");
EXPORT_SYMBOL_NS_GPL(hlrs_vm_is_same, "HLRS");
EXPORT_SYMBOL_NS_GPL(hlrs_vm_recover, "HLRS");
