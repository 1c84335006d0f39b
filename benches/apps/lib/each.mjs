// Clients of one kind, one after the other or all at once, and how many of them got what they wanted.
import { onTwoNodes } from "./stage.mjs";

const PATIENCE_MS = 15_000;

/** `ways` are pairs of a name and a client: a function of the stage and its number that fulfils with true if it is served well. */
export function served(app, sticky, count, ways) {
  return onTwoNodes(app, { sticky }, async (stage) => {
    const said = [];
    const detail = [];
    for (const [name, client] of ways) {
      const all = await Promise.all(Array.from({ length: count }, (_, number) => patient(client(stage, number)).catch((error) => { detail.push(error.message); return false; })));
      said.push([all.filter((each) => each === true).length, name]);
    }
    return {
      good: said.every(([whole]) => whole === count),
      seen: said.map(([whole, name]) => `${name} ${whole} of ${count}`).join(", "), detail,
    };
  });
}

function patient(promise) {
  let timer;
  const over = new Promise((_, failed) => { timer = setTimeout(failed, PATIENCE_MS, new Error("nothing within 15 s")); });
  return Promise.race([promise, over]).finally(() => clearTimeout(timer));
}
