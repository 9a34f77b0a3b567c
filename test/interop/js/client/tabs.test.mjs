import assert from "node:assert/strict";
import test from "node:test";
import { Browser, eventually, follow, settle } from "./page.mjs";
import { serve } from "./server.mjs";

// begin opens tabs of one browser, one behind the other, so that the first has the connection.
async function begin(t, n, options) {
  const server = await serve(t), browser = new Browser(), all = [];
  const open = async (more) => {
    const tab = await browser.tab(), f = Object.assign(follow(tab, server.url, { ...options, ...more }), { tab });
    all.push(f);
    return f;
  };
  t.after(() => all.forEach((f) => f.s.close()));
  const tabs = [await open()];
  const first = await server.request(0);
  if (options?.websocket) first.send({ cursor: "c0" });
  else first.write("id: c0\n\n");
  await eventually(() => tabs[0].s.cursor === "c0");
  while (tabs.length < n) {
    tabs.push(await open());
    await tabs.at(-1).state("open");
  }
  return { server, browser, tabs, open, first };
}

test("tabs share one connection", async (t) => {
  const { server, tabs, open, first } = await begin(t, 3);
  for (const n of [1, 2]) first.event(n);
  first.write("event: gap\nid: c5\ndata: {\"reason\":\"retention\",\"from\":\"c2\",\"to\":\"c5\"}\n\n");
  first.event(6);
  for (const f of tabs) {
    await f.event(6);
    assert.deepEqual(f.log.all.flatMap((x) => x.event?.n ?? x.gap?.to ?? []), [1, 2, "c5", 6]);
    assert.equal(f.s.cursor, "c6");
  }
  assert.equal(server.requests.all.length, 1);
  const alone = [await open({ shared: false }), await open({ headers: { a: "1" } }), await open({ shared: "ann" }), await open({ query: { type: "x" } })];
  await server.request(4);
  alone.forEach((f) => f.s.close());
  tabs[2].s.close();
  tabs[1].s.close();
  first.event(7);
  await tabs[0].event(7);
  tabs[0].s.close();
  await first.gone;
});

test("when the leading tab closes, another goes on", async (t) => {
  const { server, tabs, first } = await begin(t, 3);
  for (const n of [1, 2]) first.event(n);
  for (const f of tabs) await f.event(2);
  tabs[0].s.close();
  await first.gone;
  const second = await server.request(1);
  assert.deepEqual(second.query, { cursor: "c2" });
  for (const n of [3, 4]) second.event(n);
  for (const f of tabs.slice(1)) await f.event(4);
  assert.deepEqual(tabs.map((f) => f.numbers), [[1, 2], [1, 2, 3, 4], [1, 2, 3, 4]]);
  assert.equal(server.requests.all.length, 2);
});

test("a new leader that is behind the others repeats nothing to them", async (t) => {
  const { server, tabs: [a, b, c], first } = await begin(t, 3);
  first.event(1);
  for (const f of [a, b, c]) await f.event(1);
  b.tab.freeze = true; // it has the lock next, and does not know of 2 and 3
  for (const n of [2, 3]) first.event(n);
  first.write("id: c4\n\n"); // nor of the place that is never told again
  await eventually(() => c.s.cursor === "c4");
  await settle();
  a.s.close();
  const second = await server.request(1);
  assert.deepEqual(second.query, { cursor: "c1" });
  b.tab.thaw();
  for (const n of [2, 3, 5, 6]) {
    second.event(n);
    await b.event(n);
    await settle(); // c might ask, which it need not
  }
  for (const f of [b, c]) {
    await f.event(6);
    assert.deepEqual(f.numbers, [1, 2, 3, 5, 6]);
  }
  assert.equal(server.requests.all.length, 2);
});

test("a tab that is behind a new leader is told what it missed", async (t) => {
  const { server, browser, tabs: [a, b, c], first } = await begin(t, 3);
  first.event(1);
  for (const f of [a, b, c]) await f.event(1);
  c.tab.freeze = true;
  for (const n of [2, 3]) first.event(n);
  await b.event(3);
  await settle();
  a.s.close();
  const second = await server.request(1);
  await b.state("open", b.log.all.length);
  c.tab.frozen.length = 0; // lost
  c.tab.thaw();
  browser.advance(15_000);
  await c.event(3); // without anything new
  second.event(4);
  await c.event(4);
  assert.deepEqual(c.numbers, [1, 2, 3, 4]);
  assert.equal(server.requests.all.length, 2);
});

