# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the scripts of this directory share: messages, the cache and its locks,
# keys, and the progress display. Sourced, never run.

HLRS_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export HLRS_TOP

note() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The cache: outside the checkout, absolute, writable, and no blanks or colons
# in its path, which neither Kbuild nor QEMU's configure would survive. What
# counts is where symbolic links lead.
cache_dir() {
	local given dir from=HLRS_CACHE
	if [ -n "${HLRS_CACHE:-}" ]; then
		given=$HLRS_CACHE
	elif [ -n "${XDG_CACHE_HOME:-}" ]; then
		from=XDG_CACHE_HOME given=$XDG_CACHE_HOME/hlrs
	elif [ -n "${HOME:-}" ]; then
		from=HOME given=$HOME/.cache/hlrs
	else
		die "HOME is not set; say with HLRS_CACHE= where the cache is to be"
	fi
	case $given in
	/*) ;;
	*) die "$from must be an absolute path, not '${!from}'" ;;
	esac
	dir=$(realpath -m -- "$given") || die "$from: '$given' leads nowhere"
	case $dir in
	*[!A-Za-z0-9/._+@=,~-]*) die "the path of the cache must not contain blanks or special characters: '$dir', from $from" ;;
	esac
	case $dir/ in
	"$(cd "$HLRS_TOP" && pwd -P)"/*) die "the cache must lie outside the checkout, not in '$dir' (from $from)" ;;
	esac
	mkdir -p "$dir" 2>/dev/null || die "$from: cannot create '$dir'"
	[ -w "$dir" ] || die "$from: '$dir' is not writable"
	printf '%s\n' "$dir"
}

init_cache() {
	case $HLRS_TOP in
	*[!A-Za-z0-9/._+@=,~-]*) die "the path of the checkout must not contain blanks or special characters: '$HLRS_TOP'" ;;
	esac
	CACHE=$(cache_dir)
	HLRS_CACHE=$CACHE
	export CACHE HLRS_CACHE
	# For as long as this process and those that it starts need the cache.
	lock "$CACHE/locks/in-use" -s "waiting until the cache has been removed: $CACHE"
	mkdir -p "$CACHE/logs"
}

# key_of TEXT...: a name for what was made from TEXT.
key_of() { printf '%s\n' "$@" | sha256sum | cut -c1-16; }

# lock FILE HOW MESSAGE: takes the lock FILE, alone (-x) or with others (-s), and
# says MESSAGE if it has to wait. Its descriptor, in lock_fd, is inherited: the
# lock ends with the last process that has it, so a killed run cannot leave it
# behind. Who has it alone may remove the file; it is made again then.
lock() {
	lock_fd=
	while [ -z "$lock_fd" ] || ! [ "$1" -ef "/proc/$BASHPID/fd/$lock_fd" ]; do
		if [ -n "$lock_fd" ]; then exec {lock_fd}>&-; fi
		mkdir -p "$(dirname "$1")"
		exec {lock_fd}>>"$1"
		if ! flock "$2" -n "$lock_fd"; then
			note "$3"
			flock "$2" "$lock_fd"
		fi
	done
}

# Takes the lock FILE alone, or fails at once.
try_lock() {
	exec {lock_fd}>>"$1" && flock -x -n "$lock_fd"
}

# with_lock NAME COMMAND...: two runs never work on one piece at once.
with_lock() { with_lock_of "$CACHE/locks/$1" "$@"; }

# with_lock_of FILE NAME COMMAND...
with_lock_of() {
	local file=$1 name=$2 fd
	shift 2
	lock "$file" -x "$name: waiting for another run that is making it"
	fd=$lock_fd
	"$@"
	exec {fd}>&-
}

# publish PART FINAL: the one step that makes a piece exist.
publish() {
	sync -f "$1" 2>/dev/null || true
	mv -T "$1" "$2"
}

# drop_old PATTERN KEEP: pieces of other keys that nothing used for two weeks.
drop_old() {
	local old
	for old in "$CACHE"/$1; do
		if [ -d "$old" ] && [ "$old" != "$2" ] && [ -z "$(find "$old/.used" -mtime -14 2>/dev/null)" ]; then
			rm -rf "$old"
		fi
	done
}

elapsed() {
	local s=$((SECONDS - $1))
	if [ "$s" -ge 60 ]; then printf '%dm%02ds' $((s / 60)) $((s % 60)); else printf '%ds' "$s"; fi
}

# Counters for run_logged: print "DONE of TOTAL UNIT" from a log.
count_none() { :; }

# Kbuild prints one line a target. Their number is known only afterwards, so
# the total is the one recorded by the last build, hence "about".
count_lines() { grep -cE '^  [A-Z][A-Z0-9]*( \[[A-Z]\]| [A-Z])? +[^ ]' "$1" || true; }
count_kbuild() {
	local count total=$2
	count=$(count_lines "$1")
	if [ "$count" -gt "$total" ]; then total=$count; fi
	printf '%s of about %s objects' "$count" "$total"
}

# ninja and meson say "[done/total]" themselves.
count_ninja() {
	local last
	last=$(tr '\r' '\n' <"$1" | grep -oE '^\[[0-9]+/[0-9]+\]' | tail -n 1 | tr -d '[]' || true)
	if [ -n "$last" ]; then printf '%s of %s objects' "${last%/*}" "${last#*/}"; else printf 'configuring'; fi
}

