// SPDX-License-Identifier: MIT OR Apache-2.0
//! Demonstration: a file travels from the memory of one accelerator to that of
//! another, peer to peer, and is compared with the original at the end.

mod args;
mod cards;
mod failure;
mod input;
mod transfer;

use std::process::ExitCode;

use hlrsctl::tree;
use hlrsctl::Size;

use crate::args::Args;
use crate::cards::VirtualCard;
use crate::failure::Result;
use crate::input::Input;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(text) => {
            eprintln!("hlrs-demo: {text}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => {
            println!("demo: OK");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("demo: FAILED: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let mut input = Input::open(&args.file, args.bytes)?;
    let (first, second) = cards::choose(args.from.as_deref(), args.to.as_deref())?;

    println!("A file goes from the memory of one accelerator into that of another, and is");
    println!("compared with the original in the end. On the way it does not touch host memory.");
    println!();
    println!(
        "input          {}, {}",
        args.file.display(),
        bytes(input.len())
    );
    first.introduce()?;
    second.introduce()?;
    match tree::common_switch(first.address(), second.address()) {
        Some(switch) => println!("connection     both sit below the PCIe switch {switch}"),
        None => println!("connection     they do not share a PCIe switch"),
    }
    if input.len() == 0 {
        println!("\nThe input is empty, so there is nothing to move.");
        return Ok(());
    }

    println!("\nPart 1: from {first} to {second}");
    transfer::run(&mut input, &first, &second, args.piece)?;

    if args.virtual_function {
        println!("\nPart 2: the same from a virtual function (VF) of {first}");
        println!("  A VF is a slice of the card that can be given to a virtual machine: it has");
        println!("  engines of its own, and a share of the memory that it cannot leave.");
        let vf = VirtualCard::of(&first)?;
        let moved = transfer::run(&mut input, vf.card(), &second, args.piece);
        let restored = vf.restore();
        moved?;
        restored?;
    }
    println!();
    Ok(())
}

/// A number of bytes exactly, and in a unit that is easier to read.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1024 {
        Size(count).to_string()
    } else {
        format!("{count} bytes ({})", Size(count))
    }
}
