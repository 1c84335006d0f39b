// A Socket.IO server as its documentation begins: `say` is acknowledged. At SIGUSR2 it closes each of its sessions, at a
// random moment of the next ten seconds.
import { createServer } from "node:http";

const WINDOW_MS = 10_000;

export function serve(Server) {
  const server = createServer();
  const sessions = new Set();
  new Server(server).on("connection", (socket) => {
    sessions.add(socket.conn);
    socket.on("disconnect", () => sessions.delete(socket.conn));
    socket.on("say", (number, done) => done(number));
  });
  process.on("SIGUSR2", () => {
    for (const session of sessions) setTimeout(() => session.close(), Math.random() * WINDOW_MS);
  });
  server.listen(Number(process.env.PORT), process.env.HOST);
}
