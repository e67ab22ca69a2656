// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs for people: the demonstration and hlrsctl.

use std::path::PathBuf;
use std::process::Command;

use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        demo_of_a_small_file: 180,
        demo_in_pieces: 240,
        demo_with_little_memory: 120,
        demo_of_nothing: 120,
        demo_leaves_functions_as_they_were: 180,
        demo_says_what_is_wrong: 120,
        hlrsctl_shows_the_devices: 120,
        hlrsctl_tests_the_memory: 120,
        hlrsctl_divides_a_card: 180,
        hlrsctl_says_what_is_wrong: 120,
    ]
}

/// What a program printed, and its exit status.
struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

fn run(program: &str, arguments: &[&str]) -> Outcome<Ran> {
    let path = std::env::current_exe()?.with_file_name(program);
    let out = Command::new(&path).args(arguments).output()?;
    Ok(Ran {
        status: out.status.code(),
        out: String::from_utf8_lossy(&out.stdout).into_owned(),
        err: String::from_utf8_lossy(&out.stderr).into_owned(),
    })
}

/// Runs a program that must succeed.
fn succeeds(program: &str, arguments: &[&str]) -> Outcome<String> {
    let ran = run(program, arguments)?;
    let what = arguments.join(" ");
    check!(
        ran.status == Some(0),
        "{program} {what}: {:?}\n{}{}",
        ran.status,
        ran.out,
        ran.err
    );
    Ok(ran.out)
}

/// A file for the time of a test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: &[u8]) -> Outcome<Temporary> {
        let path = std::env::temp_dir().join(format!("hlrs-e2e-{name}-{}", std::process::id()));
        std::fs::write(&path, content)?;
        Ok(Temporary(path))
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn demo(arguments: &[&str]) -> Outcome<String> {
    let out = succeeds("hlrs-demo", arguments)?;
    check_eq!(
        out.lines().last(),
        Some("demo: OK"),
        "last line of the demonstration"
    );
    Ok(out)
}

fn demo_of_a_small_file(_: &Context) -> Outcome {
    let text = b"123456789";
    let file = Temporary::new("small", text)?;
    let out = demo(&[&file.name()])?;
    // On both cards, in both parts.
    check_eq!(
        out.matches("CRC32C e3069283 on").count(),
        4,
        "checksums in\n{out}"
    );
    check!(
        out.contains("VF 1 of accelerator 0"),
        "no virtual function in\n{out}"
    );
    Ok(())
}

fn demo_in_pieces(context: &Context) -> Outcome {
    let bytes = Random::new(context.seed).bytes(5 * MIB as usize + 3);
    let file = Temporary::new("pieces", &bytes)?;
    let out = demo(&[&file.name(), "--piece", "2M", "--no-vf"])?;
    check!(out.contains("Piece 3 of 3"), "not in three pieces:\n{out}");
    let whole = demo(&[&file.name(), "--bytes", "5000001"])?;
    let crc = format!("CRC32C {:08x} on", hlrs::crc32c(0, &bytes[..5_000_001]));
    check_eq!(whole.matches(&crc).count(), 4, "checksums in\n{whole}");
    Ok(())
}

/// In pieces that fit, and says why.
fn demo_with_little_memory(context: &Context) -> Outcome {
    let file = Temporary::new(
        "little",
        &Random::new(context.seed).bytes(3 * MIB as usize + 1),
    )?;
    let card = cards::first()?;
    let lmem = card.lmem()?;
    let taken = Place::Lmem.create(&card, lmem.total - lmem.used - 2 * MIB)?;
    let out = demo(&[&file.name(), "--no-vf"])?;
    let said = "goes in 2 pieces of up to 2 MiB, because the cards have no more memory free.";
    check!(
        out.contains(said) && out.contains("Piece 2 of 2"),
        "{said} is not in\n{out}"
    );
    drop(taken);
    Ok(())
}

fn demo_of_nothing(_: &Context) -> Outcome {
    let file = Temporary::new("empty", b"")?;
    let out = demo(&[&file.name()])?;
    check!(
        out.contains("empty"),
        "nothing about an empty input in\n{out}"
    );
    Ok(())
}