# Debian packages of a root: unpacked, then configured.
count_apt() {
	local count
	count=$(grep -cE '^(Get:|Unpacking |Setting up )' "$1" || true)
	if [ "$count" -gt "$2" ]; then printf '%s steps' "$count"; else printf '%s of about %s steps' "$count" "$2"; fi
}

# Set when a signal ended a step, and not the step itself.
# shellcheck disable=SC2034 # read where a half-made piece can be used again
interrupted=

# Runs a step in a process group of its own, which ends with the process OWNER
# that waits for it: also when that is killed and can do nothing about it.
guarded() {
	local owner=$1 group=$BASHPID guard
	shift
	(
		trap 'kill "$!"; exit' TERM
		while kill -0 "$owner"; do
			sleep "$poll_interval" &
			wait "$!"
		done
		trap - TERM
		kill -TERM -- "-$group"
	) >/dev/null 2>&1 &
	guard=$!
	# shellcheck disable=SC2064 # it is known now
	trap "kill $guard 2>/dev/null" EXIT
	"$@"
}

# Seconds between lines of progress where there is no terminal, and between looks
# at whether a step has ended.
progress_interval=10
poll_interval=0.5

# run_logged NAME LOG COUNTER ARGUMENT COMMAND...: runs COMMAND with its output
# in LOG. Shows progress in place on a terminal and line by line elsewhere; a
# failure shows the end of the log (failure_lines of it) and where it is.
run_logged() {
	local name=$1 log=$2 counter=$3 arg=$4 owner=$BASHPID pid rc=0 start=$SECONDS last=$SECONDS text tty=
	shift 4
	mkdir -p "$(dirname "$log")"
	: >"$log"
	if [ -t 2 ] && [ -z "${HLRS_PLAIN_PROGRESS:-}" ]; then tty=1; else note "$name: started"; fi
	# A process group of its own, so that an interrupted run can end the step
	# with everything that it started.
	set -m
	guarded "$owner" "$@" >>"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	trap 'interrupted=1; kill -TERM -- "-$pid" 2>/dev/null; wait "$pid" || true; exit 129' HUP
	trap 'interrupted=1; kill -TERM -- "-$pid" 2>/dev/null; wait "$pid" || true; exit 130' INT
	trap 'interrupted=1; kill -TERM -- "-$pid" 2>/dev/null; wait "$pid" || true; exit 143' TERM
	while kill -0 "$pid" 2>/dev/null; do
		sleep "$poll_interval"
		# make was ended, and does not hand on what ended it.
		if [ -n "${HLRS_RUN:-}" ] && ! kill -0 "$HLRS_RUN" 2>/dev/null; then kill -TERM "$owner"; fi
		if [ -n "$tty" ] || [ $((SECONDS - last)) -ge "$progress_interval" ]; then
			last=$SECONDS
			text=$($counter "$log" "$arg")
			if [ -n "$tty" ]; then
				printf '\r\033[K%s: %s%s' "$name" "${text:+$text, }" "$(elapsed "$start")" >&2
			else
				note "$name: ${text:+$text, }$(elapsed "$start")"
			fi
		fi
	done
	wait "$pid" || rc=$?
	trap - HUP INT TERM
	if [ -n "$tty" ]; then printf '\r\033[K' >&2; fi
	if [ "$rc" -ne 0 ]; then
		note "$name: failed after $(elapsed "$start") (status $rc). The end of its log:"
		tail -n "${failure_lines:-25}" "$log" | sed 's/^/    /' >&2
		die "$name failed; the whole log is in $log"
	fi
	note "$name: done in $(elapsed "$start")"
}
