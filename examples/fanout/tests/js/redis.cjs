// The two Redis clients that fleets use, behind one function.

// node-redis gives up a command after five seconds, which is as long as Redis may stall and less than a busy machine may take.
const commandOptions = { timeout: 120000 };

async function connect({ urls, library, cluster, sentinel, cafile }) {
  const tls = cafile ? { ca: require("node:fs").readFileSync(cafile) } : undefined;
  let client;
  if (sentinel) {
    const { Redis } = require("ioredis");
    const sentinels = urls.map((url) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) }));
    client = new Redis({ sentinels, name: sentinel });
    client.on("error", () => {}); // It reconnects by itself.
    await new Promise((resolve) => client.once("ready", resolve));
  } else if (library === "ioredis") {
    const { Redis, Cluster } = require("ioredis");
    client = cluster ? new Cluster(urls) : new Redis(urls[0], { tls });
    await new Promise((resolve) => client.once("ready", resolve));
  } else {
    const { createClient, createCluster } = require("redis");
    const socket = { ...(tls && { tls: true, ca: tls.ca }), reconnectStrategy: () => 50 };
    client = cluster
      ? createCluster({ rootNodes: urls.map((url) => ({ url })), commandOptions })
      : createClient({ url: urls[0], socket, commandOptions });
    client.on("error", () => {}); // It reconnects by itself.
    await client.connect();
  }
  client.on("error", () => {});
  return client;
}

module.exports = { connect };
