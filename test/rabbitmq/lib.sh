# What up, down, ctl and node share. The server is Debian's, with a name, a cookie, data and ports of its own: it listens on 127.0.0.1 only,
# and all that it writes is under bin/rabbitmq of this checkout.
#   TANDEM_RABBITMQ_DIR   where it lives instead
#   TANDEM_RABBITMQ_PORT  its port (default 15682); the next two are for its own use, and the one after them is for TLS
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${TANDEM_RABBITMQ_DIR:-$(cd "$here/../.." && pwd)/bin/rabbitmq}
port=${TANDEM_RABBITMQ_PORT:-15682}
bin=${TANDEM_RABBITMQ_BIN:-/usr/lib/rabbitmq/bin}

say() { echo "$@" >&2; }

# Debian's own settings and units are left alone.
export HOME=$dir RABBITMQ_HOME_DIR=$dir
export RABBITMQ_NODENAME=tandem-$port@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$port RABBITMQ_DIST_PORT=$((port + 1))
export RABBITMQ_MNESIA_BASE=$dir/data RABBITMQ_LOG_BASE=$dir/log RABBITMQ_PID_FILE=$dir/pid RABBITMQ_CONFIG_FILE=$dir/rabbitmq
export RABBITMQ_ENABLED_PLUGINS_FILE=$dir/plugins RABBITMQ_CONF_ENV_FILE=$dir/env RABBITMQ_ADVANCED_CONFIG_FILE=$dir/advanced.config
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
export ERL_EPMD_PORT=$((port + 2)) ERL_EPMD_ADDRESS=127.0.0.1
export LC_ALL=C.UTF-8

secure_url() { echo "amqps://tandem:not-to-be-shown@127.0.0.1:$((port + 3))"; }

url() { echo "amqp://tandem:not-to-be-shown@127.0.0.1:$port"; }

ctl() { "$bin/rabbitmqctl" -q "$@"; }

# running: the process is there and is ours.
running() {
	local pid
	[ -s "$dir/pid" ] || return 1
	pid=$(cat "$dir/pid")
	kill -0 "$pid" 2>/dev/null && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$dir"
}

launch() {
	rm -f "$dir/pid"
	setsid "$bin/rabbitmq-server" </dev/null >>"$dir/out.log" 2>&1 &
	# The node may take a while to write its pid file; before that, this waits without asking it.
	for _ in $(seq 300); do
		running && break
		sleep 0.1
	done
	if ! running || ! ctl wait --timeout 60 "$dir/pid" >>"$dir/out.log" 2>&1; then
		say "the server is not ready; its log is under $dir/log:"
		tail -5 "$dir/out.log" >&2
		return 1
	fi
}

# stop [SIGNAL]: ends the server and waits until it is gone.
stop() {
	local pid
	running || return 0
	pid=$(cat "$dir/pid")
	kill "-${1:-TERM}" "$pid" 2>/dev/null || true
	for _ in $(seq 300); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -KILL "$pid" 2>/dev/null || true
}
