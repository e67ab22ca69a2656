# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Guest kernels: Debian's linux-source-7.3 in two flavours, built with the
# root's toolchain.

# Libraries that only drivers of the tree can select get a prompt, so that the
# configuration can ask for them on behalf of drivers out of the tree.
add_prompts() {
	local file=$1 symbol
	shift
	for symbol in "$@"; do
		sed -i -E "/^config $symbol\$/{n;s/^(\s+(tristate|bool))\$/\1 \"Library, for drivers built out of tree\"/}" "$file"
		grep -A 1 -E "^config $symbol\$" "$file" | grep -q 'Library, for drivers' || {
			echo "$file: the prompt of $symbol was not added"
			return 1
		}
	done
}

linux_src_key() { key_of "$(root_versions linux-source-7.3)" "$(declare -f make_linux_src add_prompts)"; }
linux_src_dir() { printf '%s/linux-src-%s' "$CACHE" "$(linux_src_key)"; }

make_linux_src() {
	local part=$1
	mkdir -p "$part"
	tar -C "$part" --strip-components=1 -xJf "$(root_dir)/usr/src/linux-source-7.3.tar.xz"
	add_prompts "$part/drivers/gpu/drm/Kconfig" DRM_EXEC DRM_GPUVM DRM_SCHED DRM_GEM_SHMEM_HELPER
	add_prompts "$part/drivers/gpu/Kconfig" GPU_BUDDY
	add_prompts "$part/drivers/base/Kconfig" AUXILIARY_BUS WANT_DEV_COREDUMP
}

build_linux_src() {
	local dir part
	dir=$(linux_src_dir)
	if [ ! -d "$dir" ]; then
		part=$CACHE/linux-src.part
		rm -rf "$part"
		run_logged 'kernel source' "$CACHE/logs/linux-src.log" count_none '' make_linux_src "$part"
		publish "$part" "$dir"
	fi
	touch "$dir/.used"
	drop_old 'linux-src-*' "$dir"
}

kernel_fragments() {
	printf '%s\n' "$HLRS_TOP/tools/qemu/kernel/common.config" "$HLRS_TOP/tools/qemu/kernel/$1.config"
}

# What changes a kernel: its configuration, source and toolchain, and how it
# is made. The path counts because Kbuild records that of the source.
kernel_key() {
	local tools
	case $1 in
	release) tools='gcc binutils' ;;
	debug) tools='clang-19 lld-19 llvm-19' ;;
	esac
	# shellcheck disable=SC2086 # a list of package names
	key_of "$CACHE" "$(linux_src_key)" "$(root_versions $tools rustc bindgen pahole)" \
		"$(kernel_fragments "$1" | xargs sed -E -e '/^#/d' -e '/^$/d')" \
		"$(declare -f make_kernel shrink_kernel)"
}
kernel_dir() { printf '%s/kernel-%s-%s' "$CACHE" "$1" "$(kernel_key "$1")"; }

# Flags that every make on this flavour's tree needs.
kernel_flags() {
	case $1 in
	debug) echo LLVM=1 ;;
	esac
}

# Each line of the fragments must have taken: allnoconfig drops silently what
# depends on something else.
check_config() {
	local line name bad=()
	while read -r line; do
		case $line in
		'' | \#*) continue ;;
		*=n)
			name=${line%=n}
			if grep -qE "^$name=" "$2"; then bad+=("$line"); fi
			;;
		*) grep -qxF "$line" "$2" || bad+=("$line") ;;
		esac
	done < <(kernel_fragments "$1" | xargs cat)
	if [ ${#bad[@]} -gt 0 ]; then
		printf 'not in the resulting configuration: %s\n' "${bad[@]}"
		return 1
	fi
}

make_kernel() {
	local flavour=$1 part=$2 src flags
	src=$(linux_src_dir)
	read -ra flags <<<"$(kernel_flags "$flavour")"
	mkdir -p "$part"
	kernel_fragments "$flavour" | xargs cat >"$part/hlrs.config"
	# Kbuild remakes nothing whose command and inputs are unchanged, so an
	# interrupted build of the same key goes on where it stopped.
	cd "$part" || return
	"$HLRS_TOP/tools/env/enter" make -C "$src" O="$part" "${flags[@]}" KCONFIG_ALLCONFIG="$part/hlrs.config" allnoconfig
	check_config "$flavour" "$part/.config"
	"$HLRS_TOP/tools/env/enter" make -C "$src" O="$part" "${flags[@]}" -j"$(nproc)" bzImage modules
	"$HLRS_TOP/tools/env/enter" make -C "$src" O="$part" "${flags[@]}" INSTALL_MOD_PATH="$part/installed" modules_install
	shrink_kernel "$part"
	# The build folder names itself in its Makefile; it is renamed when complete.
	sed -i "s,^export KBUILD_OUTPUT = .*,export KBUILD_OUTPUT = $(kernel_dir "$flavour")," "$part/Makefile"
}

# What is left is what booting and building modules need.
shrink_kernel() {
	find "$1" \( -path "$1/scripts" -o -path "$1/tools" \) -prune -o \
		\( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name 'vmlinux*' \) -type f -print0 | xargs -0 rm -f
	rm -f "$1/installed/lib/modules/"*/build
}

# Called when the script ends, however it does.
resume_part='' resume_key=''
mark_resume() {
	if [ -n "$interrupted" ] && [ -d "$resume_part" ]; then echo "$resume_key" >"$resume_part/.resume"; fi
}

# Fails if the kernel is not there yet.
use_kernel() {
	local dir
	dir=$(kernel_dir "$1")
	[ -d "$dir" ] && touch "$dir/.used"
}

build_kernel() {
	local flavour=$1 dir part key total resumed='' log=$CACHE/logs/kernel-$1.log
	dir=$(kernel_dir "$flavour")
	if [ ! -d "$dir" ]; then
		key=$(kernel_key "$flavour")
		part=$CACHE/kernel-$flavour.part
		total=$(cat "$CACHE/logs/kernel-$flavour.objects" 2>/dev/null ||
			sed -n "s/^$flavour //p" "$HLRS_TOP/tools/env/kernel-objects")
		# Only what an orderly interrupted run of the same key left is used.
		if [ "$(cat "$part/.resume" 2>/dev/null)" = "$key" ]; then
			note "kernel ($flavour): going on where an interrupted run stopped"
			total=$((total - $(count_lines "$log")))
			resumed=1
		else
			rm -rf "$part"
		fi
		rm -f "$part/.resume"
		resume_part=$part resume_key=$key
		run_logged "kernel ($flavour)" "$log" count_kbuild "$total" make_kernel "$flavour" "$part"
		resume_part=''
		if [ -z "$resumed" ]; then count_lines "$log" >"$CACHE/logs/kernel-$flavour.objects"; fi
		publish "$part" "$dir"
	fi
	touch "$dir/.used"
	drop_old "kernel-$flavour-*" "$dir"
}
