// SPDX-License-Identifier: MIT OR Apache-2.0
//! Command line tool for hlrs accelerators.

mod info;
mod list;
mod mem;
mod select;
mod sriov;

use std::process::ExitCode;

const HELP: &str = "\
usage: hlrsctl COMMAND [ARGUMENT]...

  list                      accelerators of this machine
  info [DEVICE]             what a device tells about itself, its counters and exports
  mem [DEVICE] [SIZE]       allocate in every memory region, fill, copy, checksum
                            and compare; SIZE is per buffer, 4 MiB by default
  sriov [DEVICE]            virtual functions and their share of the memory
  sriov DEVICE enable N     enable N virtual functions
  sriov DEVICE disable      disable them
  sriov DEVICE quota N SIZE memory for virtual function N when it is enabled
                            next; 0 is a fair share
  help                      this text

DEVICE is a path (/dev/accel/accel0), a number (0) or a PCI address
(0000:03:00.0); the first physical function if it is left out.

Exit status: 0 done, 1 the operation failed, 2 the command line is wrong.
";

/// Why a command was not carried out.
enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// Something was refused or went wrong.
    Failed(String),
}

impl From<hlrs::Error> for Failure {
    fn from(err: hlrs::Error) -> Self {
        Failure::Failed(err.to_string())
    }
}

type Result<T> = std::result::Result<T, Failure>;

fn usage<T>(text: impl Into<String>) -> Result<T> {
    Err(Failure::Usage(text.into()))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => {
            eprintln!("hlrsctl: {text}\nTry 'hlrsctl help'.");
            ExitCode::from(2)
        }
        Err(Failure::Failed(text)) => {
            eprintln!("hlrsctl: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    match args {
        [] => usage("no command was given"),
        ["help" | "--help" | "-h", ..] => {
            print!("{HELP}");
            Ok(())
        }
        ["list"] => list::run(),
        ["info"] => info::run(None),
        ["info", device] => info::run(Some(device)),
        ["mem"] => mem::run(None, None),
        ["mem", device] => mem::run(Some(device), None),
        ["mem", device, size] => mem::run(Some(device), Some(size)),
        ["sriov"] => sriov::status(None),
        ["sriov", device] => sriov::status(Some(device)),
        ["sriov", device, "enable", count] => sriov::enable(device, count),
        ["sriov", device, "disable"] => sriov::disable(device),
        ["sriov", device, "quota", number, size] => sriov::quota(device, number, size),
        [command @ ("list" | "info" | "mem" | "sriov"), ..] => {
            usage(format!("wrong arguments for {command}"))
        }
        [command, ..] => usage(format!("unknown command {command:?}")),
    }
}
