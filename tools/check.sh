#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# make check: linters and style checks, inside the root. Prints one line for
# each check, and what it found when it failed. "tools/check.sh NAME..." runs
# only the named ones.
set -uo pipefail
cd "${HLRS_TOP:?run this through make check}" || exit 1

linux=${HLRS_LINUX:?}
out=build/check
mkdir -p "$out"

# Files of the project, tracked or about to be. The root does not see the
# repository that a worktree belongs to.
list() {
	if git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
		git -c safe.directory='*' ls-files -co --exclude-standard
	else
		find . \( -path ./build -o -path ./.git \) -prune -o -type f -printf '%P\n'
	fi | while IFS= read -r file; do if [ -f "$file" ]; then printf '%s\n' "$file"; fi; done
}

all=$(list)
matching() { grep -E "$1" <<<"$all" || true; }

shell_scripts() {
	local file
	while IFS= read -r file; do
		case $(head -n 1 "$file") in
		'#!/bin/bash' | '#!/bin/sh') echo "$file" ;;
		*) if grep -q '^# shellcheck shell=' "$file" 2>/dev/null; then echo "$file"; fi ;;
		esac
	done < <(matching '^(tools|tests|userspace|\.ci)/')
}

check_spdx() {
	local file bad=0
	while IFS= read -r file; do
		case $file in
		LICENSE* | COPYING* | README* | Documentation/ABI/* | *.md | *.lock | *.json | *.bin | .gitignore) continue ;;
		esac
		if ! head -n 2 "$file" | grep -q 'SPDX-License-Identifier: '; then
			echo "$file: no SPDX line"
			bad=1
		fi
	done <<<"$all"
	return $bad
}

check_shellcheck() { shell_scripts | xargs -r shellcheck --external-sources; }

check_python() {
	local file bad=0
	for file in $(matching '\.py$'); do
		python3 -W error -c 'import ast, pathlib, sys; ast.parse(pathlib.Path(sys.argv[1]).read_text(), sys.argv[1])' "$file" || bad=1
	done
	return $bad
}

kernel_rust() { matching '^(rust|drivers|tests/kunit|tools/bench)/.*\.rs$'; }

check_rustfmt() { kernel_rust | xargs -r rustfmt --color never --check --edition 2021 --config-path "$linux/.rustfmt.toml"; }

# From nothing, or clippy would be silent about what it has seen before. With
# the debug kernel, which has every test module.
check_clippy() {
	local objects=$HLRS_TOP/$out/modules log=$out/clippy.log rc=0
	rm -rf "$objects"
	mkdir -p "$objects"
	make -C "$HLRS_KERNEL_DEBUG" M="$HLRS_TOP" MO="$objects" LLVM=1 CLIPPY=1 -j"$(nproc)" modules >"$log" 2>&1 || rc=1
	if [ $rc -ne 0 ] || grep -qE '^(warning|error)|: (warning|error): ' "$log"; then
		grep -vE '^  [A-Z]|^make' "$log"
		return 1
	fi
}

# Of kernel C, and of what follows the kernel's style. What does not apply:
# "Kbuild" as a word; the SPDX comment of programs that are not the kernel's;
# exports of Rust symbols, and %pA, which is for callers from Rust.
check_checkpatch() {
	matching '^(rust|drivers|include|tests/kunit|tests/(im|ex)porter|tests/vm_consumer|tests/e2e|tools/bench)/.*\.[ch]$|(^|/)Kbuild$' |
		xargs -r perl "$linux/scripts/checkpatch.pl" --no-tree -f --quiet --terse --no-summary --show-types \
			--max-line-length=100 --ignore FILE_PATH_CHANGES,SPLIT_STRING,EMBEDDED_FILENAME |
		grep -vE '^tests/e2e/[^ ]* WARNING:SPDX_LICENSE_TAG:|^(rust|drivers/accel/hlrs)/(exports|interconnect)\.c:[0-9]+: WARNING:EXPORT_SYMBOL:|:VSPRINTF_POINTER_EXTENSION: .*%pA'
	return 0
}

# The device model follows QEMU's style.
check_qemu_style() {
	local script
	script=$(dirname "$(cat "$(dirname "$HLRS_QEMU")/build-folder")")/source/scripts/checkpatch.pl
	matching '^tools/qemu/device/.*\.[ch]$' | xargs -r perl "$script" --no-tree -f --quiet --terse --no-summary
}

check_kernel_doc() {
	local tool=$linux/tools/docs/kernel-doc
	[ -e "$tool" ] || tool=$linux/scripts/kernel-doc
	matching '^include/.*\.h$' | PYTHONDONTWRITEBYTECODE=1 xargs -r "$tool" -none -Werror
}


check_cargo_fmt() { cargo fmt --manifest-path userspace/Cargo.toml --all --check; }

check_cargo_clippy() {
	cargo clippy --manifest-path userspace/Cargo.toml --workspace --all-targets --locked --quiet \
		--target-dir build/userspace -- -D warnings
}

# Rules of the project: nothing of one machine, no mirror host, no file that
# nobody can read in one go, no marker of unfinished work.
check_rules() {
	local bad=0 file lines code
	code=$(matching '^(Makefile|Kbuild|tools|tests|userspace|rust|drivers|include|docs|\.ci|README|dkms)' |
		grep -vE '\.(lock|bin)$|^tools/check\.sh$')
	if xargs grep -nE '(^|[^A-Za-z0-9_.])/(home|root)/[A-Za-z.]' <<<"$code"; then
		echo 'absolute paths of one machine'
		bad=1
	fi
	if xargs grep -nE '://[^ ]*(deb|ftp|security|snapshot|mirrors?|archive)[^ /]*\.(debian|ubuntu|kernel)\.org' <<<"$code"; then
		echo 'a mirror host is named'
		bad=1
	fi
	if xargs grep -nE '\b(TODO|FIXME|XXX)\b' <<<"$code" | grep -vE 'tests/harness/|tools/run/ktap\.py'; then
		echo 'unfinished work'
		bad=1
	fi
	while IFS= read -r file; do
		case $file in
		# An interface is one header.
		include/*) continue ;;
		*.rs | *.c | *.h | *.py | *.sh) ;;
		*) continue ;;
		esac
		lines=$(wc -l <"$file")
		if [ "$lines" -gt 500 ] && ! head -n 3 "$file" | grep -qi generated; then
			echo "$file: $lines lines; more than 500"
			bad=1
		fi
	done <<<"$code"
	return $bad
}

checks=(spdx rules shellcheck python rustfmt checkpatch qemu_style kernel_doc cargo_fmt cargo_clippy clippy)
failed=0
for name in "${@:-${checks[@]}}"; do
	if [ "$(type -t "check_$name")" != function ]; then
		echo "error: no check '$name'; there are: ${checks[*]}" >&2
		exit 2
	fi
	# A check fails by its status, and also by any warning that it prints.
	if "check_$name" >"$out/$name.txt" 2>&1 && [ ! -s "$out/$name.txt" ]; then
		echo "$name: ok"
	else
		echo "$name: failed"
		sed 's/^/    /' "$out/$name.txt"
		failed=$((failed + 1))
	fi
done
if [ $failed -ne 0 ]; then
	echo "check: $failed of ${#checks[@]} failed"
	exit 1
fi
echo 'check: OK'
