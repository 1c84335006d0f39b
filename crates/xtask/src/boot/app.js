// Says its word, slowly at /slow, and which process it is at /pid; and has sessions that poll, as Engine.IO's handshakes and polls
// look from outside.
const word = process.env.WORD || 'no word';
const sessions = new Set();
require('http').createServer((request, answer) => {
  const { pathname, searchParams } = new URL(request.url, 'http://node');
  const sid = searchParams.get('sid');
  if (pathname === '/slow') setTimeout(() => answer.end(word), 2000);
  else if (pathname === '/pid') answer.end(String(process.pid));
  else if (pathname !== '/socket.io/') answer.end(word);
  else if (sessions.has(sid)) setTimeout(() => answer.end('2'), 300);
  else if (sid) answer.writeHead(400, { 'Content-Type': 'application/json' }).end('{"code":1,"message":"Session ID unknown"}');
  else {
    const opened = require('crypto').randomBytes(15).toString('base64url');
    sessions.add(opened);
    answer.writeHead(200, { 'Content-Type': 'text/plain; charset=UTF-8' });
    answer.end('0' + JSON.stringify({ sid: opened, upgrades: ['websocket'], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 }));
  }
}).listen(3000);
