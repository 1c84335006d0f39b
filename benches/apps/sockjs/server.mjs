// SockJS's echo server, as its documentation has it.
import { createServer } from "node:http";
import sockjs from "sockjs";

const echo = sockjs.createServer({ log() {} });
echo.on("connection", (client) => client.on("data", (text) => client.write(text)));
const server = createServer();
echo.installHandlers(server, { prefix: "/echo" });
server.listen(Number(process.env.PORT), process.env.HOST);
