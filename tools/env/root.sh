# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The private Debian 13 root with the toolchain.
#
# It is made as a tar stream and unpacked as the caller: every file belongs to
# whoever owns the cache, so that an ordinary user can enter and remove it
# without the ids that made it. Downloads are verified by apt's signatures.

# root_packages MARK: the names in the list that carry MARK ("" for none). What
# the device model's build needs is listed beside it.
root_packages() {
	local lists=("$HLRS_TOP/tools/env/packages")
	if [ -z "$1" ]; then lists+=("$HLRS_TOP/tools/qemu/device/build-deps"); fi
	sed -E -e 's/#.*//' -e '/^[[:space:]]*$/d' "${lists[@]}" |
		awk -v mark="$1" '(mark == "" && NF == 1) || (mark != "" && $2 == mark) { print $1 }' | sort -u
}

root_key() {
	key_of "$(declare -f make_root)" "$suites_hook" "$sources_hook" "$(root_packages '')" \
		"backports: $(root_packages @backports)" "source: $(root_packages @source)"
}

root_dir() { printf '%s/root-%s' "$CACHE" "$(root_key)"; }

# No mirror is named anywhere: mmdebstrap writes the host's default one, and
# further suites repeat its line. The scripts run with the root as $1.
# shellcheck disable=SC2016
suites_hook='set -e
list="$1/etc/apt/sources.list"
line=$(grep -m 1 -E "^deb .*trixie main" "$list")
echo "$line" | sed "s/trixie main/trixie-backports main/" >>"$list"
echo "$line" | sed "s/^deb /deb-src /" >>"$list"'
# shellcheck disable=SC2016
sources_hook='set -e
mkdir -p "$1/usr/src/packages"
chroot "$1" sh -c "cd /usr/src/packages && apt-get source --download-only -o APT::Sandbox::User=root $0"
chroot "$1" dpkg-query -W >"$1/.packages"'

make_root() {
	local part=$1 mode=unshare packages sources
	if [ "$(id -u)" -eq 0 ]; then mode=root; fi
	packages=$(root_packages '' | paste -sd, -)
	packages=$packages,$(root_packages @backports | sed 's,$,/trixie-backports,' | paste -sd, -)
	sources=$(root_packages @source | paste -sd' ' -)
	mkdir -p "$part"
	# /tmp is often a small tmpfs.
	TMPDIR=${TMPDIR:-/var/tmp} mmdebstrap --variant=minbase --mode="$mode" --format=tar --verbose \
		--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--include="$packages" --setup-hook="$suites_hook" \
		--customize-hook="${sources_hook/\$0/$sources}" \
		trixie - |
		tar -C "$part" -x --no-same-owner --exclude='./dev/*'
}

build_root() {
	local dir part
	dir=$(root_dir)
	if [ ! -d "$dir" ]; then
		part=$CACHE/root.part
		rm -rf "$part"
		run_logged 'Debian 13 root' "$CACHE/logs/root.log" count_apt 900 make_root "$part"
		[ -s "$part/.packages" ] || die "the root is incomplete; see $CACHE/logs/root.log"
		publish "$part" "$dir"
	fi
	touch "$dir/.used"
	drop_old 'root-*' "$dir"
}

# root_versions PACKAGE...: what a piece that depends on the toolchain is keyed by.
root_versions() {
	local name
	for name in "$@"; do
		grep -E "^$name(:amd64)?[[:space:]]" "$(root_dir)/.packages" || die "the root lacks $name"
	done
}
