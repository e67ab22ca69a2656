// SPDX-License-Identifier: MIT OR Apache-2.0
//! KTAP, version 1.

use std::io;
use std::io::Write;

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Failed(String),
    Skipped(String),
}

/// Writes the results of one suite.
pub struct Writer<W: Write> {
    out: W,
    number: usize,
    failed: usize,
}

impl<W: Write> Writer<W> {
    /// Starts with the version and the plan.
    pub fn start(mut out: W, suite: &str, count: usize) -> io::Result<Self> {
        writeln!(out, "KTAP version 1\n# suite: {suite}\n1..{count}")?;
        out.flush()?;
        Ok(Writer {
            out,
            number: 0,
            failed: 0,
        })
    }

    /// A diagnostic line, or several.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            writeln!(self.out, "# {}", line.trim_end())?;
        }
        self.out.flush()
    }

    /// The result of the next test.
    pub fn result(&mut self, name: &str, verdict: &Verdict) -> io::Result<()> {
        self.number += 1;
        let number = self.number;
        match verdict {
            Verdict::Ok => writeln!(self.out, "ok {number} {name}")?,
            Verdict::Skipped(why) => writeln!(self.out, "ok {number} {name} # SKIP {}", flat(why))?,
            Verdict::Failed(why) => {
                self.failed += 1;
                self.note(why)?;
                writeln!(self.out, "not ok {number} {name}")?;
            }
        }
        self.out.flush()
    }

    /// Number of tests that failed.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Says that the rest of the plan will not run.
    pub fn bail_out(&mut self, why: &str) -> io::Result<()> {
        writeln!(self.out, "Bail out! {}", flat(why))?;
        self.out.flush()
    }
}

/// Text on one line, without what would start a directive.
fn flat(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c == '#');
    words
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_suite() {
        let mut out = Vec::new();
        let mut ktap = Writer::start(&mut out, "mem", 3).unwrap();
        ktap.result("a", &Verdict::Ok).unwrap();
        ktap.note("one\ntwo").unwrap();
        ktap.result("b", &Verdict::Failed("3 # 4\nnext".into()))
            .unwrap();
        ktap.result("c", &Verdict::Skipped("no # device\nhere".into()))
            .unwrap();
        assert_eq!(ktap.failed(), 1);
        let expected = "KTAP version 1\n# suite: mem\n1..3\nok 1 a\n# one\n# two\n# 3 # 4\n\
            # next\nnot ok 2 b\nok 3 c # SKIP no device here\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
