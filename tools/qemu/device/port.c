/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS test machine: a PCIe switch downstream port with ACS.
 *
 * QEMU's xio3130-downstream has no Access Control Services, so everything
 * below such a switch is one IOMMU group and peer-to-peer is always routed
 * by the switch. Server switches have ACS, and the guest then chooses. This is
 * the same port with the capability added.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_port.h"
#include "hw/pci-bridge/xio3130_downstream.h"
#include "migration/vmstate.h"
#include "qemu/module.h"

#define TYPE_HLRS_DOWNSTREAM    "hlrs-downstream"

typedef struct HlrsDownstreamClass HlrsDownstreamClass;
DECLARE_CLASS_CHECKERS(HlrsDownstreamClass, HLRS_DOWNSTREAM,
                       TYPE_HLRS_DOWNSTREAM)

/* Behind the AER capability of the parent type at 0x100. */
#define HLRS_DOWNSTREAM_ACS_OFFSET      0x150

struct HlrsDownstreamClass {
    PCIDeviceClass parent_class;

    void (*parent_realize)(PCIDevice *dev, Error **errp);
    ResettablePhases parent_phases;
};

static void hlrs_downstream_realize(PCIDevice *dev, Error **errp)
{
    HlrsDownstreamClass *klass = HLRS_DOWNSTREAM_GET_CLASS(dev);
    ERRP_GUARD();

    klass->parent_realize(dev, errp);
    if (*errp) {
        return;
    }
    if (!PCIE_SLOT(dev)->disable_acs) {
        pcie_acs_init(dev, HLRS_DOWNSTREAM_ACS_OFFSET);
    }
}

static void hlrs_downstream_reset_hold(Object *obj, ResetType type)
{
    HlrsDownstreamClass *klass = HLRS_DOWNSTREAM_GET_CLASS(obj);

    if (klass->parent_phases.hold) {
        klass->parent_phases.hold(obj, type);
    }
    pcie_acs_reset(PCI_DEVICE(obj));
}

static const VMStateDescription hlrs_downstream_vmstate = {
    .name = TYPE_HLRS_DOWNSTREAM,
    .unmigratable = 1,
};

static void hlrs_downstream_class_init(ObjectClass *oc, void *data)
{
    HlrsDownstreamClass *klass = (HlrsDownstreamClass *)oc;
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);
    DeviceClass *dc = DEVICE_CLASS(oc);

    klass->parent_realize = pc->realize;
    pc->realize = hlrs_downstream_realize;
    resettable_class_set_parent_phases(RESETTABLE_CLASS(oc), NULL,
                                       hlrs_downstream_reset_hold, NULL,
                                       &klass->parent_phases);
    dc->vmsd = &hlrs_downstream_vmstate;
    dc->desc = "PCIe switch downstream port with ACS";
}

static const TypeInfo hlrs_downstream_info = {
    .name = TYPE_HLRS_DOWNSTREAM,
    .parent = TYPE_XIO3130_DOWNSTREAM,
    .class_size = sizeof(HlrsDownstreamClass),
    .class_init = hlrs_downstream_class_init,
};

static void hlrs_port_register_types(void)
{
    type_register_static(&hlrs_downstream_info);
}

type_init(hlrs_port_register_types)
