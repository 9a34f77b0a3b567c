// Pages in a real browser that follow streams of a real server, which is killed, stopped and started under them by whoever runs this.
// usage: node streams_browser.mjs CHROMIUM ORIGIN API
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [executablePath, origin, api] = process.argv.slice(2);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (what) => {
  console.log(what);
  await answers.next();
};
let last = 0; // event of orders
async function publish(n = 1) {
  for (; n > 0; n--) {
    const response = await fetch(`${api}/v1/topics/orders/events?type=test&source=/shop&subject=k`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ n: ++last }),
    });
    assert.equal(response.status, 201);
  }
}
const open = async () => (await (await fetch(`${api}/v1/streams`)).json()).open;
async function eventually(f, want) {
  for (let tries = 0, got; (got = await f()) !== want; tries++) {
    assert.ok(tries < 400, `${f} is ${got}, not ${want}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

// In the page.

function stock() {
  const ws = (path, ...protocol) => {
    const socket = new WebSocket(location.origin.replace("http", "ws") + path, ...protocol);
    const log = { got: [], socket };
    socket.onopen = () => (log.opened = [socket.protocol, socket.extensions]);
    socket.onmessage = (m) => log.got.push(JSON.parse(m.data).data.n);
    socket.onclose = (e) => (log.closed = [e.code, e.reason]);
    return log;
  };
  const source = new EventSource("/events?from=earliest");
  const es = { got: [], ids: [], controls: [] };
  source.onmessage = (m) => {
    es.got.push(JSON.parse(m.data).data.n);
    es.ids.push(m.lastEventId);
  };
  for (const name of ["gap", "reconnect"]) source.addEventListener(name, (m) => es.controls.push(name + " " + JSON.parse(m.data).reason));
  globalThis.logs = { es };
  globalThis.connect = () => {
    Object.assign(globalThis.logs, { cloud: ws("/events?last=3", "cloudevents.json"), none: ws("/events?last=3") });
  };
  globalThis.connect();
  globalThis.say = (n) => {
    const log = ws("/chat", "cloudevents.json");
    log.socket.addEventListener("open", () => log.socket.send(JSON.stringify({ data: { n } })));
    globalThis.logs.said = log;
  };
}

function follow([path, options]) {
  const log = { got: [], gaps: 0 };
  globalThis.logs = { log };
  return import("/client.js").then(({ stream }) => {
    globalThis.s = stream(path, {
      ...options, onevent: (e) => log.got.push(e.data.n), ongap: () => log.gaps++, onstate: (state, detail) => Object.assign(log, { state, reason: detail?.reason }),
    });
  });
}

const upTo = (n, from = 1) => Array.from({ length: n - from + 1 }, (_, i) => from + i);
async function sees(page, name, want) {
  await page.waitForFunction(([name, n]) => globalThis.logs[name].got.at(-1) === n, [name, want.at(-1)]);
  assert.deepEqual(await page.evaluate((name) => globalThis.logs[name].got, name), want, name);
}
const log = (page, name) => page.evaluate((name) => ({ ...globalThis.logs[name], socket: 0 }), name);

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"] });
try {
  const context = await browser.newContext();
  context.setDefaultTimeout(15_000);
  const errors = [];
  const visit = async (f, arg) => {
    const page = await context.newPage();
    page.on("pageerror", (e) => errors.push(String(e)));
    await page.goto(origin + "/");
    await page.evaluate(f, arg);
    return page;
  };
  await publish(5);
  const plain = await visit(stock);
  const readers = [await visit(follow, ["/events", { from: "earliest" }]), await visit(follow, ["/events", { from: "earliest" }])];
  let talkers = [await visit(follow, ["/chat", { from: "earliest", websocket: true }]), await visit(follow, ["/chat", { from: "earliest", websocket: true }])];
  const all = async () => {
    await sees(plain, "es", upTo(last));
    for (const page of readers) await sees(page, "log", upTo(last));
  };
  await all();
  await sees(plain, "cloud", [3, 4, 5]);
  await sees(plain, "none", [3, 4, 5]);
  assert.deepEqual((await log(plain, "cloud")).opened, ["cloudevents.json", ""]);
  assert.deepEqual((await log(plain, "none")).opened, ["", ""]);

  // Publishing: by a stock WebSocket, by the tab that has the connection, and by the other.
  await plain.evaluate("say(1)");
  await sees(talkers[0], "log", [1]);
  const say = (page, n) => page.evaluate((n) => globalThis.s.publish({ data: { n } }), n);
  assert.deepEqual(Object.keys(await say(talkers[0], 2)).sort(), ["duplicate", "id"]);
  const receipt = await say(talkers[1], 3);
  assert.ok(receipt.id && receipt.duplicate === false);
  const refused = await talkers[1].evaluate(() => globalThis.s.publish({ type: "other", data: {} }).then(String, (e) => e.problem.status));
  assert.equal(refused, 400);
  for (const page of talkers) await sees(page, "log", upTo(3));
  await publish();
  await all();
  await eventually(open, 6); // four of the stock ones, and one for each pair of tabs, which have caught up

  // Killed, while both tabs publish.
  await ask("kill");
  await plain.waitForFunction(() => globalThis.logs.cloud.closed && globalThis.logs.none.closed);
  assert.equal((await log(plain, "cloud")).closed[0], 1006);
  const waiting = [say(talkers[0], 4), say(talkers[1], 4)];
  await ask("start");
  await publish(5);
  await all();
  for (const { duplicate } of await Promise.all(waiting)) assert.equal(duplicate, false);
  for (const page of talkers) await sees(page, "log", [1, 2, 3, 4, 4]);
  await plain.evaluate("connect()");
  for (const name of ["cloud", "none"]) await sees(plain, name, upTo(last, last - 2));

  // Stopped: everybody is told.
  await ask("stop");
  await plain.waitForFunction(() => globalThis.logs.cloud.closed && globalThis.logs.none.closed);
  for (const name of ["cloud", "none"]) assert.deepEqual((await log(plain, name)).closed, [1012, "draining"], name);
  for (const page of [...readers, ...talkers]) await page.waitForFunction(() => globalThis.logs.log.state === "waiting" && globalThis.logs.log.reason === "draining");
  await ask("start");
  await publish(5);
  await all();
  const { controls, ids } = await log(plain, "es");
  assert.deepEqual(controls, ["reconnect draining"]);
  assert.equal(new Set(ids).size, last);

  // The tab that has the connection is closed.
  await talkers[0].close();
  talkers = talkers.slice(1);
  await say(talkers[0], 5);
  await sees(talkers[0], "log", [1, 2, 3, 4, 4, 5]);
  for (const page of [...readers, ...talkers]) assert.equal((await log(page, "log")).gaps, 0);
  assert.deepEqual(errors, []);
} finally {
  await browser.close();
}
console.log("done");
process.exit();
