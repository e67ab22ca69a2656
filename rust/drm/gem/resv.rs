// SPDX-License-Identifier: GPL-2.0

//! The reservation object of a GEM object.

use super::{
    DriverObject,
    Object, //
};
use crate::dma_resv::DmaResv;

impl<T: DriverObject> Object<T> {
    /// Returns the reservation object: whose lock protects where the memory is, and whose fences
    /// say who uses it.
    pub fn resv(&self) -> &DmaResv {
        // SAFETY: A GEM object has an initialised reservation object for all of its life: its own,
        // or that of an object or a dma-buf that it holds.
        unsafe { DmaResv::from_raw(self.resv_raw()) }
    }
}
