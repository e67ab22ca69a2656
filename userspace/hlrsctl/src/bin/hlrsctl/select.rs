// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which device a command is about.

use std::path::Path;

use hlrs::Function;
use hlrs::Node;

use crate::Failure;
use crate::Result;

/// Finds the node that was named, or the first physical function.
pub fn node(name: Option<&str>) -> Result<Node> {
    let nodes = hlrs::list()?;
    let count = nodes.len();
    nodes
        .into_iter()
        .find(|node| matches(node, name))
        .ok_or_else(|| {
            Failure::Failed(match name {
                _ if count == 0 => {
                    "this machine has no hlrs accelerator, or the module hlrs is not loaded"
                        .to_owned()
                }
                Some(name) => format!("no hlrs accelerator is called {name}; see 'hlrsctl list'"),
                None => "this machine has virtual functions only; name one".to_owned(),
            })
        })
}

fn matches(node: &Node, name: Option<&str>) -> bool {
    match name {
        None => node.function == Function::Physical,
        Some(name) => {
            let index = node.index.to_string();
            name == node.address || name == index || Path::new(name) == node.path
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_path_number_or_address() {
        let node = Node {
            path: "/dev/accel/accel3".into(),
            index: 3,
            address: "0000:03:00.0".into(),
            function: Function::Physical,
        };
        for name in ["3", "/dev/accel/accel3", "0000:03:00.0"] {
            assert!(matches(&node, Some(name)), "{name}");
        }
        for name in ["0", "accel3", "03:00.0", ""] {
            assert!(!matches(&node, Some(name)), "{name}");
        }
        assert!(matches(&node, None));
        let parent = "0000:03:00.0".to_owned();
        let vf = Node {
            function: Function::Virtual { parent, number: 1 },
            ..node
        };
        assert!(!matches(&vf, None));
    }
}
