#!/bin/bash
# Runs as a service in the machine that `cargo xtask boot` boots, as root and without a login; `$1` says after which boot it is.
# What does not hold is said, and ends it.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

fail() { echo "FAILED: $*"; exit 1; }
# `as USER WORDS`: in a login of that user's, which ends with it.
as() { local user=$1; shift; su - "$user" -c "$*"; }
answers() { # PORT TEXT
    local said
    for _ in $(seq 100); do
        said=$(curl -s -m 5 "http://127.0.0.1:$1/") && [ "$said" = "$2" ] && { echo "port $1 answers: $2"; return; }
        sleep 0.1
    done
    fail "port $1 says \"$said\", not \"$2\""
}
silent() { ! curl -s -m 5 "http://127.0.0.1:$1/" > /dev/null || fail "somebody answers at port $1"; }
says() { # TEXT WORDS
    local text=$1 said; shift
    said=$("$@" 2>&1)
    [[ $said == *"$text"* ]] || fail "$* does not say \"$text\": $said"
    echo "$*: says \"$text\""
}

after_first_boot() {
    # Two users with a tidelock each, started from a login that is over then.
    says "ann is ready at http://localhost:8080" as ann "tidelock start --background app.js -n ann -l :8080 -e WORD=ann"
    says "root is ready at http://localhost:8081" tidelock start --background /opt/app.js -n root -l :8081 -e WORD=root
    answers 8080 ann
    answers 8081 root
    # Neither sees the other's.
    says "ann/0" as ann "tidelock list"
    says "root/0" tidelock list
    as ann "tidelock list" | grep -q root/0 && fail "ann sees root's"
    # Without what a login has: `env -i`, cron, another folder.
    says "ann/1" as ann "env -i HOME=/home/ann /usr/local/bin/tidelock scale ann 2"
    echo '* * * * * cd / && /usr/local/bin/tidelock reload ann > /tmp/cron.said 2>&1; echo "ended with $?" >> /tmp/cron.said' | crontab -u ann -
    # A moved node, as nvm puts it, is what the unit gets.
    says "/home/ann/.nvm/versions/node/v18/bin/node, of nvm" as ann "tidelock startup --print"
    says "it runs: \`systemctl --user status tidelock\`" as ann "tidelock startup"
    loginctl enable-linger ann
    says "it runs: \`systemctl status tidelock\`" tidelock startup
    says active systemctl is-active tidelock
    says active as ann "systemctl --user is-active tidelock"
    answers 8080 ann
    answers 8081 root
    # What runs as a service is changed by the same verbs.
    says "root/2" tidelock scale root 3
    says "ann/1" as ann "tidelock list"
    says "added is ready" as ann "tidelock start --background app.js -n added -l :8082 -e WORD=added"
    answers 8082 added
    says /home/ann/.nvm/versions/node/v18/bin/node readlink "/proc/$(pgrep -n -u ann -x node)/exe"
    for _ in $(seq 700); do grep -qs "ended with" /tmp/cron.said && break; sleep 0.1; done
    says "ended with 0" cat /tmp/cron.said
    crontab -u ann -r
    # A reload by systemd, and an end that is none.
    systemctl reload tidelock || fail "systemctl reload"
    kill -9 "$(systemctl show -P MainPID tidelock)"
    answers 8081 root
}

after_second_boot() {
    # Nobody has logged in.
    answers 8080 ann
    answers 8081 root
    answers 8082 added
    says "root/2" tidelock list
    # What `kill` ends stays so, as long as nobody starts it again.
    says "has ended" tidelock kill
    says inactive systemctl is-active tidelock
    silent 8081
    # Then it is the unit's again, and so for a user whose login says nothing of systemd, and after the last app has gone.
    says "starts as the service" tidelock resurrect
    says active systemctl is-active tidelock
    answers 8081 root
    says "has ended" tidelock kill
    says "starts as the service" tidelock start root
    says active systemctl is-active tidelock
    answers 8081 root
    says "has ended" as ann "tidelock kill"
    silent 8080
    says "starts as the service" as ann "env -i HOME=/home/ann PATH=\$PATH /usr/local/bin/tidelock resurrect"
    says active as ann "systemctl --user is-active tidelock"
    answers 8080 ann
    says "tidelock has ended" as ann "tidelock delete all"
    says "starts as the service" as ann "tidelock start --background app.js -n ann -l :8080 -e WORD=ann"
    says active as ann "systemctl --user is-active tidelock"
    answers 8080 ann
    # What does not start is not started again and again.
    says "has ended" as ann "tidelock kill"
    says "service has ended" as ann "tidelock start --background app.js -n taken -l :8081"
    says inactive as ann "systemctl --user is-active tidelock"
    says "starts as the service" as ann "tidelock resurrect"
    answers 8080 ann
    says "removed" tidelock unstartup
    says "removed" as ann "tidelock unstartup"
    answers 8081 root
    answers 8080 ann
}

after_third_boot() {
    [ -e /etc/systemd/system/tidelock.service ] && fail "the unit is there"
    sleep 3
    silent 8080
    silent 8081
    says "ann is ready" as ann "tidelock resurrect"
    answers 8080 ann
}

