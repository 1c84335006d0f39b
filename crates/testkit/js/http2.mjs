// The transports of socket.io-client (version 4) over HTTP/2, by Node.js' own: polls are streams of one connection for each host,
// and WebSockets are, too (RFC 8441).
import http2 from "node:http2";
import { Fetch, NodeWebSocket } from "socket.io-client";
import { WebSocket } from "ws";

const sessions = new Map();

/** The connection to a host, opened anew once the last one is to be used no more. */
function session(origin, ca) {
  const known = sessions.get(origin);
  if (known && !known.isGone) return known;
  const opened = http2.connect(origin, { ca });
  // Who is told to go away opens another one for what comes next.
  for (const event of ["goaway", "close", "error"]) opened.on(event, () => (opened.isGone = true));
  opened.unref();
  sessions.set(origin, opened);
  return opened;
}

function ask(uri, headers, ca) {
  const { origin, pathname, search } = new URL(uri);
  const stream = session(origin, ca).request({ ":path": pathname + search, ...headers });
  const answered = new Promise((resolve, reject) => {
    stream.on("response", resolve);
    stream.on("error", reject);
    stream.on("close", () => reject(new Error("the stream was closed without an answer")));
  });
  return { stream, answered };
}

export class Http2Polling extends Fetch {
  async _fetch(data) {
    const isPost = data !== undefined;
    const headers = { ":method": isPost ? "POST" : "GET", "content-type": "text/plain;charset=UTF-8" };
    const { stream, answered } = ask(this.uri(), headers, this.opts.ca);
    stream.end(isPost ? data : undefined);
    const { ":status": status } = await answered;
    stream.setEncoding("utf8");
    let body = "";
    for await (const piece of stream) body += piece;
    return new Response(body, { status });
  }
}

export class Http2WebSocket extends NodeWebSocket {
  createSocket(uri, protocols, opts) {
    const socket = new WebSocket(null, undefined, {});
    socket._isServer = false;
    const headers = { ":method": "CONNECT", ":protocol": "websocket", "sec-websocket-version": "13" };
    const open = () => {
      const { stream, answered } = ask(uri.replace(/^ws/, "http"), headers, opts.ca);
      answered.then(
        (response) => {
          if (response[":status"] !== 200) return socket.emit("error", new Error(`status ${response[":status"]}`));
          socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 0, allowSynchronousEvents: true });
        },
        (error) => socket.emit("error", error),
      );
    };
    // A stream of this kind may only be opened once the settings have come (RFC 8441 section 3).
    const connection = session(new URL(uri.replace(/^ws/, "http")).origin, opts.ca);
    if (connection.remoteSettings?.enableConnectProtocol) open();
    else connection.once("remoteSettings", open);
    return socket;
  }
}
