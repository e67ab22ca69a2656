// SPDX-License-Identifier: MIT OR Apache-2.0
//! The accelerators that take part, and the virtual function of the first.

use std::fmt;
use std::time::Duration;

use hlrs::Device;
use hlrs::Function;
use hlrs::Node;
use hlrs::PhysicalFunction;
use hlrsctl::Size;

use crate::failure::Failure;
use crate::failure::Result;

/// Longest time that a virtual function may take to get its node.
const VF_APPEARS: Duration = Duration::from_secs(30);

/// An open accelerator with the name that it has in the text.
pub struct Card {
    name: String,
    node: Node,
    pub device: Device,
}

impl Card {
    fn open(name: String, node: Node) -> Result<Card> {
        let device = node.open().map_err(Failure::during(&name))?;
        Ok(Card { name, node, device })
    }

    pub fn address(&self) -> &str {
        &self.node.address
    }

    /// Prints where the card is and how much memory it has.
    pub fn introduce(&self) -> Result<()> {
        let lmem = self.device.lmem()?;
        print!(
            "{:<14} PCI {}, {}, ",
            self.name,
            self.node.address,
            self.node.path.display()
        );
        print!("{} of memory of its own (LMEM)", Size(lmem.total));
        if lmem.cpu_visible < lmem.total {
            print!(", of which others can reach {}", Size(lmem.cpu_visible));
        }
        println!();
        Ok(())
    }

    /// The hardware's counters, if they can be read.
    pub fn counters(&self) -> Option<hlrs::Counters> {
        self.node.counters()
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Opens the two cards: those at the addresses, or the first two there are.
pub fn choose(from: Option<&str>, to: Option<&str>) -> Result<(Card, Card)> {
    let cards: Vec<Node> = hlrs::list()?
        .into_iter()
        .filter(|node| node.function == Function::Physical)
        .collect();
    let pick = |wanted: Option<&str>, not: Option<&Node>| {
        let matches = |node: &&Node| match wanted {
            Some(address) => node.address == address,
            None => Some(*node) != not && Some(node.address.as_str()) != to,
        };
        cards
            .iter()
            .find(matches)
            .cloned()
            .ok_or_else(|| match wanted {
                Some(address) => {
                    Failure(format!("there is no accelerator at PCI address {address}"))
                }
                None => Failure(format!(
                "two accelerators are needed, and the driver hlrs has {}; is the module loaded?",
                cards.len()
            )),
            })
    };
    let first = pick(from, None)?;
    let second = match to {
        Some(_) => pick(to, None)?,
        None => pick(None, Some(&first))?,
    };
    if first == second {
        return Err(Failure(
            "the two accelerators must be different ones".to_owned(),
        ));
    }
    Ok((
        Card::open("accelerator 0".into(), first)?,
        Card::open("accelerator 1".into(), second)?,
    ))
}

/// The first virtual function of a card, enabled if it was not.
pub struct VirtualCard {
    card: Card,
    guard: Guard,
}

/// Disables the virtual functions again, if it was us who enabled them, also
/// when a step in between fails.
struct Guard {
    function: PhysicalFunction,
    enabled: bool,
}

impl Guard {
    fn release(&mut self) -> Result<()> {
        if std::mem::take(&mut self.enabled) {
            self.function.set_num_vfs(0)?;
        }
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(failure) = self.release() {
            eprintln!("hlrs-demo: the virtual function stays enabled: {failure}");
        }
    }
}

impl VirtualCard {
    /// Enables a virtual function of `card` if there is none, and opens it.
    pub fn of(card: &Card) -> Result<VirtualCard> {
        let function = card
            .node
            .physical()
            .ok_or_else(|| Failure(format!("{card} is itself a virtual function")))?;
        if function.total_vfs()? == 0 {
            return Err(Failure(format!(
                "{card} has no virtual functions; use --no-vf"
            )));
        }
        let mut guard = Guard {
            function,
            enabled: false,
        };
        if guard.function.num_vfs()? == 0 {
            guard.function.set_num_vfs(1)?;
            guard.enabled = true;
            println!("  0. enabled one VF of {card}");
        }
        let node = guard.function.wait_vf_node(1, VF_APPEARS)?;
        let card = Card::open(format!("VF 1 of {card}"), node)?;
        let lmem = card.device.lmem()?;
        println!(
            "     it is PCI {}, {}, with {} of the card's memory",
            card.address(),
            card.node.path.display(),
            Size(lmem.total)
        );
        Ok(VirtualCard { card, guard })
    }

    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Closes the function, and disables it if it was not enabled before.
    pub fn restore(self) -> Result<()> {
        let VirtualCard { card, mut guard } = self;
        drop(card);
        guard.release()
    }
}
