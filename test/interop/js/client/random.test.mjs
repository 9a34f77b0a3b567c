// Whatever happens to tabs and connections, each tab gets every event from where it began, once and in order.
import assert from "node:assert/strict";
import test from "node:test";
import { Browser, eventually, follow } from "./page.mjs";
import { serve } from "./server.mjs";

const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: 12 }, (_, i) => i + 1);

for (const seed of seeds) {
  test(`tabs that come and go, seed ${seed}`, async (t) => {
    let state = seed;
    const random = (n) => ((state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) >>> 8) % n;
    // The log: an event has the cursor with its number. Events of which the filter takes none only move the place.
    let end = 0;
    const hidden = new Set(), open = new Set(), server = await serve(t), message = (n) => (hidden.has(n) ? "" : `id: ${n}\ndata: {"n":${n}}\n\n`);
    server.answer = (req, res) => {
      const query = new URL(req.url, "http://x").searchParams;
      let at = query.has("cursor") ? Number(query.get("cursor")) : query.get("from") === "earliest" ? 0 : end;
      for (let left = Number(query.get("last")); left > 0 && at > 0; at--) left -= !hidden.has(at);
      res.writeHead(200, { "Content-Type": "text/event-stream" }).write(query.has("cursor") ? "\n" : `id: ${at}\n\n`);
      while (at < end) res.write(message(++at));
      open.add(res);
      res.on("close", () => open.delete(res));
      return true;
    };
    const browser = new Browser(), tabs = new Set(), closed = [];
    const add = async () => {
      const start = [{ from: "earliest" }, { last: 3 }, {}, { cursor: String(random(end + 1)) }][random(4)];
      const tab = await browser.tab(), f = follow(tab, server.url, start);
      tabs.add(Object.assign(f, { tab, first: start.from ? 1 : start.cursor && Number(start.cursor) + 1 }));
    };
    t.after(() => tabs.forEach((f) => f.s.close()));
    const acts = [
      () => tabs.size < 6 && add(),
      () => {
        const f = [...tabs][random(tabs.size)];
        if (f && tabs.size > 1) f.s.close(), tabs.delete(f), closed.push(f);
      },
      () => open.forEach((res) => open.delete(res.end())),
      () => [...open][0]?.destroy(),
      () => browser.advance(random(20_000)),
      () => [...tabs].forEach((f) => random(2) ? (f.tab.freeze = true) : f.tab.thaw()),
      () => [...tabs].forEach((f) => f.tab.thaw()),
      () => [...tabs].forEach((f) => random(4) || f.tab.document.dispatchEvent(new Event("visibilitychange"))),
      ...Array(8).fill(() => {
        for (let i = random(4); i >= 0; i--) {
          if (random(3) === 0) hidden.add(end + 1);
          const text = message(++end);
          open.forEach((res) => text && res.write(text));
        }
        if (random(3) === 0) open.forEach((res) => res.write(`id: ${end}\n\n`)); // a heartbeat
      }),
    ];
    for (let i = 0; i < 150; i++) {
      await acts[random(acts.length)]();
      for (let i = random(6); i > 0; i--) await new Promise(setImmediate);
    }
    // Peace: all must come to the end, over one connection.
    tabs.forEach((f) => f.tab.thaw());
    let turns = 0;
    const done = () => {
      if (++turns % 50 === 0) browser.advance(1000);
      if (turns % 500 === 0) say(); // tabs meet at events
      return [...tabs].every((f) => f.numbers.at(-1) === end) && open.size === 1;
    };
    const say = () => {
      const text = message(++end);
      open.forEach((res) => res.write(text));
    };
    say();
    await eventually(done, { toString: () => `${end} in ${JSON.stringify([...tabs].map((f) => [f.first, f.s.cursor, f.numbers]))}, ${open.size} open` });
    for (const f of [...tabs, ...closed]) {
      const from = f.first ?? f.numbers[0], want = [];
      for (let n = from; n <= f.numbers.at(-1); n++) if (!hidden.has(n)) want.push(n);
      assert.deepEqual(f.numbers, want);
    }
  });
}
