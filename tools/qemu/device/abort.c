/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: reads that nobody answers.
 *
 * On PCI Express such a read gives all ones, and drivers recognise by it that
 * a device was pulled. QEMU gives zeros. So the first accelerator on a bus
 * below a port leaves a region there, behind everything else, that answers
 * with ones. It belongs to the port: it has to be there when the device is not.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_bus.h"
#include "hlrs.h"

#define HLRS_ABORT_NAME         "hlrs-abort"
#define HLRS_ABORT_PRIORITY     (-1000)

static uint64_t hlrs_abort_read(void *opaque, hwaddr addr, unsigned size)
{
    return MAKE_64BIT_MASK(0, size * 8);
}

static void hlrs_abort_write(void *opaque, hwaddr addr, uint64_t val,
                             unsigned size)
{
}

static const MemoryRegionOps hlrs_abort_ops = {
    .read = hlrs_abort_read,
    .write = hlrs_abort_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
    .impl = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
};

void hlrs_abort_install(PCIBus *bus)
{
    PCIDevice *port = pci_bridge_get_device(bus);
    MemoryRegion *mr;

    if (!port ||
        object_resolve_path_component(OBJECT(port), HLRS_ABORT_NAME "[0]")) {
        return;
    }
    mr = g_new0(MemoryRegion, 1);
    memory_region_init_io(mr, OBJECT(port), &hlrs_abort_ops, NULL,
                          HLRS_ABORT_NAME, UINT64_MAX);
    OBJECT(mr)->free = g_free;
    memory_region_add_subregion_overlap(bus->address_space_mem, 0, mr,
                                        HLRS_ABORT_PRIORITY);
}
