// SPDX-License-Identifier: MIT OR Apache-2.0
//! The committed bindings are what bindgen makes of the header today.

use std::process::Command;

#[test]
#[ignore = "needs bindgen 0.71, rustfmt and the DRM headers; run with --include-ignored"]
fn bindings_match_the_header() {
    let dir = env!("CARGO_MANIFEST_DIR");
    let out = Command::new(format!("{dir}/generate.sh"))
        .output()
        .expect("generate.sh could not be started");
    assert!(
        out.status.success(),
        "generate.sh failed:\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let now = String::from_utf8(out.stdout).expect("bindgen printed something else than text");
    let committed = std::fs::read_to_string(format!("{dir}/src/bindings.rs")).unwrap();
    for (n, (a, b)) in committed.lines().zip(now.lines()).enumerate() {
        assert_eq!(
            a,
            b,
            "src/bindings.rs:{} is not what the header says",
            n + 1
        );
    }
    assert_eq!(
        committed.lines().count(),
        now.lines().count(),
        "src/bindings.rs has another number of lines than the header gives"
    );
}
