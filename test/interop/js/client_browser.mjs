// The browser module in a real browser, whose locks, channels and event loop are not ours: three pages share a stream, the leading one goes.
// usage: node client_browser.mjs CHROMIUM
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { eventually } from "./client/page.mjs";
import { serve } from "./client/server.mjs";

const module = readFileSync(new URL("../../../internal/browser/tandem.js", import.meta.url));
const ends = [], server = await serve({ after: (f) => ends.push(f) });
let end = 0;
const open = new Set(), asked = [], message = (n) => `id: c${n}\ndata: {"n":${n}}\n\n`;
server.answer = (req, res) => {
  const u = new URL(req.url, "http://x");
  if (u.pathname === "/client.js") return res.writeHead(200, { "Content-Type": "text/javascript" }).end(module);
  if (u.pathname !== "/events") return res.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>x</title>");
  asked.push(u.search);
  let at = u.searchParams.has("cursor") ? Number(u.searchParams.get("cursor").slice(1)) : u.searchParams.get("from") === "earliest" ? 0 : end;
  res.writeHead(200, { "Content-Type": "text/event-stream" }).write(`retry: 100\nid: c${at}\n\n`);
  while (at < end) res.write(message(++at));
  open.add(res);
  res.on("close", () => open.delete(res));
  return true;
};
const say = (n = 1) => {
  for (; n > 0; n--) {
    const text = message(++end);
    open.forEach((res) => res.write(text));
  }
};
const origin = new URL("/", server.url).href;

function follow([path, options]) {
  globalThis.got = [];
  return import("/client.js").then(({ stream }) => {
    globalThis.s = stream(path, { ...options, onevent: (e) => globalThis.got.push(e.n), onstate: (state, d) => (globalThis.state = state) });
  });
}
const got = (page, n) => page.waitForFunction((n) => globalThis.got.at(-1) === n, n).then(() => page.evaluate(() => globalThis.got));
const upTo = (n, from = 1) => Array.from({ length: n - from + 1 }, (_, i) => from + i);

const browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"] });
try {
  const context = await browser.newContext();
  context.setDefaultTimeout(15_000);
  const errors = [];
  const visit = async (path, options) => {
    const page = await context.newPage();
    page.on("pageerror", (e) => errors.push(String(e)));
    await page.goto(origin);
    await page.evaluate(follow, [path, options]);
    return page;
  };
  const a = await visit("/events", { from: "earliest" });
  say(3);
  await got(a, 3);
  const [b, c] = [await visit("/events", { from: "earliest" }), await visit("/events", { last: 2, storage: "s" })];
  await got(b, 3);
  say();
  for (const page of [a, b, c]) assert.deepEqual(await got(page, 4), upTo(4, page === c ? 2 : 1));
  await eventually(() => open.size === 1);

  // The leading tab is closed while events come.
  const going = setInterval(say, 2);
  await a.close();
  await eventually(() => asked.at(-1).includes("cursor="), "the next to lead asks");
  const mark = end;
  await eventually(() => end > mark + 30, "events after that");
  clearInterval(going);
  for (const page of [b, c]) assert.deepEqual(await got(page, end), upTo(end, page === c ? 2 : 1));
  await eventually(() => open.size === 1);

  // A reload goes on, by storage, and the network breaks below whoever leads now.
  const before = end;
  await c.reload();
  say(2);
  await c.evaluate(follow, ["/events", { storage: "s" }]);
  open.forEach((res) => res.destroy());
  say(2);
  assert.deepEqual(await got(c, end), upTo(end, before + 1));
  assert.deepEqual(await got(b, end), upTo(end));

  // A WebSocket, and a tab that publishes over the connection of another.
  const before2 = server.requests.all.length;
  const [d, e] = [await visit("/ws", { websocket: true }), await visit("/ws", { websocket: true })];
  const ws = await eventually(() => server.requests.all.slice(before2).find((r) => r.frames), "an upgrade");
  ws.send({ cursor: "c0" });
  ws.event(1);
  await got(d, 1);
  await e.waitForFunction(() => globalThis.state === "open");
  const receipt = e.evaluate(() => globalThis.s.publish({ type: "x" }));
  const { publish } = await ws.frames.until((f) => f.publish);
  ws.send({ receipt: { ref: publish.ref, id: publish.event.id, duplicate: false } });
  assert.deepEqual(await receipt, { id: publish.event.id, duplicate: false });
  server.refuse = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
  const answer = server.answer;
  server.answer = (req, res) => (req.url.startsWith("/ws") ? res.writeHead(403).end() : answer(req, res));
  ws.end();
  for (const page of [d, e]) await page.waitForFunction(() => globalThis.state === "failed");
  assert.deepEqual(errors, []);
} finally {
  await browser.close();
  await Promise.all(ends.map((f) => f()));
}
