// SPDX-License-Identifier: MIT OR Apache-2.0
//! Command line of the demonstration.

use std::path::PathBuf;

use hlrsctl::parse_size;

/// What `--help` prints.
pub const HELP: &str = "\
usage: hlrs-demo [OPTION]... FILE

Moves FILE (a file, or a block device) through the memory of two accelerators
and compares the result with it.

  --bytes N       use the first N bytes only, for a block device whose last
                  sector is padded
  --piece SIZE    move at most SIZE at a time; by default as much as fits
  --from ADDRESS  PCI address of the first accelerator
  --to ADDRESS    PCI address of the second
  --no-vf         leave out the part with a virtual function
  --help          print this text

Exit status: 0 if the data arrived intact, 1 if something failed or differed,
2 if the command line is wrong.
";

/// The command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    pub file: PathBuf,
    pub bytes: Option<u64>,
    pub piece: Option<u64>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub virtual_function: bool,
}

impl Args {
    /// Reads the command line; `None` if only help is wanted.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
        let mut file = None;
        let (mut bytes, mut piece, mut from, mut to) = (None, None, None, None);
        let mut virtual_function = true;
        let mut args = args.fuse();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--help" | "-h" => return Ok(None),
                "--bytes" => bytes = Some(parse_size(&value()?)?),
                "--piece" => match parse_size(&value()?)? {
                    0 => return Err("a piece cannot be empty".to_owned()),
                    size => piece = Some(size),
                },
                "--from" => from = Some(value()?),
                "--to" => to = Some(value()?),
                "--no-vf" => virtual_function = false,
                _ if arg.starts_with('-') => return Err(format!("unknown option {arg}")),
                _ if file.is_some() => return Err("more than one file".to_owned()),
                _ => file = Some(PathBuf::from(arg)),
            }
        }
        let file = file.ok_or("no file was named")?;
        Ok(Some(Args {
            file,
            bytes,
            piece,
            from,
            to,
            virtual_function,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Args>, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_in_any_order() {
        let args = parse("/dev/vda --bytes 1000 --piece 2M --no-vf")
            .unwrap()
            .unwrap();
        assert_eq!(args.file, PathBuf::from("/dev/vda"));
        assert_eq!((args.bytes, args.piece), (Some(1000), Some(2 << 20)));
        assert!(!args.virtual_function);
        assert_eq!(parse("--help"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for line in [
            "",
            "--bytes",
            "a b",
            "--what a",
            "a --piece 0",
            "a --bytes x",
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
