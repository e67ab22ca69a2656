/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: the link between two devices.
 *
 * It is a cable with two ends: up while both devices exist and each names the
 * other in its "link" property. Engines of one PF then reach the other's LMEM
 * without passing the bus.
 */

#include "qemu/osdep.h"
#include "hlrs.h"
#include "trace.h"

static QLIST_HEAD(, HlrsPF) hlrs_pfs = QLIST_HEAD_INITIALIZER(hlrs_pfs);

static bool hlrs_link_names(HlrsPF *from, HlrsPF *to)
{
    const char *id = DEVICE(to)->id;

    return from->link && id && !strcmp(from->link, id);
}

static void hlrs_link_set(HlrsPF *pf, HlrsPF *peer)
{
    trace_hlrs_link(hlrs_pci(&pf->fn)->name, peer != NULL);
    pf->peer = peer;
    hlrs_event(&pf->fn, HLRS_EVENT_LINK);
}

void hlrs_link_join(HlrsPF *pf)
{
    HlrsPF *other;

    QLIST_FOREACH(other, &hlrs_pfs, next) {
        if (!other->peer && hlrs_link_names(pf, other) &&
            hlrs_link_names(other, pf)) {
            hlrs_link_set(pf, other);
            hlrs_link_set(other, pf);
            break;
        }
    }
    QLIST_INSERT_HEAD(&hlrs_pfs, pf, next);
}

void hlrs_link_leave(HlrsPF *pf)
{
    QLIST_REMOVE(pf, next);
    if (pf->peer) {
        hlrs_link_set(pf->peer, NULL);
        pf->peer = NULL;
    }
}
