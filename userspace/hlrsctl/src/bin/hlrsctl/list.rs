// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hlrsctl list`

use hlrs::Function;
use hlrs::Node;
use hlrsctl::Size;

use crate::Result;

pub fn run() -> Result<()> {
    let nodes = hlrs::list()?;
    if nodes.is_empty() {
        println!("no hlrs accelerator; is the module loaded?");
        return Ok(());
    }
    println!(
        "{:<20} {:<14} {:<24} {:>12} {:>12}",
        "NODE", "PCI", "FUNCTION", "LMEM", "USED"
    );
    for node in &nodes {
        println!("{}", line(node));
    }
    Ok(())
}

/// One device; one that cannot be opened is listed with the reason.
fn line(node: &Node) -> String {
    let function = match &node.function {
        Function::Physical => "physical".to_owned(),
        Function::Virtual { parent, number } => format!("VF {number} of {parent}"),
    };
    let head = format!(
        "{:<20} {:<14} {function:<24}",
        node.path.display(),
        node.address
    );
    match node.open().and_then(|device| device.lmem()) {
        Ok(lmem) => format!("{head} {:>12} {:>12}", Size(lmem.total), Size(lmem.used)),
        Err(err) => format!("{head} {err}"),
    }
}
