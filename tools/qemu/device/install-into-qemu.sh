#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Puts the device model into an unpacked QEMU source tree. Can be run again on
# the same tree: files that did not change keep their time stamps, so that the
# next build compiles only what did.
set -eu

if [ $# -ne 2 ]; then
	echo "usage: $0 QEMU_SOURCE_DIR PATH_OF_hlrs_hw.h" >&2
	exit 2
fi

src=$1
hw=$2
here=$(cd "$(dirname "$0")" && pwd)
dst=$src/hw/misc/hlrs

if [ ! -f "$src/hw/misc/meson.build" ]; then
	echo "$0: $src is not a QEMU source tree" >&2
	exit 1
fi

put() {
	cmp -s "$1" "$2" || cp "$1" "$2"
}

mkdir -p "$dst"
for f in "$here"/*.c "$here"/*.h "$here"/meson.build "$here"/Kconfig \
	"$here"/trace-events "$here"/trace.h "$hw"; do
	put "$f" "$dst/$(basename "$f")"
done
put "$here/devices.mak" "$src/configs/devices/x86_64-softmmu/hlrs.mak"

# Files of an earlier version that no longer exist would still be read by eye,
# though not by meson: remove them.
for f in "$dst"/*.c "$dst"/*.h; do
	b=$(basename "$f")
	[ "$b" = "$(basename "$hw")" ] || [ -f "$here/$b" ] || rm "$f"
done

add_line() {
	grep -qxF "$2" "$1" || printf '%s\n' "$2" >> "$1"
}

add_line "$src/hw/misc/meson.build" "subdir('hlrs')"
add_line "$src/hw/misc/Kconfig" "source hlrs/Kconfig"
# Trace events are compiled for the folders on this list.
grep -qF "'hw/misc/hlrs'," "$src/meson.build" ||
	sed -i "s|^    'hw/misc/macio',|&\n    'hw/misc/hlrs',|" "$src/meson.build"

# The translator and the emulated processor's helpers, optimised as one: a tenth
# less work for a guest. LTO of all of QEMU would save as much again, and take
# over a minute for each link.
grep -qF "'-flto=auto'," "$src/meson.build" ||
	sed -i "s|^  c_args = \['-DCOMPILING_PER_TARGET',$|  c_args = ['-DCOMPILING_PER_TARGET', '-flto=auto',|" "$src/meson.build"
