// Primus on Engine.IO, as its documentation begins.
import { createServer } from "node:http";
import Primus from "primus";

const server = createServer();
const primus = new Primus(server, { transformer: "engine.io" });
primus.on("connection", (spark) => spark.on("data", (text) => spark.write(text)));
server.listen(Number(process.env.PORT), process.env.HOST);
