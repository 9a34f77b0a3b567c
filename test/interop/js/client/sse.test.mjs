import assert from "node:assert/strict";
import test from "node:test";
import { Browser, follow, settle } from "./page.mjs";
import { serve } from "./server.mjs";

// begin opens a stream in the only tab of a browser.
async function begin(t, options, answer) {
  const server = Object.assign(await serve(t), { answer }), browser = new Browser(), tab = await browser.tab();
  const f = follow(tab, server.url, options);
  t.after(() => f.s.close());
  return Object.assign(f, { server, browser, tab });
}

const problem = (res, status, headers = {}) =>
  res.writeHead(status, { "Content-Type": "application/problem+json", ...headers }).end(JSON.stringify({ title: "No", detail: "because", status }));

test("a stream goes on after a break from the last cursor", async (t) => {
  const f = await begin(t, { from: "earliest", slow: "conflate", query: { type: "order.placed" } });
  const first = await f.server.request(0);
  assert.deepEqual(first.query, { from: "earliest", slow: "conflate", type: "order.placed" });
  assert.equal(first.headers.accept, "text/event-stream");
  first.write("retry: 1000\nid: c0\n\n");
  first.event(1);
  first.event(2);
  await f.event(2);
  assert.equal(f.s.cursor, "c2");
  first.write("id: c7\n\n"); // the filter left out some
  first.write("event: expiring\ndata: {\"reason\":\"age\"}\n\n" + "data: {\"n\":3}\n"); // which is never completed
  first.end();
  assert.equal((await f.state("waiting")).detail.after, 500);
  assert.equal(f.s.cursor, "c7");
  f.browser.advance(500);
  const second = await f.server.request(1);
  assert.deepEqual(second.query, { cursor: "c7", slow: "conflate", type: "order.placed" });
  second.event(8);
  await f.event(8);
  assert.deepEqual(f.numbers, [1, 2, 8]);
  assert.deepEqual(f.log.all.flatMap((x) => x.state ?? []), ["connecting", "open", "waiting", "connecting", "open"]);
  f.s.close();
  await second.gone;
  assert.equal(f.log.all.at(-1).state, "closed");
});

test("waits grow to a bound, with full jitter, and shrink again", async (t) => {
  const f = await begin(t, {}, (req, res) => problem(res, 500));
  for (const [random, bound] of [[0.999, 2], [0.999, 4], [0, 8], [0.5, 16], [0.999, 30], [0.25, 30], [0.999, 30]]) {
    f.browser.random = random;
    const { detail } = await f.state("waiting");
    assert.equal(detail.after, random * bound * 1000);
    assert.equal(detail.problem.detail, "because");
    f.log.all.length = 0;
    if (bound === 30 && random === 0.999) f.server.answer = undefined;
    if (f.server.answer) f.browser.advance(detail.after);
    else break;
  }
  f.browser.advance(30_000);
  const r = await f.server.request(5);
  await f.state("open");
  f.browser.advance(10_000); // it lasted
  r.end();
  assert.equal((await f.state("waiting")).detail.after, 0.999 * 2000);
});

test("Retry-After is obeyed, also when the page wakes up", async (t) => {
  const when = ["7", "Tue, 14 Nov 2023 22:13:29 GMT"]; // nine seconds after the start of the clock
  const f = await begin(t, {}, (req, res) => when.length && problem(res, when.length === 2 ? 503 : 429, { "Retry-After": when.shift() }));
  assert.equal((await f.state("waiting")).detail.after, 7000 + 1000);
  f.browser.advance(6999);
  f.tab.events.dispatchEvent(new Event("online"));
  await settle();
  assert.equal(f.log.all.at(-1).state, "waiting");
  f.browser.advance(1);
  f.tab.events.dispatchEvent(new Event("online")); // the server's part is over, ours can be cut short
  const from = f.log.all.length;
  assert.equal((await f.state("waiting", from)).detail.after, 2000 + 1000);
  f.browser.advance(3000);
  await f.state("open");
});

for (const status of [204, 400, 403, 404, 410]) {
  test(`${status} ends a stream for good`, async (t) => {
    const f = await begin(t, {}, (req, res) => (status === 204 ? res.writeHead(204).end() : problem(res, status)));
    const { detail } = await f.state("failed");
    assert.equal(detail.status, status);
    if (status !== 204) assert.equal(detail.detail, "because");
    f.tab.events.dispatchEvent(new Event("online"));
    f.browser.advance(600_000);
    await settle();
    f.s.close();
    assert.equal(f.browser.timers.size, 0);
    assert.equal(f.log.all.at(-1).state, "failed");
    assert.equal(f.server.requests.all.length, 1);
  });
}

test("408, 429, 5xx and a page of a proxy do not end it", async (t) => {
  const statuses = [408, 429, 500, 502, 504, 200];
  const f = await begin(t, {}, (req, res) => statuses.length && res.writeHead(statuses.shift(), { "Content-Type": "text/html" }).end("<p>sorry"));
  for (const status of [...statuses]) {
    const { detail } = await f.state("waiting");
    assert.equal(detail.problem.status, status);
    f.log.all.length = 0;
    f.browser.advance(detail.after);
  }
  await f.state("open");
});

