// A node of `cargo xtask bench faults`, in a process of its own so that it can be killed and stopped. Says on stdout
// what reached it, a line for each: "GET ID", "POST ID" when the body is whole, "RESET ID". Its plan is its argument.

import { createServer } from 'node:http';

const plan = JSON.parse(process.argv[2]);
const born = Date.now();
const body = (id) => `${id}.`.repeat(200);

const server = createServer({ keepAliveTimeout: plan.idle_ms, keepAliveTimeoutBuffer: 0 }, async (request, response) => {
  const delay = Date.now() - born < plan.slow_for_ms ? plan.slow_ms : plan.delay_ms;
  if (request.url === '/health') {
    setTimeout(() => response.end('ok'), delay);
    return;
  }
  const id = request.url.slice(1);
  try {
    const got = [];
    for await (const piece of request) got.push(piece);
    if (request.method === 'POST' && Buffer.concat(got).toString() !== body(id)) return response.writeHead(400).end();
  } catch {
    return; // The request was cut.
  }
  console.log(`${request.method} ${id}`);
  setTimeout(() => answer(request, response, id), delay);
});

function answer(request, response, id) {
  const text = body(id);
  const half = text.length / 2;
  // A body whose length is told, and one that only its last chunk ends.
  if (request.method === 'POST') response.setHeader('Content-Length', text.length);
  response.write(text.slice(0, half), () => {
    if (!isReset(id)) return response.end(text.slice(half));
    console.log(`RESET ${id}`);
    request.socket.resetAndDestroy();
  });
}

// An id ends in its number among those of its client; every other one is a POST, and both are hit.
function isReset(id) {
  if (plan.reset_percent === 0) return false;
  const pair = Math.floor(Number(id.split('-')[1]) / 2);
  return pair % Math.round(100 / plan.reset_percent) === 3;
}

// Frames are not read: whatever comes is answered with one short message, and a Close with a Close.
server.on('upgrade', (request, socket) => {
  socket.on('error', () => {});
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
    'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n');
  socket.on('data', (data) => {
    if ((data[0] & 0x0f) === 8) socket.end(Buffer.from([0x88, 0]));
    else socket.write(Buffer.from([0x81, 2, 0x6f, 0x6b]));
  });
});

server.listen(plan.port, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
// Whoever started it is gone when this ends.
process.stdin.resume().on('end', () => process.exit());
