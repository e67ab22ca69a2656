// SPDX-License-Identifier: GPL-2.0

//! Descriptors of types, as static data.

use ext_bindings::dma_buf_interconnect_type;

/// A descriptor of a type, which is identified by its address.
///
/// That is why it has to be a `static`, and not a constant that each user has a copy of.
#[repr(transparent)]
pub struct StaticType(dma_buf_interconnect_type);

// SAFETY: A descriptor is never written to, and what it points to is static data.
unsafe impl Sync for StaticType {}

impl StaticType {
    pub(super) const fn new(raw: dma_buf_interconnect_type) -> Self {
        Self(raw)
    }

    pub(super) const fn get(&self) -> &dma_buf_interconnect_type {
        &self.0
    }
}
