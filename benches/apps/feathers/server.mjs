// Feathers over Socket.IO, with a service in memory.
import { feathers } from "@feathersjs/feathers";
import { koa, rest, bodyParser } from "@feathersjs/koa";
import socketio from "@feathersjs/socketio";

const app = koa(feathers());
app.use(bodyParser());
app.configure(rest());
app.configure(socketio());
const made = [];
app.use("things", {
  async create(thing) { made.push(thing); return { ...thing, number: made.length }; },
  async find() { return made; },
});
app.on("connection", (connection) => app.channel("all").join(connection));
app.publish(() => app.channel("all"));
await app.listen(Number(process.env.PORT), process.env.HOST);
