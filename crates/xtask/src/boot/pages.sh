
# What the pages say, typed by ann, in the machine of `inside.sh`.

types() { # PAGE TEXT...: which are said, in this order
    local page=$1 said text; shift
    cp /opt/first.deb /home/ann/tidelock_0.1.0_amd64.deb
    cp /opt/second.deb /home/ann/tidelock_0.1.1_amd64.deb
    chown ann:ann /home/ann/tidelock_*.deb
    as ann "bash /opt/$page" > /tmp/page 2>&1 || fail "docs/$page does not hold: $(cat /tmp/page)"
    # What is typed is there too, behind its plus.
    said=$(grep -v '^+' /tmp/page)
    for text in "$@"; do
        [[ $said == *"$text"* ]] || fail "nothing says \"$text\": $(cat /tmp/page)"
        said=${said#*"$text"}
    done
    echo "docs/$page holds"
}
without_tidelock() {
    rm -rf /usr/local/bin/tidelock /etc/systemd/system/tidelock.* /etc/tidelock /var/lib/tidelock /run/tidelock
    rm -rf /home/ann/chat /srv/chat /home/ann/.config /home/ann/.local /home/ann/.pm2
    systemctl daemon-reload
    dpkg --purge tidelock > /dev/null 2>&1
    id tidelock > /dev/null 2>&1 && userdel tidelock
}

after_seventh_boot() {
    without_tidelock
    types on-a-server.md "tidelock is installed" "active (running)" "version 1, process" chat/0 \
        "version 2, process" "version 2, process"
    silent 80
    [ -d /srv/chat ] || fail "the app is gone"
}

after_eighth_boot() {
    without_tidelock
    mkdir -p /home/ann/chat
    cat > /home/ann/chat/ecosystem.config.js <<'END'
module.exports = { apps: [{ name: 'chat', script: 'index.js', instances: 'max', exec_mode: 'cluster', env: { NODE_ENV: 'production', PORT: 3000 } }] };
END
    cat > /home/ann/chat/index.js <<'END'
require('http').createServer((request, answer) => answer.end(`for ${request.headers.host}: ${process.env.NODE_ENV}\n`)).listen(process.env.PORT);
END
    chown -R ann:ann /home/ann/chat
    ln -sf /opt/pm2/node_modules/pm2/bin/pm2 /usr/local/bin/pm2
    rm -f /etc/nginx/sites-enabled/*
    cat > /etc/nginx/sites-enabled/chat <<'END'
server {
    listen 80;
    server_name chat.example.com;
    client_max_body_size 10m;
    location / {
        proxy_pass http://127.0.0.1:3000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header Host $host;
    }
}
END
    systemctl enable --now --quiet nginx || fail "nginx"
    as ann "cd chat && pm2 start ecosystem.config.js" > /tmp/pm2 2>&1 || fail "pm2: $(cat /tmp/pm2)"
    local said
    for _ in $(seq 100); do
        said=$(curl -s -m 5 -H 'Host: chat.example.com' http://127.0.0.1/)
        [ "$said" = "for chat.example.com: production" ] && break
        sleep 0.1
    done
    [ "$said" = "for chat.example.com: production" ] || fail "PM2's app says $said"
    types from-nginx-and-pm2.md chat/0 "for chat.example.com: production" "for chat.example.com: production"
    says inactive systemctl is-active nginx
    says disabled systemctl is-enabled nginx
    says "for chat.example.com: production" curl -s -m 5 -H 'Host: chat.example.com' http://127.0.0.1/
    says enabled systemctl is-enabled tidelock
    as ann "pm2 kill" > /dev/null 2>&1
    dpkg --purge tidelock > /dev/null 2>&1
}
