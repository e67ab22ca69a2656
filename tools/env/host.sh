# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the host itself must have. As root it is installed, otherwise named.

host_missing() {
	local packages=() pair
	for pair in mmdebstrap:mmdebstrap bwrap:bubblewrap xz:xz-utils flock:util-linux sha256sum:coreutils; do
		command -v "${pair%%:*}" >/dev/null || packages+=("${pair#*:}")
	done
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || packages+=(debian-archive-keyring)
	if [ "$(id -u)" -ne 0 ]; then
		command -v newuidmap >/dev/null || packages+=(uidmap)
	fi
	printf '%s\n' "${packages[@]}"
}

# An ordinary user needs a range of subordinate ids for making the root.
check_subids() {
	local user file
	user=$(id -un)
	for file in /etc/subuid /etc/subgid; do
		if ! grep -qE "^($user|$(id -u)):[0-9]+:(6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4}|[0-9]{6,})$" "$file" 2>/dev/null; then
			die "no subordinate ids for '$user' in $file; as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user"
		fi
	done
}

check_user_namespaces() {
	if ! bwrap --unshare-user --ro-bind / / true 2>/dev/null; then
		die "user namespaces are not available to $(id -un); run as root, or as root: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000"
	fi
}

prepare_host() {
	local missing
	case $(uname -sm) in
	'Linux x86_64') ;;
	*) die "the environment needs an x86_64 Linux machine, not $(uname -sm)" ;;
	esac
	missing=$(host_missing | tr '\n' ' ' | sed 's/ *$//')
	if [ -n "$missing" ]; then
		if [ "$(id -u)" -ne 0 ]; then
			die "missing on this machine; as root: apt-get install $missing"
		fi
		command -v apt-get >/dev/null || die "missing on this machine: $missing"
		# shellcheck disable=SC2086 # a list of package names
		run_logged "host packages ($missing)" "$CACHE/logs/host.log" count_none '' install_packages $missing
	fi
	if [ "$(id -u)" -ne 0 ]; then
		check_subids
		check_user_namespaces
	fi
}

install_packages() {
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}
