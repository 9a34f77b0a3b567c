# What up, down and node share. Servers listen on 127.0.0.1 only; all that they write is under bin/nats of this checkout.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${TANDEM_NATS_DIR:-$root/bin/nats}
base=${TANDEM_NATS_PORT:-14222} # node N: clients base+N-1, health base+9+N, the other nodes base+19+N

say() { echo "$@" >&2; }
client() { echo $((base + $1 - 1)); }
health() { echo $((base + 9 + $1)); }
route() { echo $((base + 19 + $1)); }
pidfile() { echo "$dir/n$1.pid"; }

# running N: the process of a node is there and is ours. One that is ending has no command line any more, but still its ports.
running() {
	local pid state line
	[ -f "$(pidfile "$1")" ] || return 1
	pid=$(cat "$(pidfile "$1")")
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null) || return 1
	[[ -n $state && $state != Z && $state != X ]] || return 1
	line=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) || return 1
	[[ -z $line || $line == *"$dir/n$1.conf"* ]]
}

# ready N: the node answers that JetStream works and that its streams are up to date.
ready() {
	local line
	exec 3<>"/dev/tcp/127.0.0.1/$(health "$1")" || return 1
	printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3
	IFS= read -r -t 2 line <&3 || line=
	exec 3<&- 3>&-
	[[ $line == *" 200 "* ]]
}

wait_ready() {
	for _ in $(seq 300); do
		if ready "$1" 2>/dev/null; then return; fi
		running "$1" || { say "node $1 ended:"; tail -5 "$dir/n$1.log" >&2; return 1; }
		sleep 0.1
	done
	say "node $1 is not ready after 30 s; its log is $dir/n$1.log"
	return 1
}

# launch N: starts a node that up has configured.
launch() {
	setsid "$dir/nats-server" -c "$dir/n$1.conf" </dev/null >>"$dir/n$1.log" 2>&1 &
	echo $! >"$(pidfile "$1")"
}

# stop N [SIGNAL]: ends a node and waits until it is gone.
stop() {
	local pid
	if running "$1"; then
		pid=$(cat "$(pidfile "$1")")
		kill -CONT "$pid" 2>/dev/null || true
		kill "-${2:-TERM}" "$pid" 2>/dev/null || true
		for _ in $(seq 100); do
			running "$1" || break
			sleep 0.1
		done
		if running "$1"; then kill -KILL "$pid"; fi
		# The last threads of a killed process keep its ports for a moment.
		for _ in $(seq 100); do
			(exec 3<>"/dev/tcp/127.0.0.1/$(health "$1")") 2>/dev/null || break
			sleep 0.05
		done
	fi
	rm -f "$(pidfile "$1")"
}
