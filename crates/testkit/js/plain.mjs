// What the node answers beside Socket.IO: one path for each thing that a proxy may get wrong.

/** The request handler of a node called `name`; `sessions` counts its Engine.IO sessions. */
export function plainHttp(name, sessions) {
  const streams = new EventStreams();
  const slow = (request, response, url) => {
    // What is not read of a body would be the beginning of the next request.
    request.resume();
    setTimeout(() => response.end(`slow ${name}`), Number(url.searchParams.get("ms") ?? 1000));
  };
  const routes = {
    "GET /": (_request, response) => response.end(`ok ${name}`),
    "GET /sessions": (_request, response) => json(response, sessions()),
    "GET /headers": (request, response) =>
      json(response, {
        node: name,
        method: request.method,
        url: request.url,
        rawHeaders: request.rawHeaders,
        remoteAddress: request.socket.remoteAddress,
      }),
    "GET /slow": slow,
    "POST /slow": slow,
    "GET /events": (_request, response) => streams.open(response),
    "POST /events/next": (_request, response) => json(response, { streams: streams.next() }),
    "GET /ticks": (_request, response) => ticks(name, response),
    "GET /tokens": (request, response, url) => tokens(request, response, url.searchParams.get("framing")),
    "POST /echo": (request, response) => {
      const type = request.headers["content-type"];
      response.writeHead(200, type ? { "content-type": type } : {});
      request.pipe(response);
    },
  };
  return (request, response) => {
    const url = new URL(request.url, "http://node");
    // Node.js itself leaves out the body of an answer to HEAD.
    const method = request.method === "HEAD" ? "GET" : request.method;
    const route = routes[`${method} ${url.pathname}`];
    if (route) return route(request, response, url);
    response.writeHead(404).end(`no ${request.method} ${url.pathname} on ${name}`);
  };
}

/** Server-sent events that come only when a test asks, so that an event held back in a buffer shows. */
class EventStreams {
  #open = new Set();
  #sent = 0;

  open(response) {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write("data: 0\n\n");
    this.#open.add(response);
    response.on("close", () => this.#open.delete(response));
  }

  /** Sends one more event on every open stream and says how many those are. */
  next() {
    this.#sent += 1;
    for (const response of this.#open) response.write(`data: ${this.#sent}\n\n`);
    return this.#open.size;
  }
}

/** Server-sent events that come for ever, each of them in two writes, so that most moments are in the midst of one. */
export function ticks(name, response) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  let number = 0;
  let rest = "";
  const timer = setInterval(() => {
    if (rest) {
      response.write(rest);
      rest = "";
      return;
    }
    number += 1;
    const text = "x".repeat((number * 37) % 500);
    const event = `id: ${number}\ndata: ${JSON.stringify({ node: name, number, length: text.length, text })}\n\n`;
    response.write(event.slice(0, -1 - (number % 20)));
    rest = event.slice(-1 - (number % 20));
  }, 5);
  response.on("close", () => clearInterval(timer));
}

/** An answer that comes token by token, as language models give it. `close` is one that ends with its connection. */
export function tokens(request, response, framing) {
  const type = "content-type: text/event-stream";
  const socket = framing === "close" ? request.socket : response;
  if (socket === response) response.writeHead(200, { "content-type": "text/event-stream" });
  else socket.write(`HTTP/1.1 200 OK\r\n${type}\r\nconnection: close\r\n\r\n`);
  let left = Number(process.env.TOKENS ?? 200);
  const timer = setInterval(() => {
    left -= 1;
    if (left > 0) return socket.write(`data: ${left}\n\n`);
    clearInterval(timer);
    socket.end("data: [DONE]\n\n");
  }, 10);
  socket.on("close", () => clearInterval(timer));
}

function json(response, value) {
  const body = JSON.stringify(value);
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) }).end(body);
}
