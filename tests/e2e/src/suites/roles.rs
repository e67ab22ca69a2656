// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parts that this program plays in tests as another process.

use std::process::ExitCode;

use crate::harness::Outcome;
use crate::harness::Stop;

/// Plays a role. It ends with 0 if it did what it should.
pub fn role(name: &str, arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match play(name, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Failed(why) | Stop::Skipped(why)) => {
            eprintln!("{name}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn play(name: &str, arguments: &[&str]) -> Outcome {
    match (name, arguments) {
        ("hold", [node, place]) => super::mmap::hold(node, place),
        ("hoard", [node]) => super::zero::hoard(node),
        ("share", [node, offset, size]) => super::export::share(node, offset, size),
        ("possess", [node]) => super::export::possess(node),
        ("churn", [first, second, seed]) => super::kill9::churn(first, second, seed),
        ("ordinary", [node]) => super::abi::ordinary(node),
        ("keep", [node]) => super::vmfd::keep(node),
        ("consume", [node, how, fd, uid]) => super::vmapi::consume(node, how, fd, uid),
        ("lend", [node, socket]) => super::vmapi::lend(node, socket),
        ("stuck", [node, socket]) => super::queue::stuck(node, socket),
        ("labour", [node, seed]) => super::queue::labour(node, seed),
        ("nic-lend", [node, socket]) => super::niccopy::lend(node, socket),
        ("nic-join", [node, socket]) => super::niccopy::join(node, socket),
        ("export", [node, importer, file]) => super::importers::export(node, importer, file),
        ("attach", [fd, importer]) => super::importers::attach(fd, importer),
        ("vfio", [address, peer, file]) => super::vfio::user(address, peer, file),
        ("import", [node, fd]) => super::prime::import(node, fd),
        _ => Err(Stop::failed(format!(
            "no role {name} with arguments {arguments:?}"
        ))),
    }
}
