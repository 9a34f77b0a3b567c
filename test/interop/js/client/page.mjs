// Pages for the tests of the browser module: what a browser has and node lacks, and a clock that is moved by hand.
import { readFileSync } from "node:fs";

const source = readFileSync(new URL("../../../../internal/browser/tandem.js", import.meta.url), "utf8");
const names = "globalThis setTimeout clearTimeout setInterval clearInterval queueMicrotask Date Math navigator document sessionStorage BroadcastChannel".split(" ");
globalThis.pages = [];

/** A browser: its tabs share locks, channels, time and chance. */
export class Browser {
  now = 1_700_000_000_000;
  random = 0.5;
  timers = new Map();
  locks = new Map(); // name -> those who wait, the first of whom has the lock
  channels = new Set();
  #last = 0;

  /** Opens a tab and gives its module. */
  async tab() {
    const b = this, events = new EventTarget(), document = new EventTarget(), stored = new Map();
    document.visibilityState = "visible";
    const tab = {
      events, document, stored, errors: [], frozen: [], freeze: false,
      thaw() {
        tab.freeze = false;
        tab.frozen.splice(0).forEach((f) => setImmediate(f));
      },
    };
    const page = {
      setTimeout: (f, ms) => b.#timer({ f, tab, ms }), clearTimeout: (n) => b.timers.delete(n),
      setInterval: (f, ms) => b.#timer({ f, tab, ms, every: ms }), clearInterval: (n) => b.timers.delete(n),
      queueMicrotask: (f) => queueMicrotask(() => {
        try {
          f();
        } catch (e) {
          tab.errors.push(e);
        }
      }),
      Date: { now: () => b.now, parse: Date.parse },
      Math: Object.assign(Object.create(Math), { random: () => b.random, min: Math.min, max: Math.max }),
      navigator: { locks: { request: (name, options, f) => b.#request(name, options, f) } },
      document,
      sessionStorage: { getItem: (k) => stored.get(k) ?? null, setItem: (k, v) => stored.set(k, String(v)) },
      BroadcastChannel: class {
        constructor(name) {
          Object.assign(this, { name, tab });
          b.channels.add(this);
        }
        postMessage(data) {
          if (!b.channels.has(this)) throw new Error("the channel is closed");
          for (const c of b.channels) {
            if (c === this || c.name !== this.name) continue;
            const copy = structuredClone(data), hand = () => b.channels.has(c) && c.onmessage({ data: copy });
            c.tab.freeze ? c.tab.frozen.push(hand) : setImmediate(hand);
          }
        }
        close() {
          b.channels.delete(this);
        }
      },
    };
    page.globalThis = { navigator: page.navigator, document, BroadcastChannel: page.BroadcastChannel, addEventListener: events.addEventListener.bind(events) };
    const n = globalThis.pages.push(page) - 1;
    const text = `const {${names}} = (0, eval)("globalThis").pages[${n}];\n${source}\n//# sourceURL=tandem.js`; // the name in stacks, else all of it
    return Object.assign(tab, await import("data:text/javascript;base64," + Buffer.from(text).toString("base64")));
  }

  #timer(timer) {
    this.timers.set(++this.#last, { ...timer, at: this.now + timer.ms, n: this.#last });
    return this.#last;
  }

  /** Moves the clock, and runs what is due. */
  advance(ms) {
    const end = this.now + ms;
    for (;;) {
      const due = [...this.timers.values()].filter((t) => t.at <= end && !t.tab.freeze).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.now = Math.max(this.now, due.at);
      if (due.every) due.at = this.now + due.every;
      else this.timers.delete(due.n);
      due.f();
    }
    this.now = end;
  }

  // Web Locks, as far as the module needs them: exclusive, with signal or steal.
  #request(name, { signal, steal }, f) {
    return new Promise((resolve, reject) => {
      const queue = this.locks.get(name) ?? [], abort = () => reject(new DOMException("given up", "AbortError"));
      this.locks.set(name, queue);
      const entry = { f, resolve, reject };
      if (steal) {
        if (queue[0]?.granted) queue.shift().reject(new DOMException("stolen", "AbortError"));
        queue.unshift(entry);
      } else queue.push(entry);
      signal?.addEventListener("abort", () => {
        if (entry.granted || !queue.includes(entry)) return;
        queue.splice(queue.indexOf(entry), 1);
        abort();
      });
      this.#grant(queue);
    });
  }

  #grant(queue) {
    setImmediate(async () => {
      const first = queue[0];
      if (!first || first.granted) return;
      first.granted = true;
      first.resolve(await first.f());
      if (queue[0] === first) queue.shift();
      this.#grant(queue);
    });
  }
}

/** Resolves with what f returns as soon as that is true. */
export async function eventually(f, what = f) {
  for (const late = Date.now() + 10_000; Date.now() < late; await new Promise(setImmediate)) {
    const v = f();
    if (v) return v;
  }
  throw new Error("in vain: " + what);
}

/** Lets what is under way come to its end, to see that nothing does happen. */
export async function settle() {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
}

/** What was said, in order, and a way to wait for more. */
export class Log {
  all = [];
  add(...what) {
    this.all.push(...what);
  }
  /** Resolves with the first entry, from index from on, that pleases. */
  until(pleases, from = 0) {
    return eventually(() => this.all.slice(from).find(pleases), { toString: () => `${pleases} from ${from} on of ${JSON.stringify(this.all)}` });
  }
}

/** Opens a stream in a tab and logs what it calls: {event, cursor}, {gap}, {state, detail}. */
export function follow(tab, url, options = {}) {
  const log = new Log();
  const s = tab.stream(url, {
    ...options,
    onevent: (event, cursor) => {
      log.add({ event, cursor });
      return options.onevent?.(event, cursor);
    },
    ongap: (gap) => log.add({ gap }),
    onstate: (state, detail) => log.add({ state, detail }),
  });
  return {
    s, log,
    state: (name, from) => log.until((x) => x.state === name, from),
    event: (n, from) => log.until((x) => x.event?.n === n, from),
    get numbers() {
      return log.all.flatMap((x) => (x.event ? [x.event.n] : []));
    },
  };
}
