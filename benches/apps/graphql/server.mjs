// graphql-yoga, with subscriptions as event streams and, by graphql-ws, over WebSocket.
import { createServer } from "node:http";
import { useServer } from "graphql-ws/use/ws";
import { createSchema, createYoga } from "graphql-yoga";
import { WebSocketServer } from "ws";

async function* count(_, { to }) {
  for (let number = 1; number <= to; number += 1) {
    yield { count: number };
    await new Promise((later) => setTimeout(later, 50));
  }
}
const schema = createSchema({
  typeDefs: "type Query { hello: String } type Subscription { count(to: Int!): Int }",
  resolvers: { Query: { hello: () => "world" }, Subscription: { count: { subscribe: count } } },
});
const server = createServer(createYoga({ schema, logging: false }));
useServer({ schema }, new WebSocketServer({ server, path: "/graphql" }));
server.listen(Number(process.env.PORT), process.env.HOST);
