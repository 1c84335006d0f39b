# The .deb, in the machine of `inside.sh`, whose words it uses.

pids_of_apps() { pgrep -u tidelock -x node | sort -n | xargs; }
named_like_it() { find / -xdev -name '*tidelock*' -not -path '/opt/*' -not -path '/proc/*' -not -path '/sys/*' | sort; }

# Everybody who is there while a package is installed: whoever asks for a page, each time over a connection of its own, and an
# Engine.IO session that polls.
clients() {
    rm -f /tmp/enough
    local url='http://127.0.0.1/socket.io/?EIO=4&transport=polling' sid
    sid=$(curl -s -m 10 "$url" | sed -n 's/.*"sid":"\([^"]*\)".*/\1/p')
    [ -n "$sid" ] || fail "no session begins"
    until [ -e /tmp/enough ]; do
        curl -s -m 10 -o /dev/null -w '%{http_code}\n' http://127.0.0.1/
        sleep 0.02
    done > /tmp/pages &
    until [ -e /tmp/enough ]; do
        curl -s -m 10 -o /dev/null -w '%{http_code}\n' "$url&sid=$sid"
    done > /tmp/polls &
}
all_were_served() { # WHILE
    # Some come after it, too.
    sleep 2
    touch /tmp/enough
    wait
    local file
    for file in /tmp/pages /tmp/polls; do
        [ "$(sort -u "$file" | xargs)" = 200 ] || fail "$1: $file has $(sort "$file" | uniq -c | xargs)"
        echo "$1: $(wc -l < "$file") times 200 in $file"
    done
}
installs() { # PACKAGE, which goes on in the place of what runs
    local before apps
    before=$(main_pid) apps=$(pids_of_apps)
    clients
    dpkg --install "/opt/$1.deb" > /tmp/dpkg 2>&1 || fail "dpkg: $(cat /tmp/dpkg)"
    until_other_than "$before"
    says /usr/bin/tidelock readlink "/proc/$(main_pid)/exe"
    [ "$(readlink "/proc/$(main_pid)/exe")" = /usr/bin/tidelock ] || fail "the program of before runs still"
    all_were_served "$1"
    [ "$(pids_of_apps)" = "$apps" ] || fail "the app's processes were $apps and are $(pids_of_apps)"
}

after_fifth_boot() {
    # What the boots before have left, and a run of this one that was not well.
    dpkg --purge tidelock > /dev/null 2>&1
    rm -rf /usr/local/bin/tidelock /etc/systemd/system/tidelock.* /etc/tidelock /var/lib/tidelock /var/log/tidelock /run/tidelock
    rm -rf /home/ann/.config/tidelock /home/ann/.local/state/tidelock
    systemctl daemon-reload
    id tidelock > /dev/null 2>&1 && userdel tidelock
    named_like_it > /opt/before
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet /opt/first.deb > /tmp/apt 2>&1 || fail "apt-get: $(cat /tmp/apt)"
    says active systemctl is-active tidelock
    says enabled systemctl is-enabled tidelock
    says "tidelock is installed" curl -s -m 5 http://127.0.0.1/
    said=$(systemd-analyze verify --man=no /usr/lib/systemd/system/tidelock.service 2>&1)
    [ -z "$said" ] || fail "systemd-analyze verify: $said"
    file one
    # The address is that of the package's own file, and two processes show whether sessions stay where they are.
    sed -i 's/0.0.0.0:80/:80/; s/^command/instances = 2\ncommand/' /etc/tidelock/upstreams.toml
    systemctl reload tidelock || fail "reload: $(journalctl -u tidelock --no-pager | tail -20)"
    answers 80 one
    # A plain user has apps too, by the same program.
    says "ann is ready at http://localhost:8080" as ann "tidelock start --background app.js -n ann -l :8080 -e WORD=ann"
    says "it runs: \`systemctl --user status tidelock\`" as ann "tidelock startup"
    loginctl enable-linger ann
    answers 8080 ann
}

after_sixth_boot() {
    answers 80 one
    answers 8080 ann
    local pid
    # A request that is under way, a reload, and then the versions.
    curl -s -m 10 http://127.0.0.1:80/slow > /tmp/slow &
    sleep 0.5
    installs second
    wait
    says one cat /tmp/slow
    systemctl reload tidelock || fail "reload: $(journalctl -u tidelock --no-pager | tail -20)"
    installs first
    installs second
    # It is systemd's again: it is stopped, and what runs may finish.
    curl -s -m 10 http://127.0.0.1:80/slow > /tmp/slow &
    sleep 0.5
    systemctl restart tidelock || fail "restart"
    wait
    says one cat /tmp/slow
    answers 80 one

    # A version that refuses the file changes nothing.
    pid=$(main_pid)
    cp /etc/tidelock/upstreams.toml /tmp/good.toml
    echo nonsense >> /etc/tidelock/upstreams.toml
    says "goes on with the version before" dpkg --install /opt/first.deb
    [ "$(main_pid)" = "$pid" ] || fail "another process is the main one"
    answers 80 one
    cp /tmp/good.toml /etc/tidelock/upstreams.toml
    installs first
    # Where the verbs do not reach it, it is restarted.
    printf '[admin]\nsocket = "off"\n' >> /etc/tidelock/upstreams.toml
    systemctl restart tidelock || fail "restart"
    pid=$(main_pid)
    says "is restarted instead" dpkg --install /opt/second.deb
    until_other_than "$pid"
    answers 80 one
    # Nor does an administrator who wants no restarts get one.
    pid=$(main_pid)
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    dpkg --install /opt/first.deb > /tmp/dpkg 2>&1 || fail "dpkg: $(cat /tmp/dpkg)"
    [ "$(main_pid)" = "$pid" ] || fail "it was restarted though policy-rc.d says no"
    rm /usr/sbin/policy-rc.d
    # One that was stopped and disabled stays so.
    systemctl disable --now --quiet tidelock
    dpkg --install /opt/second.deb > /tmp/dpkg 2>&1 || fail "dpkg: $(cat /tmp/dpkg)"
    says disabled systemctl is-enabled tidelock

    # Of ann's nothing is touched, until she says so.
    answers 8080 ann
    says "serves; what process" as ann "tidelock upgrade"
    answers 8080 ann
    says "removed" as ann "tidelock unstartup"
    says "has ended" as ann "tidelock kill"
    loginctl disable-linger ann
    rm -rf /home/ann/.config/tidelock /home/ann/.local/state/tidelock

    DEBIAN_FRONTEND=noninteractive apt-get remove --yes --quiet tidelock > /tmp/apt 2>&1 || fail "apt-get: $(cat /tmp/apt)"
    silent 80
    [ -e /etc/tidelock/upstreams.toml ] || fail "remove has removed the file"
    # It comes back as it was.
    dpkg --install /opt/first.deb > /tmp/dpkg 2>&1 || fail "dpkg: $(cat /tmp/dpkg)"
    systemctl enable --now --quiet tidelock
    answers 80 one
    DEBIAN_FRONTEND=noninteractive apt-get purge --yes --quiet tidelock > /tmp/apt 2>&1 || fail "apt-get: $(cat /tmp/apt)"
    silent 80
    pgrep -x node > /dev/null && fail "an app is left: $(ps -ef)"
    id tidelock > /dev/null 2>&1 && fail "its user is left"
    getent group tidelock > /dev/null && fail "its group is left"
    named_like_it > /tmp/after
    diff /opt/before /tmp/after || fail "the purge leaves something"
}
