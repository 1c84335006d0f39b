// Presses the buttons of the demo's page, in a real browser.
//
//   node fleet.mjs '{"url":"http://127.0.0.1:8080"}'
//
// Drains and takes back chat/0, rolls chat/1, waits until every session has every message, and kills chat/2. Prints a line
// for each step that is done, and one JSON object; its fields are those of `testkit::page::Shown`.
import { launch } from "./browser.mjs";

const PATIENCE_MS = 30_000;
const SESSIONS = 9;
const plan = { ...JSON.parse(process.argv[2]) };
const browser = await launch(plan.chromium);
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(PATIENCE_MS);
  const tab = await context.newPage();
  const errors = [];
  tab.on("pageerror", (error) => errors.push(String(error)));
  tab.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await tab.goto(plan.url);
  const press = (name) => tab.getByRole("button", { name }).click();
  const card = (name, state) => tab.locator(`.node[data-state="${state}"]`, { has: tab.getByRole("heading", { name }) });
  const allHere = () => tab.waitForFunction((count) =>
    document.querySelectorAll('.guest[data-state="here"]').length === count
    && document.querySelectorAll(".berths .dot:not(.other)").length === count, SESSIONS);
  const processes = () => tab.locator(".node").evaluateAll((cards) => Object.fromEntries(cards.map((card) =>
    [card.querySelector("h3").textContent, Number(card.querySelector(".pid").textContent.match(/process (\d+)/)?.[1])])));
  const sessions = () => tab.locator(".node").evaluateAll((cards) => Object.fromEntries(cards.map((card) =>
    [card.querySelector("h3").textContent, card.querySelectorAll(".berths .dot").length])));
  /** Until the node has one process, and another than this. */
  const replaced = (name, before) => tab.waitForFunction(([name, before]) => {
    const card = [...document.querySelectorAll(".node")].find((card) => card.querySelector("h3").textContent === name);
    const shown = [...card.querySelectorAll(".pid")].map((pid) => pid.textContent);
    return card.dataset.state === "ready" && shown.length === 1 && !shown[0].includes(`process ${before}`);
  }, [name, before]);

  await allHere();
  await tab.waitForFunction(() => Number(document.getElementById("said").textContent) > 3);
  console.log("done: all are here");
  const before = await processes();

  await press("Drain chat/0");
  await card("chat/0", "drained").waitFor();
  await allHere();
  const drained = await sessions();
  console.log("done: drained");
  await press("Undrain chat/0");
  await card("chat/0", "ready").waitFor();

  await press("Roll chat/1");
  await replaced("chat/1", before["chat/1"]);
  await allHere();
  const rolled = await processes();
  console.log("done: rolled");

  await press("Pause talk");
  const figures = await (await tab.waitForFunction((sessions) => {
    const shown = [...document.querySelectorAll("#figures dd")];
    const figures = Object.fromEntries(shown.map(({ id, textContent }) => [id, Number(textContent.replaceAll(",", ""))]));
    return figures.arrived + figures.lost === figures.said * sessions && figures;
  }, SESSIONS)).jsonValue();
  console.log("done: everybody has everything");
  const errorsUntilThen = [...errors];
  await press("Pause talk");

  await press("Kill chat/2");
  await replaced("chat/2", before["chat/2"]);
  await allHere();
  const killed = await processes();
  console.log("done: killed");
  const typed = await tab.locator("#console .typed").allTextContents();
  console.log(JSON.stringify({ before, drained, rolled, figures, errors: errorsUntilThen, killed, typed }));
} finally {
  await browser.close();
}
