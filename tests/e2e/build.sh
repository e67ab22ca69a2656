#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Builds all programs for the guest into a directory:
#
#   tests/e2e/build.sh OUT [TARGET_DIR]
#
# hlrsctl, hlrs-demo, hlrs-e2e, and the example in C for 64 and 32 bits, all
# static, because the guest has no libraries. Incremental: what is up to date
# is left alone. TARGET_DIR is where cargo keeps what it built, by default
# userspace/target. Needs cargo, a C compiler with -m32, and linux-libc-dev.
set -eu

if [ $# -lt 1 ]; then
	echo "usage: $0 OUT [TARGET_DIR]" >&2
	exit 2
fi
top=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
export CARGO_TARGET_DIR="${2:-$top/userspace/target}"
triple=x86_64-unknown-linux-gnu

# The flags go into a variable of their own target, so that they do not apply
# to what runs on the build machine. With --target, cargo keeps them apart.
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static"
(cd "$top/userspace" && cargo build --locked --release --target "$triple" --bins)

# Copies a program only if it changed, so that what depends on it is not remade.
place() {
	cmp -s "$1" "$2" || install -m 755 "$1" "$2"
}
for name in hlrsctl hlrs-demo hlrs-e2e; do
	place "$CARGO_TARGET_DIR/$triple/release/$name" "$out/$name"
done

source=$top/tests/e2e/c/example.c
header=$top/include/uapi/drm/hlrs_accel.h
for bits in 64 32; do
	program=$out/hlrs-example-$bits
	if [ ! -e "$program" ] || [ -n "$(find "$source" "$header" "$0" -newer "$program")" ]; then
		"${CC:-cc}" "-m$bits" -std=c11 -O2 -static -Wall -Wextra -pedantic -Werror \
			-I "$top/include/uapi/drm" -isystem /usr/include/drm -o "$program.new" "$source"
		mv "$program.new" "$program"
	fi
done
