// SPDX-License-Identifier: GPL-2.0

//! GEM objects as dma-bufs.

use super::{
    DriverObject,
    Object, //
};
use crate::{
    dma_buf::ResvOwner,
    dma_resv::DmaResv, //
};
use kernel::sync::aref::ARef;

/// A reference to an object, for a dma-buf that shares its reservation object.
pub struct ObjectResv<T: DriverObject>(ARef<Object<T>>);

impl<T: DriverObject> ObjectResv<T> {
    /// Takes a reference to `obj`.
    pub fn new(obj: &Object<T>) -> Self {
        Self(ARef::from(obj))
    }
}

// SAFETY: The reservation object of a GEM object never changes, and lives as long as the object,
// to which there is a reference.
unsafe impl<T: DriverObject> ResvOwner for ObjectResv<T> {
    fn resv(&self) -> &DmaResv {
        self.0.resv()
    }
}
