// What a Socket.IO app with rooms does, whichever way it was started: clients join rooms, say things to them, and ask the
// app about all of its instances.
"use strict";

module.exports = function talk(io) {
  io.on("serverSideName", (answer) => answer(process.pid));
  io.on("connection", (socket) => {
    socket.on("join", (room, answer) => {
      socket.join(room);
      answer(process.pid);
    });
    socket.on("say", (room, ...words) => {
      const answer = words.pop();
      io.to(room).emit("said", ...words);
      answer();
    });
    const asked = {
      ask: async (room) => (await io.to(room).timeout(20_000).emitWithAck("question")).length,
      fetch: async (room) => (await io.in(room).fetchSockets()).map(({ id }) => id),
      instances: async () => [process.pid, ...(await io.serverSideEmitWithAck("serverSideName"))],
    };
    for (const [name, how] of Object.entries(asked)) {
      socket.on(name, async (...words) => {
        const answer = words.pop();
        how(...words).then((found) => answer({ found }), ({ message }) => answer({ error: message }));
      });
    }
    // So many messages of so many bytes for a room that nobody is in.
    socket.on("flood", (count, bytes, answer) => {
      for (let sent = 0; sent < count; sent++) io.to("nobody").emit("said", Buffer.alloc(bytes));
      answer();
    });
  });
};