test("a gap is told once", async (t) => {
  const f = await begin(t, { cursor: "c1" });
  const gap = { reason: "retention", from: "c1", to: "c9" };
  const first = await f.server.request(0);
  assert.deepEqual(first.query, { cursor: "c1" });
  first.write(`event: gap\nid: c9\ndata: ${JSON.stringify(gap)}\n\n`);
  await f.log.until((x) => x.gap);
  first.end();
  f.browser.advance((await f.state("waiting")).detail.after);
  const second = await f.server.request(1);
  assert.equal(second.query.cursor, "c9");
  second.event(10);
  await f.event(10);
  assert.deepEqual(f.log.all.flatMap((x) => x.gap ?? []), [gap]);
});

test("the server says when to come back", async (t) => {
  const f = await begin(t, { from: "earliest" });
  const first = await f.server.request(0);
  first.write("retry: 1234\nevent: reconnect\nid: c5\ndata: {\"reason\":\"draining\"}\n\n" + "id: c6\ndata: {\"n\":6}\n\n");
  assert.deepEqual((await f.state("waiting")).detail, { after: 1234, reason: "draining", problem: undefined });
  await first.gone;
  f.browser.advance(1234);
  assert.equal((await f.server.request(1)).query.cursor, "c5");
  assert.deepEqual(f.numbers, []);
});

test("silence for 45 s is a break, a heartbeat is none", async (t) => {
  const f = await begin(t, {});
  const first = await f.server.request(0);
  await f.state("open");
  f.browser.advance(44_000);
  first.write(":\n\n" + "id: c1\ndata: {\"n\":1}\n\n");
  await f.event(1);
  f.browser.advance(44_999);
  assert.equal(f.log.all.at(-1).event.n, 1);
  f.browser.advance(1);
  assert.equal((await f.state("waiting")).detail.reason, "silence");
  await first.gone;
});

test("a page that wakes up connects at once", async (t) => {
  const f = await begin(t, {}, (req, res) => f.server.requests.all.length < 3 && problem(res, 500));
  for (const wake of [() => f.tab.events.dispatchEvent(new Event("online")), () => f.tab.document.dispatchEvent(new Event("visibilitychange"))]) {
    const from = f.log.all.length;
    await f.state("waiting", from);
    f.tab.document.visibilityState = "hidden";
    f.tab.document.dispatchEvent(new Event("visibilitychange"));
    await settle();
    assert.equal(f.log.all.at(-1).state, "waiting");
    f.tab.document.visibilityState = "visible";
    wake();
  }
  f.browser.advance((await f.state("waiting", f.log.all.length)).detail.after);
  await f.state("open");
  const here = f.log.all.length;
  f.browser.advance(19_999);
  f.tab.events.dispatchEvent(new Event("online")); // it has spoken lately
  await settle();
  f.browser.advance(1);
  assert.equal(f.log.all.length, here);
  f.tab.events.dispatchEvent(new Event("online"));
  assert.deepEqual((await f.state("waiting", here)).detail, { after: 0, reason: "wake", problem: undefined });
  f.browser.advance(0);
  await f.state("open", here);
});

test("headers are made for each attempt", async (t) => {
  let n = 0;
  const f = await begin(t, { headers: async () => ({ Authorization: `Bearer ${++n}` }) });
  (await f.server.request(0)).end();
  f.browser.advance((await f.state("waiting")).detail.after);
  await f.server.request(1);
  assert.deepEqual(f.server.requests.all.map((r) => r.headers.authorization), ["Bearer 1", "Bearer 2"]);
  assert.throws(() => f.tab.stream(f.server.url, { websocket: true, headers: {} }), /headers/);
  assert.throws(() => f.tab.stream(f.server.url, { window: 1 }), /window/);
  await assert.rejects(f.s.publish({}), /websocket/);
});

test("the cursor outlives a reload of the page", async (t) => {
  const f = await begin(t, { from: "earliest", storage: "orders", onevent: ({ n }) => n === 2 && f.s.close() });
  const first = await f.server.request(0);
  first.write([1, 2, 3].map((n) => `id: c${n}\ndata: {"n":${n}}\n\n`).join("")); // in one piece: it is closed in the middle
  await first.gone;
  assert.deepEqual([f.numbers, f.s.cursor, f.tab.stored.get("orders")], [[1, 2], "c2", "c2"]);
  const again = follow(f.tab, f.server.url, { from: "earliest", storage: "orders" });
  assert.deepEqual((await f.server.request(1)).query, { cursor: "c2" });
  again.s.close();
  const pinned = follow(f.tab, f.server.url + "?cursor=c1&from=latest", { storage: "orders" });
  assert.deepEqual((await f.server.request(2)).query, { cursor: "c1" });
  pinned.s.close();
});

test("an error of a callback is the page's and ends nothing", async (t) => {
  const f = await begin(t, { onevent: async ({ n }) => { throw new Error("callback " + n); } });
  const first = await f.server.request(0);
  first.event(1);
  first.write("id: c2\ndata: not JSON\n\n");
  first.event(3);
  await f.event(3);
  await new Promise(setImmediate); // the last promise is refused behind its event
  assert.deepEqual(f.tab.errors.map((e) => e.message).filter((m) => m.startsWith("callback")), ["callback 1", "callback 3"]);
  assert.equal(f.tab.errors.length, 3);
  assert.equal(f.s.cursor, "c3");
});
