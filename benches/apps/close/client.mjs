// One client of a library from npm: `node client.mjs LIBRARY ADDRESS` says `open`, and then what it reports of its end.
const [library, address] = process.argv.slice(2);
const say = (text) => process.stdout.write(`${text}\n`);
const ended = (code, reason) => { say(`end ${code} ${reason ?? ""}`.trim()); process.exit(0); };
const url = `ws://${address}/ws`;

function events(socket) {
  socket.onopen = () => say("open");
  socket.onclose = (event) => ended(event.code, event.reason);
  socket.onerror = () => {};
}

const LIBRARIES = {
  async ws() { events(new (await import("ws")).default(url)); },
  async "faye-websocket"() { events(new (await import("faye-websocket")).default.Client(url)); },
  async websocket() { events(new (await import("websocket")).default.w3cwebsocket(url)); },
  async undici() { events(new (await import("undici")).WebSocket(url)); },
  async "socket.io-client"() {
    const socket = (await import("socket.io-client")).io(`http://${address}`, { transports: ["websocket"], reconnection: false });
    socket.on("connect", () => say("open"));
    socket.on("disconnect", (reason, details) => ended(details?.context?.code ?? "no code", `${details?.context?.reason ?? ""} (${reason})`));
  },
  async "graphql-ws"() {
    const { createClient } = await import("graphql-ws");
    const { default: webSocketImpl } = await import("ws");
    const on = { connected: () => say("open"), closed: (event) => ended(event.code, event.reason) };
    createClient({ url: `ws://${address}/graphql`, lazy: false, retryAttempts: 0, onNonLazyError() {}, webSocketImpl, on });
  },
};
await LIBRARIES[library]();
