// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which driver a device has.

use std::fs::write;
use std::io;

use crate::measure::settle;

/// A PCI function that another driver has.
///
/// Dropping it gives the device back to its own driver.
pub struct Binding {
    function: String,
}

impl Binding {
    /// Takes a PCI function from its driver. Nobody else may have it open.
    pub fn new(function: &str, driver: &str) -> io::Result<Self> {
        let this = Self {
            function: function.to_string(),
        };

        // What refers to the device may go a little later than it was closed.
        settle();
        this.drive_by(driver)?;
        Ok(this)
    }

    /// Unbinds the function and has the bus look for a driver. No name stands
    /// for the one that it matches by itself.
    fn drive_by(&self, driver: &str) -> io::Result<()> {
        let folder = format!("/sys/bus/pci/devices/{}", self.function);

        write(format!("{folder}/driver_override"), format!("{driver}\n"))?;
        write(format!("{folder}/driver/unbind"), &self.function)?;
        write("/sys/bus/pci/drivers_probe", &self.function)
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        if let Err(e) = self.drive_by("") {
            eprintln!("hlrs-bench: {} does not come back: {e}", self.function);
        }
    }
}
