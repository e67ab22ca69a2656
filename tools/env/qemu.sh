# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# QEMU with the device model.
#
# qemu-src-KEY is the unpacked source with a configured build folder, keyed by
# QEMU's version, options and patches; it is kept, so that a change of the device
# model compiles that and links. qemu-KEY holds one finished binary, keyed by the
# device model too: a run never sees the binary of another change to come.

qemu_device=$HLRS_TOP/tools/qemu/device
qemu_patches=$HLRS_TOP/tools/qemu/patches
qemu_hw=$HLRS_TOP/drivers/accel/hlrs/hlrs_hw.h

qemu_src_key() {
	key_of "$CACHE" "$(cat "$(root_dir)"/usr/src/packages/qemu_*.dsc)" "$(cat "$qemu_device/configure-args")" \
		"$(cat "$qemu_patches"/*.patch)" "$(root_versions gcc meson libglib2.0-dev libfdt-dev)" \
		"$(declare -f make_qemu_src)"
}
qemu_src_dir() { printf '%s/qemu-src-%s' "$CACHE" "$(qemu_src_key)"; }

qemu_key() {
	key_of "$(qemu_src_key)" \
		"$(cd "$qemu_device" && find . -type f ! -name '.*' -print0 | sort -z | xargs -0 sha256sum)" \
		"$(sha256sum <"$qemu_hw")"
}
qemu_dir() { printf '%s/qemu-%s' "$CACHE" "$(qemu_key)"; }
qemu_binary() { printf '%s/qemu-system-x86_64' "$(qemu_dir)"; }

# dpkg-source checks the files against the checksums of the .dsc, which apt
# has verified against the archive's signature. It also looks for the key of the
# uploader, which the root does not have, and says so.
make_qemu_src() {
	local part=$1
	mkdir -p "$part"
	"$HLRS_TOP/tools/env/enter" sh -ec "dpkg-source -x /usr/src/packages/qemu_*.dsc '$part/source'
		for patch in '$qemu_patches'/*.patch; do patch -d '$part/source' -p1 <\"\$patch\"; done"
}

configure_qemu() {
	local dir=$1 args
	mapfile -t args < <(grep -v '^#' "$qemu_device/configure-args")
	rm -rf "$dir/build"
	mkdir -p "$dir/build"
	cd "$dir/build" || return
	"$HLRS_TOP/tools/env/enter" ../source/configure "${args[@]}"
	touch "$dir/.configured"
}

make_qemu() {
	local src=$1 part=$2
	"$HLRS_TOP/tools/env/enter" "$qemu_device/install-into-qemu.sh" "$src/source" "$qemu_hw"
	if [ ! -e "$src/.configured" ]; then configure_qemu "$src"; fi
	"$HLRS_TOP/tools/env/enter" ninja -C "$src/build" -j "$(nproc)" qemu-system-x86_64
	mkdir -p "$part"
	cp "$src/build/qemu-system-x86_64" "$part/"
	# The tests of the device model talk to it through the test protocol.
	printf '%s\n' "$src/build" >"$part/build-folder"
}

build_qemu() {
	local dir src part
	dir=$(qemu_dir) src=$(qemu_src_dir)
	if [ ! -d "$src" ]; then
		part=$CACHE/qemu-src.part
		rm -rf "$part"
		run_logged 'QEMU source' "$CACHE/logs/qemu-src.log" count_none '' make_qemu_src "$part"
		publish "$part" "$src"
	fi
	if [ ! -d "$dir" ]; then
		part=$CACHE/qemu.part
		rm -rf "$part"
		run_logged 'QEMU' "$CACHE/logs/qemu.log" count_ninja '' make_qemu "$src" "$part"
		publish "$part" "$dir"
	fi
	touch "$dir/.used" "$src/.used"
	drop_old 'qemu-src-*' "$src"
	drop_old 'qemu-[0-9a-f]*' "$dir"
}
