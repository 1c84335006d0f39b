// Event streams as people serve them: with express, and subscriptions of graphql-yoga. It knows nothing of any proxy.
//
//   PORT=0 NODE_NAME=a node streaming.mjs  prints `listening on 127.0.0.1:PORT` once it is ready
//
// GET / is a page, GET /ticks and the subscription `ticks` at /graphql are events for ever, GET /tokens is an answer that
// comes token by token. LIFELINE=1 ends it when stdin closes.
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import express from "express";
import { createSchema, createYoga } from "graphql-yoga";
import { ticks, tokens } from "./plain.mjs";

const { env } = process;
const name = env.NODE_NAME ?? "node";

async function* count() {
  for (let number = 1; ; number += 1) {
    const text = "x".repeat((number * 37) % 500);
    yield { ticks: { node: name, number, length: text.length, text } };
    await pause(10);
  }
}
const schema = createSchema({
  typeDefs: "type Query { hello: String } type Tick { node: String number: Int length: Int text: String } "
    + "type Subscription { ticks: Tick }",
  resolvers: { Query: { hello: () => "world" }, Subscription: { ticks: { subscribe: count } } },
});

const app = express();
app.get("/", (_request, response) => response.send("<!doctype html><title>streams</title>"));
app.get("/ticks", (_request, response) => ticks(name, response));
app.get("/tokens", (request, response) => tokens(request, response, request.query.framing));
app.use("/graphql", createYoga({ schema, logging: false }));

if (env.LIFELINE === "1") process.stdin.on("end", () => process.exit(0)).resume();
const server = createServer(app);
server.listen(Number(env.PORT ?? 0), env.HOST ?? "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});
