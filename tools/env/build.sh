# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What is built from the checkout, into build/: the modules of a flavour and
# the user space. Both are incremental and cost seconds when little changed.
# The locks are also for reading what was made (tools/run/image.py).

build_dir=$HLRS_TOP/build

# Kbuild finds out itself what is up to date.
run_modules() {
	local flavour=$1 flags
	shift
	read -ra flags <<<"$(kernel_flags "$flavour")"
	mkdir -p "$build_dir/modules-$flavour"
	"$HLRS_TOP/tools/env/enter" make -C "$(kernel_dir "$flavour")" M="$HLRS_TOP" \
		MO="$build_dir/modules-$flavour" "${flags[@]}" -j"$(nproc)" "$@"
}

build_modules() {
	failure_lines=150 with_lock_of "$build_dir/.lock-modules-$1" "modules ($1)" \
		run_logged "modules ($1)" "$build_dir/logs/modules-$1.log" count_none '' run_modules "$1" modules
}

# Everything for the guest is linked statically: the guest has no libraries.
# Crates are verified against the checksums in Cargo.lock.
cargo_target=x86_64-unknown-linux-gnu
run_cargo() {
	HLRS_PASS=RUSTFLAGS RUSTFLAGS='-C target-feature=+crt-static' "$HLRS_TOP/tools/env/enter" \
		cargo "$@" --locked --release --manifest-path "$HLRS_TOP/userspace/Cargo.toml" \
		--target "$cargo_target" --target-dir "$build_dir/userspace"
}

# C programs, each also as a 32-bit one: against nothing but the uAPI header.
c_program() {
	local source=$1 bits=$2 out=$3
	if [ "$out" -nt "$source" ] && [ "$out" -nt "$HLRS_TOP/include/uapi/drm/hlrs_accel.h" ]; then return 0; fi
	"$HLRS_TOP/tools/env/enter" gcc "-m$bits" -static -O2 -std=c11 -Wall -Wextra -pedantic -Werror \
		-I"$HLRS_TOP/include/uapi" -I/usr/include/drm -o "$out" "$source"
}

# build/guest/bin: what goes into the guest's /usr/bin besides busybox.
make_userspace() {
	local bin=$build_dir/guest/bin program source name
	rm -rf "$build_dir/guest/bin.new"
	mkdir -p "$build_dir/guest/bin.new" "$build_dir/c"
	run_cargo build --workspace --bins --examples
	for program in "$build_dir/userspace/$cargo_target/release"/* \
		"$build_dir/userspace/$cargo_target/release/examples"/*; do
		name=${program##*/}
		case $name in
		*.* | *-????????????????) continue ;;
		esac
		if [ -f "$program" ] && [ -x "$program" ]; then cp "$program" "$build_dir/guest/bin.new/"; fi
	done
	for source in "$HLRS_TOP"/tests/e2e/c/*.c; do
		[ -e "$source" ] || continue
		name=${source##*/}
		name=${name%.c}
		c_program "$source" 64 "$build_dir/c/$name"
		c_program "$source" 32 "$build_dir/c/$name-32"
		cp "$build_dir/c/$name" "$build_dir/c/$name-32" "$build_dir/guest/bin.new/"
	done
	rm -rf "$bin"
	mv "$build_dir/guest/bin.new" "$bin"
}

build_userspace() {
	failure_lines=150 with_lock_of "$build_dir/.lock-userspace" 'user space' \
		run_logged 'user space' "$build_dir/logs/userspace.log" count_none '' make_userspace
}
