import assert from "node:assert/strict";
import test from "node:test";
import { Browser, eventually, follow, settle } from "./page.mjs";
import { serve } from "./server.mjs";

async function begin(t, options, more) {
  const server = Object.assign(await serve(t), more), browser = new Browser(), tab = await browser.tab();
  const f = follow(tab, server.url, { websocket: true, ...options });
  t.after(() => f.s.close());
  return Object.assign(f, { server, browser, tab });
}

test("a WebSocket goes on after a break, and where and when the server says", async (t) => {
  const f = await begin(t, { from: "earliest" });
  const first = await f.server.request(0);
  assert.deepEqual(first.query, { from: "earliest" });
  assert.equal(first.headers["sec-websocket-protocol"], "tandem.v1.json");
  first.send({ cursor: "c0" });
  first.event(1);
  first.send({ gap: { reason: "retention", from: "c1", to: "c5" } });
  first.send({ expiring: { reason: "age" } });
  first.send({ cursor: "c7" });
  first.event(8);
  await f.event(8);
  first.end();
  f.browser.advance((await f.state("waiting")).detail.after);
  const second = await f.server.request(1);
  assert.deepEqual(second.query, { cursor: "c8" });
  const from = f.log.all.length;
  second.send({ cursor: "c8" });
  second.send({ reconnect: { reason: "draining", after: 4321 } });
  assert.deepEqual((await f.state("waiting", from)).detail, { after: 4321, reason: "draining", problem: undefined });
  await second.gone; // the client closes, too
  f.browser.advance(4321);
  assert.deepEqual((await f.server.request(2)).query, { cursor: "c8" });
  assert.deepEqual(f.log.all.flatMap((x) => x.event?.n ?? x.gap?.to ?? []), [1, "c5", 8]);
});

test("why an upgrade was refused is asked at the other transport", async (t) => {
  let status = 503;
  const f = await begin(t, {}, {
    refuse: "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    answer: (req, res) => {
      res.writeHead(status, { "Content-Type": "application/problem+json", "Retry-After": "9" }).end(JSON.stringify({ title: "No", detail: "because" }));
      status = 403;
      return true;
    },
  });
  const { detail } = await f.state("waiting");
  assert.deepEqual([detail.after, detail.problem.detail], [10_000, "because"]);
  f.browser.advance(10_000);
  assert.equal((await f.state("failed")).detail.status, 403);
  assert.deepEqual(f.server.requests.all.map((r) => "refused" in r), [true, false, true, false]);
});

test("silence and sleep break a WebSocket", async (t) => {
  const f = await begin(t, {});
  const first = await f.server.request(0);
  await f.state("open");
  f.browser.advance(44_000);
  first.send({ cursor: "c0" });
  first.event(1);
  await f.event(1);
  f.browser.advance(44_999);
  assert.equal(f.log.all.at(-1).event.n, 1);
  f.browser.advance(1);
  assert.equal((await f.state("waiting")).detail.reason, "silence");
  await first.gone;
});

test("publish resolves with the receipt, and rejects with the problem", async (t) => {
  const f = await begin(t, {});
  const sent = [f.s.publish({ type: "a", data: 1 }), f.s.publish({ type: "b", id: "mine" }), f.s.publish({ type: "c" })];
  const first = await f.server.request(0);
  await eventually(() => first.frames.all.length === 3);
  const [a, b, c] = first.frames.all.map((x) => x.publish);
  assert.deepEqual([a.event.type, a.event.data, b.event.type, b.event.id, c.event.type], ["a", 1, "b", "mine", "c"]);
  assert.match(a.event.id, /^[0-9a-f]{32}$/);
  first.send({ receipt: { ref: b.ref, id: "mine", duplicate: false, offset: 7 } });
  first.send({ problem: { ref: c.ref, title: "Invalid", detail: "no such type", status: 400 } });
  assert.deepEqual(await sent[1], { id: "mine", duplicate: false, offset: 7 });
  await assert.rejects(sent[2], (e) => e.message === "no such type" && e.problem.status === 400);
  // The first had no receipt when the connection broke: it is sent again under its id.
  first.end();
  f.browser.advance((await f.state("waiting")).detail.after);
  const second = await f.server.request(1);
  const again = await second.frames.until((x) => x.publish);
  assert.deepEqual(again.publish, a);
  second.send({ receipt: { ref: a.ref, id: a.event.id, duplicate: true } });
  assert.equal((await sent[0]).duplicate, true);
  const last = f.s.publish({ type: "d" });
  f.s.close();
  await assert.rejects(last, /closed/);
  await assert.rejects(f.s.publish({ type: "e" }), /ended/);
  await second.gone;
  assert.equal(second.frames.all.length, 2);
});

test("with a window, events are taken one by one and acknowledged in batches", async (t) => {
  const gates = [];
  const f = await begin(t, { window: 4, onevent: ({ n }) => new Promise((done, fail) => (gates[n] = n === 2 ? () => fail(new Error("two")) : done)) });
  const first = await f.server.request(0);
  assert.deepEqual(first.query, { credit: "4" });
  for (const n of [1, 2, 3]) first.event(n);
  await f.event(1);
  await new Promise(setImmediate);
  assert.deepEqual([f.numbers, f.s.cursor], [[1], ""]);
  gates[1]();
  await f.event(2);
  assert.equal(f.s.cursor, "c1");
  gates[2](); // it fails, which is the page's affair
  await f.event(3);
  await first.frames.until((x) => x.ack === "c2"); // half of the window
  gates[3]();
  await first.frames.until((x) => x.ack === "c3"); // nothing waits
  first.send({ cursor: "c9" }); // is not counted
  first.event(10);
  first.event(11);
  await f.event(10);
  assert.deepEqual(f.tab.errors.map((e) => e.message), ["two"]);
  // Broken with two in hand: it asks for more when both are processed, after the last.
  first.end();
  await first.gone;
  gates[10]();
  await f.event(11);
  const from = f.log.all.length;
  assert.equal(f.server.requests.all.length, 1);
  f.browser.advance((await f.state("waiting")).detail.after);
  await settle();
  assert.equal(f.log.all.at(-1).state, "waiting");
  gates[11]();
  await f.state("open", from);
  assert.deepEqual((await f.server.request(1)).query, { credit: "4", cursor: "c11" });
  assert.deepEqual(f.numbers, [1, 2, 3, 10, 11]);
  assert.deepEqual(first.frames.all, [{ ack: "c2" }, { ack: "c3" }]);
});
