# What the scripts of this folder share. Sourced, not run.
#
#   TANDEM_KAFKA_DIR   where data, logs and pid files are (default: tandem-kafka-UID under the temporary directory)
#   TANDEM_KAFKA_PORT  first port (default 19092). Node N, from 1 on, has PORT+10(N-1) in clear, +1 for the controller, and +2 with TLS and SASL
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${TANDEM_KAFKA_DIR:-${TMPDIR:-/tmp}/tandem-kafka-$(id -u)}
port=${TANDEM_KAFKA_PORT:-19092}
version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$here/pom.xml")
jars=${XDG_CACHE_HOME:-$HOME/.cache}/tandem/kafka-$version

clear_port() { echo $((port + 10 * ($1 - 1))); }
controller_port() { echo $((port + 10 * ($1 - 1) + 1)); }
secure_port() { echo $((port + 10 * ($1 - 1) + 2)); }

# fetch_jars copies the jars of pom.xml into the cache, once.
fetch_jars() {
  if [ ! -e "$jars/complete" ]; then
    command -v mvn >/dev/null || { echo "mvn is not there: apt-get install maven openjdk-17-jre-headless" >&2; exit 1; }
    mkdir -p "$jars"
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars" >&2
    touch "$jars/complete"
  fi
}

# running says whether node $1 has a process.
running() {
  local pid
  pid=$(cat "$dir/$1/pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null
}

# start runs the broker of node $1.
start() {
  local n=$1
  nohup java -Xms128m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$here/log4j2.yaml" \
    -cp "$jars/*" kafka.Kafka "$dir/$n/server.properties" >>"$dir/$n/out" 2>&1 </dev/null &
  echo $! >"$dir/$n/pid"
}

# ready waits until node $1 answers.
ready() {
  local n=$1 i
  for i in $(seq 240); do
    if ! running "$n"; then
      echo "node $n has ended:" >&2
      tail -20 "$dir/$n/out" >&2
      exit 1
    fi
    if grep -q "Kafka Server started" "$dir/$n/out" && (exec 3<>"/dev/tcp/127.0.0.1/$(clear_port "$n")") 2>/dev/null; then
      return
    fi
    sleep 0.25
  done
  echo "node $n does not answer after a minute: see $dir/$n/out" >&2
  exit 1
}
