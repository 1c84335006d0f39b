#!/bin/bash
# What it costs to keep an app running and to be in front of it: tidelock beside PM2, two processes of one small app each.
#   benches/beside-pm2.sh [TIDELOCK]      default: target/release/tidelock; needs wrk, node, and `npm ci` in crates/testkit/js
# Memory is the proportional set size, with the app's processes left out; processor time is that of the kernel and the program
# together, divided by the answers that wrk has counted. Time of a program does not depend on who else uses the machine.
set -eu
cd "$(dirname "$0")/.."
tidelock=$(realpath "${1:-target/release/tidelock}") pm2=$(realpath crates/testkit/js/node_modules/.bin/pm2)
home=$(mktemp -d)
export HOME=$home PM2_HOME=$home/pm2 XDG_CONFIG_HOME=$home XDG_STATE_HOME=$home XDG_RUNTIME_DIR=$home
trap '"$pm2" kill > /dev/null 2>&1; "$tidelock" kill --now > /dev/null 2>&1; rm -rf "$home"' EXIT
echo "require('http').createServer((_, answer) => answer.end('ok')).listen(process.env.PORT, '127.0.0.1')" > "$home/app.js"
cd "$home"

# The kernel's ticks that these processes have used.
ticks() { local all=0 pid of; for pid in "$@"; do of=($(sed 's/.*) //' "/proc/$pid/stat")); all=$((all + of[11] + of[12])); done; echo $all; }
pss() { local all=0 pid; for pid in "$@"; do all=$((all + $(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup"))); done; echo $all; }
apps() { pgrep -f "$home/app.js" | while read -r pid; do [ "$(readlink "/proc/$pid/exe")" = "$(realpath "$(command -v node)")" ] && echo "$pid"; done; }
# row WHO PORT MANAGERS…: two loads, over connections that are kept and over one for each request.
row() {
    local who=$1 port=$2 kind before of_apps answers; shift 2
    local app=($(apps))
    printf '| %-8s | %d | %.1f |' "$who" ${#app[@]} "$(echo "$(pss "$@") / 1024" | bc -l)"
    for kind in keep-alive close; do
        before=$(ticks "$@") of_apps=$(ticks "${app[@]}")
        answers=$(wrk -t1 -c32 -d10s -H "Connection: $kind" "http://127.0.0.1:$port/" | awk '/requests in/ { print $1 }')
        echo "$(($(ticks "$@") - before)) $(($(ticks "${app[@]}") - of_apps)) $answers" |
            awk -v hertz="$(getconf CLK_TCK)" '{ printf " %.1f | %.1f |", $1 * 1e6 / hertz / $3, $2 * 1e6 / hertz / $3 }'
    done
    echo " $(pss "$@" | awk '{ printf "%.1f", $1 / 1024 }') |"
}

echo '| who | processes | its memory, MiB | its µs per request | the app'"'"'s | its µs per connection | the app'"'"'s | its memory then, MiB |'
echo '| --- | --- | --- | --- | --- | --- | --- | --- |'
PORT=41801 "$pm2" start app.js -i 2 > /dev/null
until curl -sf http://127.0.0.1:41801 > /dev/null; do sleep 0.1; done
row 'PM2 7' 41801 "$(cat "$PM2_HOME/pm2.pid")"
"$pm2" kill > /dev/null
"$tidelock" start --background app.js -i 2 -l 127.0.0.1:41802 > /dev/null 2>&1
main=$(cat "$home/tidelock/running.lock")
# With the keeper that each process of the app has.
row tidelock 41802 "$main" $(pgrep -P "$main")
