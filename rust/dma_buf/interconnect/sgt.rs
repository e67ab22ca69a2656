// SPDX-License-Identifier: GPL-2.0

//! The type of the scatterlist, which every exporter has.

use super::descriptor::StaticType;
use kernel::{
    error::from_result,
    prelude::*, //
};

use core::ptr::null_mut;

type Sgt = ext_bindings::dma_buf_sgt_interconnect;

/// The scatterlist.
///
/// It has no owner: whoever uses it depends on this module by name.
#[no_mangle]
pub(super) static dma_buf_sgt_type: StaticType =
    StaticType::new(ext_bindings::dma_buf_interconnect_type {
        name: c"sgt".to_bytes_with_nul().as_ptr(),
        owner: null_mut(),
        match_size: 0,
        match_: Some(matches),
        finish_match: None,
        release_match: None,
        debugfs_dump: None,
    });

pub(super) fn descriptor() -> &'static ext_bindings::dma_buf_interconnect_type {
    dma_buf_sgt_type.get()
}

pub(super) fn is(ty: *const ext_bindings::dma_buf_interconnect_type) -> bool {
    core::ptr::eq(ty, descriptor())
}

/// What there is to say about a scatterlist. `peer2peer` matters on the exporter's side only.
pub(super) fn side(peer2peer: bool) -> Sgt {
    Sgt {
        base: ext_bindings::dma_buf_interconnect {
            type_: descriptor(),
        },
        peer2peer,
    }
}

/// What an exporter has that is not in the registry.
pub(super) fn ordinary_exporter() -> Sgt {
    // Its own `attach` decides about peer-to-peer memory.
    side(false)
}

/// # Safety
///
/// Called by the core only, with a pair of this type.
unsafe extern "C" fn matches(pair: *const ext_bindings::dma_buf_interconnect_pair) -> c_int {
    from_result(|| {
        // SAFETY: By the safety requirements.
        let (exporter, ops) = unsafe { (&*(*pair).exporter.cast::<Sgt>(), &*(*pair).importer_ops) };

        if exporter.peer2peer && !ops.allow_peer2peer {
            return Err(EOPNOTSUPP);
        }
        Ok(0)
    })
}
