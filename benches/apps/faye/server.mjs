// Faye with its engine in memory, as its documentation begins.
import { createServer } from "node:http";
import faye from "faye";

const server = createServer();
new faye.NodeAdapter({ mount: "/faye", timeout: 20 }).attach(server);
server.listen(Number(process.env.PORT), process.env.HOST);
