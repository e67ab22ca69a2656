// SPDX-License-Identifier: MIT OR Apache-2.0
//! Binding and loading of the driver.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use hlrs::Node;

use super::cards;
use super::wait_until;
use super::write;
use super::REACTION;
use crate::check;
use crate::harness::Outcome;

const DRIVER: &str = "/sys/bus/pci/drivers/hlrs";

/// Directory of a PCI function in sysfs.
pub fn pci(address: &str) -> PathBuf {
    Path::new("/sys/bus/pci/devices").join(address)
}

/// Takes the driver off a function.
pub fn unbind(address: &str) -> std::io::Result<()> {
    write(format!("{DRIVER}/unbind"), address)
}

/// Gives a function to the driver; returns when probe has succeeded.
pub fn bind(address: &str) -> std::io::Result<()> {
    write(format!("{DRIVER}/bind"), address)
}

/// Waits for the node of a function.
pub fn wait_node(address: &str) -> Outcome<Node> {
    let find = || {
        let nodes = hlrs::list().unwrap_or_default();
        nodes
            .into_iter()
            .find(|node| node.address == address && node.path.exists())
    };
    let mut found = None;
    wait_until(&format!("a node for {address}"), REACTION, || {
        found = find();
        found.is_some()
    })?;
    found.ok_or_else(|| crate::harness::Stop::failed("the node has gone again"))
}

/// A function without its driver, bound again when this is dropped.
pub struct Unbound<'a>(pub &'a str);

impl Drop for Unbound<'_> {
    fn drop(&mut self) {
        if !pci(self.0).join("driver").exists() {
            if let Err(err) = bind(self.0) {
                println!("{} could not be bound again: {err}", self.0);
            }
        }
    }
}

/// Runs a program, which must succeed.
pub fn program(name: &str, arguments: &[&str]) -> Outcome {
    let out = Command::new(name).args(arguments).output()?;
    check!(
        out.status.success(),
        "{name} {}: {}, {}",
        arguments.join(" "),
        out.status,
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(())
}

/// Unloads the driver and the crate that it uses, at once.
pub fn unload_now() -> Outcome {
    for module in [
        "hlrs_nic",
        "hlrs_test_vm",
        "hlrs_vfio_pci",
        "hlrs",
        "dma_buf_ic",
    ] {
        if Path::new("/sys/module").join(module).exists() {
            program("rmmod", &[module])?;
        }
    }
    Ok(())
}

/// As [`unload_now`], but waits until nothing uses the modules any more: a job
/// in flight does so for a while after its files are closed.
pub fn unload() -> Outcome {
    let start = Instant::now();
    loop {
        let result = unload_now();
        if result.is_ok() || start.elapsed() > REACTION {
            return result;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Loads a module, without its self tests, which take seconds.
pub fn modprobe(arguments: &[&str]) -> Outcome {
    let _quiet = NoSelfTests::new();
    program("modprobe", arguments)
}

/// Modules do not test themselves when they are loaded.
struct NoSelfTests(Option<String>);

impl NoSelfTests {
    const FILTER: &'static str = "/sys/module/kunit/parameters/filter_glob";

    fn new() -> NoSelfTests {
        let before = std::fs::read_to_string(Self::FILTER).ok();
        // Where there is no such filter they do.
        let set = write(Self::FILTER, "none");
        NoSelfTests(before.filter(|_| set.is_ok()))
    }
}

impl Drop for NoSelfTests {
    fn drop(&mut self) {
        let Some(before) = &self.0 else { return };
        let all = match before.trim() {
            "" | "(null)" => "*",
            other => other,
        };
        if let Err(err) = write(Self::FILTER, all) {
            println!("the filter of self tests could not be put back: {err}");
        }
    }
}

/// Loads the driver and waits for as many accelerators as there are devices.
pub fn load(accelerators: usize) -> Outcome {
    load_with(accelerators, &[])
}

/// As [`load`], with module parameters such as `name=value`.
pub fn load_with(accelerators: usize, parameters: &[&str]) -> Outcome {
    modprobe(&[&["hlrs"], parameters].concat())?;
    wait_until("the nodes of all accelerators", REACTION, || {
        cards::nodes().is_ok_and(|nodes| {
            nodes.len() == accelerators && nodes.iter().all(|node| node.path.exists())
        })
    })
}

/// Loads the modules when a test ends, however it ends.
pub struct Loaded(pub usize);

impl Drop for Loaded {
    fn drop(&mut self) {
        if let Err(err) = load(self.0) {
            println!("the modules could not be loaded again: {err:?}");
        }
    }
}

/// The driver with other module parameters, for as long as this exists. No node
/// may be open, before and after.
pub struct Parameters(#[expect(dead_code, reason = "loads when it is dropped")] Loaded);

impl Parameters {
    pub fn load(parameters: &[&str]) -> Outcome<Parameters> {
        let count = cards::nodes()?.len();
        let loaded = Loaded(count);
        unload()?;
        load_with(count, parameters)?;
        Ok(Parameters(loaded))
    }
}

impl Drop for Parameters {
    fn drop(&mut self) {
        if let Err(err) = unload() {
            println!("the modules could not be unloaded again: {err:?}");
        }
    }
}