main_pid() { systemctl show -P MainPID tidelock; }
pid_of_app() { curl -s -m 5 http://127.0.0.1:80/pid; }
until_other_than() { # PID
    for _ in $(seq 200); do
        local now; now=$(main_pid)
        [ "$now" != 0 ] && [ "$now" != "$1" ] && [ "$(systemctl is-active tidelock)" = active ] && return
        sleep 0.1
    done
    fail "the main process is $1 still: $(systemctl status tidelock)"
}
file() { # WORD
    cat > /etc/tidelock/upstreams.toml <<EOF
[[listen]]
address = "0.0.0.0:80"
[[route]]
upstream = "nodes"
[upstream.nodes]
app = "chat"
[drain]
window = "1s"
deadline = "5s"
[app.chat]
command = ["node", "/opt/app.js"]
env = { WORD = "$1" }
EOF
}

# The units of configs/.
after_fourth_boot() {
    id tidelock > /dev/null 2>&1 || useradd --system tidelock
    rm -rf /etc/systemd/system/tidelock.service.d /var/lib/tidelock /etc/tidelock
    mkdir -p /etc/tidelock
    file one
    cp /opt/units/tidelock.service /etc/systemd/system/
    local said pid app
    said=$(systemd-analyze verify --man=no /etc/systemd/system/tidelock.service 2>&1)
    [ -z "$said" ] || fail "systemd-analyze verify: $said"
    systemctl daemon-reload
    # It has started when it serves: the first request is answered, once the app is ready.
    systemctl start tidelock || fail "start: $(journalctl -u tidelock --no-pager | tail -20)"
    [ "$(curl -s -m 20 http://127.0.0.1:80/)" = one ] || fail "it does not serve though it has started"
    says "1 of 1 nodes up" sh -c 'for n in 1 2 3 4 5 6 7 8; do systemctl show -P StatusText tidelock; sleep 1; done'
    says tidelock ps -o user= -p "$(main_pid)"
    [ -e /var/lib/tidelock/sticky_secret ] || fail "no secret in the state folder"
    [ -S /run/tidelock/admin.sock ] || fail "no admin socket"

    # A reload lasts until the file is in force; one that is refused fails, and changes nothing.
    file two
    systemctl reload tidelock || fail "reload"
    answers 80 two
    echo nonsense >> /etc/tidelock/upstreams.toml
    systemctl reload tidelock 2> /dev/null && fail "a reload of nonsense"
    says active systemctl is-active tidelock
    answers 80 two
    file two

    # Another tidelock goes on: it is the main process, and the app is the same one.
    pid=$(main_pid) app=$(pid_of_app)
    tidelock upgrade || fail "upgrade"
    until_other_than "$pid"
    [ "$(pid_of_app)" = "$app" ] || fail "the app has another process"
    sleep 6
    [ -e "/proc/$pid" ] && fail "the old one is there"
    says active systemctl is-active tidelock
    pid=$(main_pid)
    systemctl kill -s USR2 --kill-whom=main tidelock
    until_other_than "$pid"
    [ "$(pid_of_app)" = "$app" ] || fail "the app has another process"
    file three
    systemctl reload tidelock || fail "reload after an upgrade"
    answers 80 three
    # Whoever else could change the program would get its rights.
    cp /usr/local/bin/tidelock /opt/tidelock
    chown tidelock /opt/tidelock
    says "others than root can change" tidelock upgrade /opt/tidelock

    # What runs may finish.
    curl -s -m 10 http://127.0.0.1:80/slow > /tmp/slow &
    sleep 0.5
    systemctl stop tidelock || fail "stop"
    wait
    says three cat /tmp/slow
    silent 80
    says success systemctl show -P Result tidelock

    # One that hangs is started again.
    mkdir -p /etc/systemd/system/tidelock.service.d
    printf '[Service]\nWatchdogSec=3\nTimeoutAbortSec=3\n' > /etc/systemd/system/tidelock.service.d/watchdog.conf
    systemctl daemon-reload
    systemctl start tidelock || fail "start with a watchdog"
    pid=$(main_pid)
    sleep 8
    [ "$(main_pid)" = "$pid" ] || fail "one that is well was started again"
    kill -STOP "$pid"
    until_other_than "$pid"
    answers 80 three
    journalctl -u tidelock --no-pager | grep -q "Watchdog timeout" || fail "no watchdog in the journal"
    # So is one of which an upgrade has made the main process.
    pid=$(main_pid)
    tidelock upgrade || fail "upgrade with a watchdog"
    until_other_than "$pid"
    pid=$(main_pid)
    sleep 8
    [ "$(main_pid)" = "$pid" ] || fail "one that has taken over is well, and was started again"
    kill -STOP "$pid"
    until_other_than "$pid"
    answers 80 three
    systemctl stop tidelock

    # systemd has the ports, and whoever connects starts it.
    cp /opt/units/tidelock.socket /etc/systemd/system/
    systemctl daemon-reload
    systemctl start tidelock.socket || fail "the socket"
    says inactive systemctl is-active tidelock
    [ "$(curl -s -m 20 http://127.0.0.1:80/)" = three ] || fail "a connection does not start it"
    says active systemctl is-active tidelock
    says "no listen of the file has" journalctl -u tidelock --no-pager
    # Over a restart nobody is refused.
    (for _ in $(seq 40); do curl -s -m 20 http://127.0.0.1:80/ || echo refused; echo; sleep 0.1; done) > /tmp/all &
    sleep 0.5
    systemctl restart tidelock || fail "restart"
    wait
    [ "$(grep -c '^three$' /tmp/all)" = 40 ] || fail "over a restart: $(sort /tmp/all | uniq -c)"
    pid=$(main_pid)
    tidelock upgrade || fail "upgrade with sockets of systemd"
    until_other_than "$pid"
    answers 80 three
    systemctl stop tidelock.socket tidelock
    silent 80
}

