/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: the PCI function, as far as PF and VF are alike.
 */

#include "qemu/osdep.h"
#include "hw/pci/msix.h"
#include "hw/pci/pcie.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "hlrs.h"

#define HLRS_MSIX_CAP   0x70
#define HLRS_EXP_CAP    0xa0
#define HLRS_AER_CAP    0x100
#define HLRS_ARI_CAP    0x150

#define HLRS_BAR_TYPE   (PCI_BASE_ADDRESS_SPACE_MEMORY | \
                         PCI_BASE_ADDRESS_MEM_TYPE_64)

void hlrs_fn_realize(HlrsFn *fn, HlrsPF *pf, unsigned number, Error **errp)
{
    PCIDevice *dev = hlrs_pci(fn);
    int ret;

    fn->pf = pf;
    fn->number = number;

    memory_region_init_io(&fn->regs, OBJECT(fn), &hlrs_regs_ops, fn,
                          "hlrs-regs", HLRS_REGS_SIZE);
    memory_region_init(&fn->bar_lmem, OBJECT(fn), "hlrs-bar-lmem",
                       pf->aperture_size);
    memory_region_init_io(&fn->hole, OBJECT(fn), &hlrs_hole_ops, fn,
                          "hlrs-hole", pf->aperture_size);
    memory_region_add_subregion_overlap(&fn->bar_lmem, 0, &fn->hole, -1);
    memory_region_init(&fn->bar_msix, OBJECT(fn), "hlrs-bar-msix",
                       HLRS_MSIX_SIZE);

    ret = msix_init(dev, HLRS_NR_VECTORS, &fn->bar_msix, HLRS_BAR_MSIX, 0,
                    &fn->bar_msix, HLRS_BAR_MSIX, HLRS_MSIX_PBA_OFFSET,
                    HLRS_MSIX_CAP, errp);
    if (ret < 0) {
        goto err_regions;
    }
    for (unsigned i = 0; i < HLRS_NR_VECTORS; i++) {
        msix_vector_use(dev, i);
    }

    ret = pcie_endpoint_cap_init(dev, HLRS_EXP_CAP);
    if (ret < 0) {
        error_setg(errp, "cannot add the PCI Express capability");
        goto err_msix;
    }
    pcie_cap_flr_init(dev);
    pcie_cap_deverr_init(dev);
    if (pcie_aer_init(dev, PCI_ERR_VER, HLRS_AER_CAP, PCI_ERR_SIZEOF,
                      errp) < 0) {
        goto err_exp;
    }
    pcie_ari_init(dev, HLRS_ARI_CAP);

    pci_register_bar(dev, HLRS_BAR_REGS, HLRS_BAR_TYPE, &fn->regs);
    pci_register_bar(dev, HLRS_BAR_LMEM,
                     HLRS_BAR_TYPE | PCI_BASE_ADDRESS_MEM_PREFETCH,
                     &fn->bar_lmem);
    pci_register_bar(dev, HLRS_BAR_MSIX, HLRS_BAR_TYPE, &fn->bar_msix);

    hlrs_irq_init(fn);
    hlrs_reset_init(fn);
    for (unsigned i = 0; i < HLRS_NR_QUEUES; i++) {
        hlrs_queue_init(fn, i);
    }
    hlrs_reset_power_on(fn);
    fn->gone = false;
    return;

err_exp:
    pcie_cap_exit(dev);
err_msix:
    msix_unuse_all_vectors(dev);
    msix_uninit(dev, &fn->bar_msix, &fn->bar_msix);
err_regions:
    memory_region_del_subregion(&fn->bar_lmem, &fn->hole);
}

void hlrs_fn_exit(HlrsFn *fn)
{
    PCIDevice *dev = hlrs_pci(fn);

    fn->gone = true;
    for (unsigned i = 0; i < HLRS_NR_QUEUES; i++) {
        hlrs_queue_exit(&fn->queue[i]);
    }
    hlrs_reset_exit(fn);
    hlrs_irq_exit(fn);
    /* A region inside one of the same owner holds a reference to the owner. */
    memory_region_del_subregion(&fn->bar_lmem, &fn->hole);
    pcie_aer_exit(dev);
    pcie_cap_exit(dev);
    msix_unuse_all_vectors(dev);
    msix_uninit(dev, &fn->bar_msix, &fn->bar_msix);
    fn->msix_after = g_malloc0(HLRS_MSIX_SIZE);
    dev->msix_table = fn->msix_after;
    dev->msix_pba = fn->msix_after;
}

static void hlrs_fn_finalize(Object *obj)
{
    HlrsFn *fn = HLRS_FN(obj);

    hlrs_mmu_finalize(fn);
    g_free(fn->msix_after);
}

static void hlrs_fn_reset_hold(Object *obj, ResetType type)
{
    hlrs_reset_power_on(HLRS_FN(obj));
}

static const VMStateDescription hlrs_fn_vmstate = {
    .name = TYPE_HLRS_FN,
    .unmigratable = 1,
};

static void hlrs_fn_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    ResettableClass *rc = RESETTABLE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);

    pc->vendor_id = HLRS_PCI_VENDOR_ID;
    pc->class_id = HLRS_PCI_CLASS;
    pc->revision = HLRS_PCI_REVISION;
    rc->phases.hold = hlrs_fn_reset_hold;
    dc->vmsd = &hlrs_fn_vmstate;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo hlrs_fn_info = {
    .name = TYPE_HLRS_FN,
    .parent = TYPE_PCI_DEVICE,
    .abstract = true,
    .instance_size = sizeof(HlrsFn),
    .instance_finalize = hlrs_fn_finalize,
    .class_init = hlrs_fn_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_PCIE_DEVICE },
        { }
    },
};

static void hlrs_fn_register_types(void)
{
    type_register_static(&hlrs_fn_info);
}

type_init(hlrs_fn_register_types)
