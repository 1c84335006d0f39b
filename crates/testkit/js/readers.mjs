// Readers of streams, in Node.js and in a page: nothing here is of either alone.

/**
 * Starts `count` EventSources, on `paths` in turn, and two readers with fetch. `say(event, fields)` hears of them: "open"
 * whenever an EventSource has its first event from a node, "broken" for an event that is no event or does not follow the one
 * before, "token" with the first token of each fetch, "tokens" with how it ended.
 */
export function startReaders({ url, paths, count, say, EventSource }) {
  for (let client = 0; client < count; client += 1) events(client, paths[client % paths.length]);
  for (const framing of ["chunked", "close"]) tokens(framing);

  function events(client, path) {
    const source = new EventSource(url + path);
    let last = null;
    const hear = ({ data }) => {
      let tick;
      try {
        tick = JSON.parse(data);
      } catch {
        say("broken", { client, data });
        return;
      }
      // A subscription's are wrapped.
      tick = tick.data?.ticks ?? tick;
      if (tick.text.length !== tick.length || (last !== null && tick.number !== last + 1)) say("broken", { client, data });
      if (last === null) say("open", { client, node: tick.node });
      last = tick.number;
    };
    source.addEventListener("error", () => {
      last = null;
    });
    source.addEventListener("message", hear);
    source.addEventListener("next", hear);
  }

  /** Reads a stream of tokens as a page does: whatever comes without an error is the answer. */
  async function tokens(framing) {
    let text = "";
    let outcome;
    try {
      const response = await fetch(`${url}/tokens?framing=${framing}`, { headers: { accept: "text/event-stream" } });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let first = true;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        text += value;
        if (first) say("token", { framing });
        first = false;
      }
      outcome = text.endsWith("data: [DONE]\n\n") ? "whole" : "short";
    } catch {
      outcome = "failed";
    }
    say("tokens", { framing, outcome, length: text.length });
  }
}
