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

"after_$1_boot" && echo "WELL after the $1 boot"