test("a tab that is far behind reads for itself until it has caught up", async (t) => {
  const { server, tabs: [a, b], first } = await begin(t, 2);
  b.tab.freeze = true;
  for (let n = 1; n <= 300; n++) first.event(n);
  await a.event(300);
  await settle();
  b.tab.frozen.length = 0;
  b.tab.thaw();
  first.event(301);
  const own = await server.request(1);
  assert.deepEqual(own.query, { cursor: "c0" });
  for (let n = 1; n <= 301; n++) own.event(n);
  await b.event(301);
  first.event(302); // where both have been at 301
  await b.event(302);
  await own.gone;
  first.event(303);
  await b.event(303);
  assert.deepEqual(b.numbers, Array.from({ length: 303 }, (_, i) => i + 1));
  assert.equal(server.requests.all.length, 2);
});

test("a tab remembers a megabyte for others, not more", async (t) => {
  const { server, tabs: [a, b], first } = await begin(t, 2);
  b.tab.freeze = true;
  for (let n = 1; n <= 4; n++) first.write(`id: c${n}\ndata: {"n":${n},"pad":"${"x".repeat(300_000)}"}\n\n`);
  await a.event(4);
  await settle();
  b.tab.frozen.length = 0;
  b.tab.thaw();
  first.event(5);
  assert.deepEqual((await server.request(1)).query, { cursor: "c0" });
});

test("a tab does not follow a leader that reads in another order", async (t) => {
  const { server, tabs: [a, b, c], first } = await begin(t, 3);
  first.event(1);
  for (const f of [a, b, c]) await f.event(1);
  b.tab.freeze = true;
  for (const n of [2, 3]) first.event(n);
  await c.event(3);
  await settle();
  a.s.close();
  const second = await server.request(1);
  b.tab.thaw();
  for (const n of [3, 2]) second.write(`id: x${n}\ndata: {"n":${n}}\n\n`); // as an engine may whose partitions have an order each
  const own = await server.request(2);
  assert.deepEqual(own.query, { cursor: "c3" });
  for (const r of [second, own]) r.event(4);
  await c.event(4);
  await b.event(4);
  second.event(5);
  await own.gone;
  await c.event(5);
  assert.deepEqual([b.numbers, c.numbers], [[1, 3, 2, 4, 5], [1, 2, 3, 4, 5]]);
});

test("a tab that comes later begins where it wants to", async (t) => {
  const { server, tabs: [a], open, first } = await begin(t, 1);
  for (const n of [1, 2, 3, 4]) first.event(n);
  await a.event(4);
  const [latest, last, cursor] = [await open(), await open({ last: 2 }), await open({ cursor: "c1" })];
  for (const f of [latest, last, cursor]) await f.state("open");
  const brief = await open({ cursor: "c1", onevent: () => brief.s.close() });
  await brief.state("closed");
  assert.deepEqual([brief.numbers, brief.s.cursor], [[2], "c2"]);
  const all = await open({ from: "earliest" });
  const own = await server.request(1);
  assert.deepEqual(own.query, { from: "earliest" });
  for (const n of [-1, 0, 1, 2, 3, 4]) own.event(n);
  await all.event(4);
  first.event(5);
  for (const f of [a, latest, last, cursor, all]) await f.event(5);
  await own.gone;
  first.event(6);
  for (const f of [latest, last, cursor, all]) await f.event(6);
  assert.deepEqual([latest, last, cursor, all].map((f) => f.numbers), [[5, 6], [3, 4, 5, 6], [2, 3, 4, 5, 6], [-1, 0, 1, 2, 3, 4, 5, 6]]);
  assert.equal(server.requests.all.length, 2);
});

test("a tab whose question was not answered asks the next to lead", async (t) => {
  const { server, tabs: [a, b], open, first } = await begin(t, 2);
  a.tab.freeze = true;
  const c = await open();
  await settle();
  a.s.close();
  const second = await server.request(1);
  await c.state("open");
  await settle();
  for (const n of [1, 2]) second.event(n);
  await c.event(2);
  assert.deepEqual([b.numbers, c.numbers], [[1, 2], [1, 2]]);
  await first.gone;
});

test("while nobody can connect, tabs wait together", async (t) => {
  const server = Object.assign(await serve(t), { answer: (req, res) => res.writeHead(503, { "Retry-After": "200" }).end() });
  const browser = new Browser(), a = follow(await browser.tab(), server.url);
  t.after(() => a.s.close());
  await a.state("waiting");
  const b = follow(await browser.tab(), server.url);
  t.after(() => b.s.close());
  await b.state("waiting");
  for (let i = 0; i < 100; i++) {
    browser.advance(2000);
    await settle();
  }
  assert.equal(server.requests.all.length, 1);
  server.answer = undefined;
  browser.advance(2000);
  const r = await server.request(1);
  r.write("id: c0\n\n");
  await b.state("open");
  r.event(1);
  await a.event(1);
  r.event(2);
  await b.event(2);
});