fn demo_leaves_functions_as_they_were(_: &Context) -> Outcome {
    let file = Temporary::new("functions", &[7; 100_000])?;
    let vfs = Vfs::none()?;
    demo(&[&file.name()])?;
    check_eq!(
        vfs.pf.num_vfs()?,
        0,
        "virtual functions after the demonstration"
    );
    vfs.set(2)?;
    demo(&[&file.name()])?;
    check_eq!(
        vfs.pf.num_vfs()?,
        2,
        "virtual functions after the demonstration"
    );
    Ok(())
}

fn demo_says_what_is_wrong(_: &Context) -> Outcome {
    let file = Temporary::new("wrong", b"x")?;
    let name = file.name();
    let cases: [(&[&str], i32, &str); 6] = [
        (&["/nowhere"], 1, "/nowhere"),
        (&[&name, "--bytes", "2"], 1, "1 of 2 bytes"),
        (&[&name, "--from", "0000:ff:1f.7"], 1, "0000:ff:1f.7"),
        (&[], 2, "usage"),
        (&[&name, "--piece", "0"], 2, "empty"),
        (&[&name, "--wrong"], 2, "--wrong"),
    ];
    for (arguments, status, text) in cases {
        let ran = run("hlrs-demo", arguments)?;
        check_eq!(
            ran.status,
            Some(status),
            "exit status of hlrs-demo {arguments:?}"
        );
        check!(!ran.out.contains("demo: OK"), "{arguments:?} is OK");
        let all = ran.out + &ran.err;
        check!(
            all.contains(text),
            "hlrs-demo {arguments:?} does not say {text:?}:\n{all}"
        );
    }
    Ok(())
}

fn hlrsctl_shows_the_devices(_: &Context) -> Outcome {
    let list = succeeds("hlrsctl", &["list"])?;
    for node in cards::nodes()? {
        check!(
            list.contains(&node.address),
            "{} is not in\n{list}",
            node.address
        );
        let path = node.path.display().to_string();
        for name in [node.address.as_str(), &node.index.to_string(), &path] {
            let info = succeeds("hlrsctl", &["info", name])?;
            let uid = format!("{:#018x}", node.open()?.info()?.uid);
            check!(
                info.contains(&uid) && info.contains(&path),
                "info of {name}:\n{info}"
            );
        }
    }
    Ok(())
}

fn hlrsctl_tests_the_memory(_: &Context) -> Outcome {
    for arguments in [&["mem"][..], &["mem", "0", "64K"]] {
        let out = succeeds("hlrsctl", arguments)?;
        check!(
            out.ends_with("all contents are as they should be\n"),
            "{out}"
        );
    }
    Ok(())
}

fn hlrsctl_divides_a_card(_: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let device = vfs.node.address.as_str();
    succeeds("hlrsctl", &["sriov", device, "quota", "2", "10M"])?;
    check_eq!(vfs.pf.quota(2)?, 10 * MIB);
    succeeds("hlrsctl", &["sriov", device, "enable", "2"])?;
    vfs.vf_node(2)?;
    let out = succeeds("hlrsctl", &["sriov", device])?;
    check!(
        out.contains("2 of 7") && out.contains("VF 2: has 10 MiB"),
        "{out}"
    );
    let list = succeeds("hlrsctl", &["list"])?;
    check!(list.contains(&format!("VF 2 of {device}")), "{list}");
    succeeds("hlrsctl", &["sriov", device, "disable"])?;
    check_eq!(vfs.pf.num_vfs()?, 0);
    Ok(())
}

fn hlrsctl_says_what_is_wrong(_: &Context) -> Outcome {
    let cases: [(&[&str], i32, &str); 8] = [
        (&[], 2, "no command"),
        (&["what"], 2, "what"),
        (&["info", "a", "b"], 2, "info"),
        (&["info", "99"], 1, "99"),
        (&["mem", "0", "100"], 2, "4096"),
        (&["sriov", "0", "enable", "0"], 2, "\"0\""),
        (&["sriov", "0", "quota", "9", "2M"], 2, "9"),
        (&["sriov", "0", "quota", "1", "1M"], 1, "EINVAL"),
    ];
    for (arguments, status, text) in cases {
        let ran = run("hlrsctl", arguments)?;
        check_eq!(
            ran.status,
            Some(status),
            "exit status of hlrsctl {arguments:?}"
        );
        check!(
            ran.err.contains(text),
            "hlrsctl {arguments:?} does not say {text:?}: {}",
            ran.err
        );
    }
    Ok(())
}
