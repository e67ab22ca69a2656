// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other processes that take part in a test: this program again, in a role.
//!
//! The two talk in lines: the role prints what it has done, and acts on what it
//! reads.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::REACTION;
use crate::check;
use crate::harness::Outcome;
use crate::harness::Stop;

/// A process in a role. It is killed if it still runs when this is dropped.
pub struct Role {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Role {
    /// Starts a role with its arguments.
    pub fn start(name: &str, arguments: &[&str]) -> Outcome<Role> {
        let mut child = Command::new("/proc/self/exe")
            .args(["--role", name])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (sender, lines) = mpsc::channel();
        let stdin = child.stdin.take();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Role {
            name: name.to_owned(),
            child,
            stdin,
            lines,
        })
    }

    /// Waits for the next line that the role prints.
    pub fn line(&mut self) -> Outcome<String> {
        self.lines.recv_timeout(REACTION).map_err(|_| {
            let state = match self.child.try_wait() {
                Ok(Some(status)) => format!("it ended, {status}"),
                _ => format!("it said nothing within {REACTION:?}"),
            };
            Stop::failed(format!("waiting for the process {}: {state}", self.name))
        })
    }

    /// Waits for a line and checks what it says.
    pub fn expect(&mut self, expected: &str) -> Outcome {
        let line = self.line()?;
        check!(
            line == expected,
            "{} said {line:?}, expected {expected:?}",
            self.name
        );
        Ok(())
    }

    /// Sends the role a line.
    pub fn tell(&mut self, line: &str) -> Outcome {
        if let Some(stdin) = &mut self.stdin {
            writeln!(stdin, "{line}")?;
            stdin.flush()?;
        }
        Ok(())
    }

    /// Kills the role without warning, and waits for its end.
    pub fn kill(&mut self) -> Outcome {
        self.child.kill()?;
        self.end().map(drop)
    }

    /// Waits for the role's end.
    pub fn end(&mut self) -> Outcome<ExitStatus> {
        self.stdin = None;
        let start = Instant::now();
        while start.elapsed() < REACTION {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(Stop::failed(format!(
            "the process {} does not end",
            self.name
        )))
    }

    /// Waits for the role's end, which must be this signal.
    pub fn ends_by_signal(&mut self, signal: i32) -> Outcome {
        let status = self.end()?;
        check!(
            status.signal() == Some(signal),
            "{} ended with {status}, expected signal {signal}",
            self.name
        );
        Ok(())
    }

    /// Waits for the role's end, which must be a success.
    pub fn succeeds(&mut self) -> Outcome {
        let status = self.end()?;
        check!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may have ended since; then there is nothing to kill.
            let _ = self.child.kill();
            let _ = self.end();
        }
    }
}

/// In a role: prints a line for the test.
pub fn say(line: &str) {
    println!("{line}");
}

/// In a role: waits for the test's next line; fails when the test has ended.
pub fn listen() -> Outcome<String> {
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line)? {
        0 => Err(Stop::failed("the test has ended")),
        _ => Ok(line.trim().to_owned()),
    }
}