test("a leading tab that is frozen loses the lead, and follows when it thaws", async (t) => {
  const { server, browser, tabs: [a, b], first } = await begin(t, 2);
  first.event(1);
  for (const f of [a, b]) await f.event(1);
  a.tab.freeze = true;
  browser.advance(70_000); // b asks
  await settle();
  assert.equal(server.requests.all.length, 1);
  browser.advance(7500); // and is not answered
  const second = await server.request(1);
  assert.deepEqual(second.query, { cursor: "c1" });
  await first.gone;
  second.event(2);
  await b.event(2);
  a.tab.thaw();
  second.event(3);
  for (const f of [a, b]) {
    await f.event(3);
    assert.deepEqual(f.numbers, [1, 2, 3]);
  }
  // A tab that somebody looks at again asks at once.
  b.tab.freeze = true;
  a.tab.document.dispatchEvent(new Event("visibilitychange"));
  browser.advance(7500);
  assert.deepEqual((await server.request(2)).query, { cursor: "c3" });
  b.tab.thaw();
});

test("a page in the back-forward cache leaves, and comes back", async (t) => {
  const { server, tabs: [a, b], first } = await begin(t, 2);
  first.event(1);
  for (const f of [a, b]) await f.event(1);
  const tell = (name) => a.tab.events.dispatchEvent(Object.assign(new Event(name), { persisted: true }));
  tell("pagehide");
  await first.gone;
  const second = await server.request(1);
  second.event(2);
  await b.event(2);
  tell("pageshow");
  await a.event(2);
  second.event(3);
  await a.event(3);
  assert.deepEqual([a.numbers, server.requests.all.length], [[1, 2, 3], 2]);
});

test("one that is not allowed in does not take the others along", async (t) => {
  const server = await serve(t), browser = new Browser(), refused = [];
  server.answer = (req, res) => refused.length < 3 && refused.push(res.writeHead(403).end());
  const tabs = [];
  for (let i = 0; i < 4; i++) tabs.push(follow(await browser.tab(), server.url));
  t.after(() => tabs.forEach((f) => f.s.close()));
  for (const f of tabs.slice(0, 3)) await f.state("failed");
  const r = await server.request(3);
  r.event(1);
  await tabs[3].event(1);
});

test("a tab publishes over the connection of another", async (t) => {
  const { server, browser, tabs: [a, b], first } = await begin(t, 2, { websocket: true });
  const one = b.s.publish({ type: "one" });
  const { publish } = await first.frames.until((x) => x.publish);
  first.send({ receipt: { ref: publish.ref, id: publish.event.id, duplicate: false } });
  assert.deepEqual(await one, { id: publish.event.id, duplicate: false });
  const bad = b.s.publish({ type: "bad" });
  const refused = await first.frames.until((x) => x.publish?.event.type === "bad");
  first.send({ problem: { ref: refused.publish.ref, title: "No", status: 403 } });
  await assert.rejects(bad, (e) => e.problem.status === 403);
  // Of these, nobody hears before the lead changes.
  const [two, three] = [a.s.publish({ type: "two" }), b.s.publish({ type: "three" })];
  await first.frames.until((x) => x.publish?.event.type === "three");
  a.s.close();
  await assert.rejects(two, /closed/);
  const second = await server.request(1);
  const again = await second.frames.until((x) => x.publish);
  assert.equal(again.publish.event.type, "three");
  second.send({ receipt: { ref: again.publish.ref, id: again.publish.event.id, duplicate: true } });
  assert.equal((await three).duplicate, true);
  // And with the same leader, over its next connection.
  const c = follow(await browser.tab(), server.url, { websocket: true });
  t.after(() => c.s.close());
  second.send({ cursor: "c1" });
  await c.state("open");
  const four = c.s.publish({ type: "four" });
  await second.frames.until((x) => x.publish?.event.type === "four");
  second.end();
  browser.advance((await b.state("waiting")).detail.after);
  const third = await server.request(2);
  const last = await third.frames.until((x) => x.publish);
  third.send({ receipt: { ref: last.publish.ref, id: last.publish.event.id } });
  await four;
});

test("without locks, or where they are forbidden, each tab is on its own", async (t) => {
  const server = await serve(t), browser = new Browser();
  const lacks = await browser.tab(), forbids = await browser.tab();
  const pages = globalThis.pages.slice(-2);
  delete pages[0].globalThis.navigator;
  pages[1].navigator.locks.request = () => Promise.reject(new DOMException("opaque origin", "SecurityError"));
  for (const [i, tab] of [lacks, forbids].entries()) {
    const f = follow(tab, server.url);
    t.after(() => f.s.close());
    (await server.request(i)).event(1);
    await f.event(1);
  }
});
