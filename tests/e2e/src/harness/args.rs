// SPDX-License-Identifier: MIT OR Apache-2.0
//! Command line.

pub const HELP: &str = "\
usage: hlrs-e2e SUITE [--filter TEXT] [--seed N] [--rounds N] [--soak]
       hlrs-e2e --list

Runs the tests of a suite and prints KTAP.

  --filter TEXT  only tests whose name contains TEXT
  --seed N       seed of random tests; by default a new one, which is printed
  --soak         the long versions of repeated and random tests
  --rounds N     rounds of repeated tests, instead of each test's own number

What is not on the command line is taken from HLRS_SEED, HLRS_ROUNDS and
HLRS_SOAK (1) in the environment.

Exit status: 0 if no test failed, 1 if one did, 2 if the command line is wrong.
";

/// What holds for every test of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub filter: Option<String>,
    pub seed: u64,
    pub rounds: Option<u32>,
    pub soak: bool,
}

impl Options {
    /// What the environment says, as `variable` returns it.
    fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name| variable(name).filter(|text| !text.is_empty());
        Ok(Options {
            filter: None,
            seed: match set("HLRS_SEED") {
                Some(text) => number(&text)?,
                None => fresh_seed(),
            },
            rounds: set("HLRS_ROUNDS").map(|text| count(&text)).transpose()?,
            soak: set("HLRS_SOAK").is_some_and(|text| text == "1"),
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Help,
    List,
    /// Run a suite.
    Suite {
        name: String,
        options: Options,
    },
    /// Run one test in this process; used by the harness itself.
    One {
        suite: String,
        test: String,
        options: Options,
    },
    /// Play a part in a test; used by tests that need another process.
    Role {
        name: String,
        arguments: Vec<String>,
    },
}

pub fn parse(args: &mut dyn Iterator<Item = String>) -> Result<Command, String> {
    let first = args.next().ok_or("no suite was named")?;
    match first.as_str() {
        "--help" | "-h" => return Ok(Command::Help),
        "--list" => return Ok(Command::List),
        "--role" => {
            let name = args.next().ok_or("--role needs a name")?;
            return Ok(Command::Role {
                name,
                arguments: args.collect(),
            });
        }
        _ if first.starts_with('-') => return Err(format!("unknown option {first}")),
        _ => {}
    }
    let mut options = Options::from_environment(|name| std::env::var(name).ok())?;
    let mut one = None;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--filter" => options.filter = Some(value()?),
            "--seed" => options.seed = number(&value()?)?,
            "--rounds" => options.rounds = Some(count(&value()?)?),
            "--soak" => options.soak = true,
            "--one" => one = Some(value()?),
            _ => return Err(format!("unknown argument {arg:?}")),
        }
    }
    Ok(match one {
        Some(test) => Command::One {
            suite: first,
            test,
            options,
        },
        None => Command::Suite {
            name: first,
            options,
        },
    })
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is not a number"))
}

fn count(text: &str) -> Result<u32, String> {
    match number(text)? {
        0 => Err("0 rounds test nothing".to_owned()),
        n => n.try_into().map_err(|_| "too many rounds".to_owned()),
    }
}

/// A seed that differs from run to run.
fn fresh_seed() -> u64 {
    use std::hash::BuildHasher;
    use std::hash::Hasher;
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Command, String> {
        parse(&mut line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_suite_with_options() {
        let command = words("mem --seed 0x10 --filter zero --rounds 3");
        let options = Options {
            filter: Some("zero".into()),
            seed: 16,
            rounds: Some(3),
            soak: false,
        };
        assert_eq!(
            command,
            Ok(Command::Suite {
                name: "mem".into(),
                options
            })
        );
    }

    #[test]
    fn the_environment() {
        let given = |name: &str| match name {
            "HLRS_SEED" => Some("7".to_owned()),
            "HLRS_SOAK" => Some("1".to_owned()),
            _ => Some(String::new()),
        };
        let options = Options {
            filter: None,
            seed: 7,
            rounds: None,
            soak: true,
        };
        assert_eq!(Options::from_environment(given), Ok(options));
        assert!(Options::from_environment(|_| Some("x".to_owned())).is_err());
    }

    #[test]
    fn wrong_lines() {
        for line in [
            "",
            "--what",
            "mem --seed",
            "mem --seed x",
            "mem --rounds 0",
            "mem more",
        ] {
            assert!(words(line).is_err(), "{line:?}");
        }
    }
}
