// SPDX-License-Identifier: MIT OR Apache-2.0
//! The suites, one file or directory each.

mod abi;
mod chaos;
mod cycles;
mod export;
mod faults;
mod fdinfo;
mod hotplug;
mod importers;
mod iov;
mod kill9;
mod link;
mod machine;
mod mem;
mod mmap;
mod nic;
mod niccopy;
mod ops;
mod prime;
mod queue;
mod refused;
mod reset;
mod roles;
mod sriov;
mod tools;
mod unbind;
mod vfio;
mod vm;
mod vmapi;
mod vmfd;
mod zero;

use crate::harness::Suite;
use crate::harness::Test;

pub use roles::role;

/// All suites.
pub fn all() -> Vec<Suite> {
    vec![
        Suite {
            name: "machine",
            tests: machine::tests(),
        },
        Suite {
            name: "abi",
            tests: abi::tests(),
        },
        Suite {
            name: "mem",
            tests: mem::tests(),
        },
        Suite {
            name: "ops",
            tests: ops::tests(),
        },
        Suite {
            name: "mmap",
            tests: mmap::tests(),
        },
        Suite {
            name: "prime",
            tests: prime::tests(),
        },
        Suite {
            name: "export",
            tests: export::tests(),
        },
        Suite {
            name: "aperture",
            tests: aperture(),
        },
        Suite {
            name: "refused",
            tests: refused::tests(),
        },
        Suite {
            name: "vm",
            tests: vm::tests(),
        },
        Suite {
            name: "queue",
            tests: queue::tests(),
        },
        Suite {
            name: "vmfd",
            tests: vmfd::tests(),
        },
        Suite {
            name: "vmapi",
            tests: vmapi::tests(),
        },
        Suite {
            name: "importers",
            tests: importers::tests(),
        },
        Suite {
            name: "iov",
            tests: iov::tests(),
        },
        Suite {
            name: "link",
            tests: link::tests(),
        },
        Suite {
            name: "zero",
            tests: zero::tests(),
        },
        Suite {
            name: "fdinfo",
            tests: fdinfo::tests(),
        },
        Suite {
            name: "kill9",
            tests: kill9::tests(),
        },
        Suite {
            name: "sriov",
            tests: sriov::tests(),
        },
        Suite {
            name: "reset",
            tests: reset::tests(),
        },
        Suite {
            name: "unbind",
            tests: unbind::tests(),
        },
        Suite {
            name: "vfio",
            tests: vfio::tests(),
        },
        Suite {
            name: "nic",
            tests: nic::tests(),
        },
        Suite {
            name: "niccopy",
            tests: niccopy::tests(),
        },
        Suite {
            name: "faults",
            tests: faults::tests(),
        },
        Suite {
            name: "probe",
            tests: faults::probe_tests(),
        },
        Suite {
            name: "hotplug",
            tests: hotplug::tests(),
        },
        Suite {
            name: "cycles",
            tests: cycles::tests(),
        },
        Suite {
            name: "chaos",
            tests: chaos::tests(),
        },
        Suite {
            name: "tools",
            tests: tools::tests(),
        },
    ]
}

/// What there is to say of memory outside the aperture.
fn aperture() -> Vec<Test> {
    let mut tests = mem::aperture_tests();
    tests.extend(export::aperture_tests());
    tests.extend(vm::aperture_tests());
    tests
}
