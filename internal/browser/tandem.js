// Streams of Tandem in a browser: server-sent events or a WebSocket, resumed by cursor, one connection for all tabs. It depends
// on nothing. docs/streams.md says what is on the wire and, under "In the browser", what is promised.
//
//   import { stream } from "/client.js";
//   const s = stream("/orders/42/events", { from: "earliest", onevent: (event) => draw(event), ongap: () => reload() });
//
// Server-sent events are read with fetch, not with EventSource, which cannot tell 403 from a broken cable, knows neither
// Retry-After nor jitter, gives up for good on the error page of a proxy, notices no silence, and sends no headers.

/**
 * @typedef {object} Options
 * @property {(event: any, cursor: string) => any} [onevent] gets each CloudEvent, and the place after it
 * @property {(gap: {reason: string, from: string, to: string}) => void} [ongap] is told once of each gap
 * @property {(state: "connecting"|"open"|"waiting"|"failed"|"closed", detail?: any) => void} [onstate] after "failed", whose
 *   detail is the problem, nothing more happens; "waiting" says {after: ms, reason, problem}
 * @property {string} [cursor] begin after this place; wins over storage, which wins over last and from
 * @property {string} [from] "latest" (the default), "earliest" or a time
 * @property {number} [last] begin with the last N events
 * @property {"catchup"|"conflate"|"disconnect"} [slow] what a slow reader is sent
 * @property {any} [query] more parameters, such as {type: "order.placed"}: what URLSearchParams takes
 * @property {boolean} [websocket] a WebSocket in place of server-sent events; publish needs it
 * @property {number} [window] events the server may send ahead of onevent, 1 to 10,000 (WebSocket; the tab is on its own)
 * @property {any} [headers] headers of the request, or a function that makes them (not with a WebSocket)
 * @property {boolean|string} [shared] false: a connection of its own, the default with headers. A name parts users who must not share
 * @property {string} [storage] key of sessionStorage that keeps the cursor over a reload
 */

const CAP = 30_000; // the longest wait between attempts, unless the server asks for more
const SILENCE = 45_000; // three heartbeats of the server: the connection is dead
const STALE = 20_000; // silence after which a page that wakes up does not trust its connection
const DAY = 86_400_000; // the longest wait that a server may ask for
const LASTED = 10_000; // a connection that lasted so long ends a row of failures
const BEAT = 15_000; // how often the leading tab shows that it lives
const MUTE = 70_000; // without a beat for so long it is asked: browsers slow the timers of hidden tabs to one a minute
const ANSWER = 5_000; // and if it is silent for so long again, it is frozen and loses the lead
const KEEP = 256; // messages that a tab remembers for others,
const KEEP_CHARS = 1 << 20; // and characters

/** Opens a stream. @param {string|URL} url @param {Options} [options] */
export const stream = (url, options = {}) => new Stream(url, options);

class Stream {
  #o; #url; #name; #start = {};
  #over = new AbortController(); // aborted when the stream has failed or was closed
  #tab = random();
  #at; // the place after the last message that came,
  #cursor; // and after the last one that onevent was done with
  #state = "";
  // The connection, where this tab has one.
  #held = null; // whoever holds it: the loop in #hold
  #cut = null; // ends what that loop does at the moment
  #socket = null; // while it is open
  #heard = 0; // when something came last
  #alarm; // silence of the server or of the leading tab
  #retry = 2_000;
  // Other tabs.
  #channel = null; #lock = null; #leads = false; #beats;
  #asking = false; // the leading tab, for what this one misses
  #ring = []; #chars = 0;
  // Work in progress.
  #pending = new Map(); // ref -> what was published and has no receipt yet
  #tail = Promise.resolve(); #waiting = 0; #unacked = 0; // with a window: onevent, one at a time

  constructor(url, o) {
    if (o.websocket && o.headers) throw new TypeError("headers: browsers send none with a WebSocket");
    if (o.window && !o.websocket) throw new TypeError("window: needs websocket");
    const u = new URL(url, globalThis.location?.href), q = u.searchParams;
    for (const [k, v] of new URLSearchParams(o.query)) q.append(k, v);
    if (o.slow) q.set("slow", o.slow);
    for (const k of ["cursor", "from", "last"]) {
      this.#start[k] = o[k] ?? q.get(k);
      q.delete(k);
    }
    this.#o = o;
    this.#url = u;
    this.#at = this.#cursor = this.#start.cursor ?? this.#store() ?? "";
    // An acknowledgement speaks for one reader, so a window is never shared.
    const shared = !o.window && (o.shared ?? !o.headers);
    if (shared && globalThis.BroadcastChannel && globalThis.navigator?.locks) this.#name = `tandem ${shared} ${!!o.websocket} ${u}`;
    const on = (target, type, f) => target?.addEventListener?.(type, f, { signal: this.#over.signal });
    on(globalThis, "online", () => this.#wake());
    on(globalThis.document, "visibilitychange", () => document.visibilityState === "visible" && this.#wake());
    // A page in the back-forward cache runs nothing: it must not hold the lead.
    on(globalThis, "pagehide", (e) => e.persisted && this.#leave());
    on(globalThis, "pageshow", (e) => e.persisted && this.#begin());
    queueMicrotask(() => this.#begin()); // callbacks come after the caller has the stream
  }

  /** The place after the last event that onevent was done with; "" before the first message. */
  get cursor() {
    return this.#cursor;
  }

  /** Ends the stream. Nothing is called afterwards but onstate("closed"). */
  close() {
    this.#end("closed");
  }

  /**
   * Stores an event and resolves with its receipt. It is sent again after a break, under one id, so that it takes effect once.
   * Rejects with an Error that has a problem, when it is refused, or when the stream ends first. @returns {Promise<any>}
   */
  publish(event) {
    if (!this.#o.websocket) return Promise.reject(new TypeError("publish: needs websocket"));
    if (this.#over.signal.aborted) return Promise.reject(new Error("publish: the stream has ended"));
    const ref = random(), frame = { publish: { ref, event: { ...event, id: event.id ?? ref } } };
    return new Promise((resolve, reject) => {
      this.#pending.set(ref, { frame, resolve, reject });
      this.#send(frame);
    });
  }

  #begin() {
    if (this.#over.signal.aborted) return;
    if (!this.#name) return void this.#hold();
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#queue();
    this.#ask();
  }

  #leave() {
    this.#drop();
    this.#lock?.abort();
    this.#channel?.close();
    this.#channel = null;
  }

  #end(state, detail) {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#leave();
    for (const p of this.#pending.values()) p.reject(failure(detail ?? { title: "the stream was closed" }));
    this.#pending.clear();
    this.#tell(state, detail);
  }

  #tell(state, detail) {
    this.#state = state;
    if (this.#leads) this.#channel.postMessage({ state, detail, at: this.#at });
    guarded(() => this.#o.onstate?.(state, detail));
    if (state === "open") for (const p of this.#pending.values()) this.#send(p.frame);
  }

  // The connection: one at a time, until #drop.

  async #hold() {
    const me = (this.#held = {});
    for (let failures = 0; ; ) {
      await this.#tail; // with a window, what came is processed before more is asked for
      if (this.#held === me) this.#tell("connecting");
      if (this.#held !== me) return;
      const began = Date.now();
      this.#alive();
      const end = await (this.#o.websocket ? this.#overWebSocket() : this.#overSSE()).catch((e) => ({ reason: e.message }));
      if (this.#held !== me) return;
      clearTimeout(this.#alarm);
      if (end.final) return this.#end("failed", end.problem);
      failures = Date.now() - began < LASTED ? failures + 1 : 1;
      // A server that says goodbye has spread its clients itself. Otherwise full jitter: anything up to the bound.
      let after = Math.min(DAY, end.after ?? (end.least ?? 0) + Math.random() * Math.min(CAP, this.#retry * 2 ** (failures - 1)));
      if (end.reason === "wake") after = failures = 0;
      this.#tell("waiting", { after, reason: end.reason, problem: end.problem });
      if (this.#held !== me) return;
      const least = Date.now() + (end.least ?? 0);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, after);
        this.#cut = (why) => {
          if (why === "wake" && Date.now() < least) return;
          clearTimeout(timer);
          failures = 0;
          resolve();
        };
      });
    }
  }

  #drop() {
    this.#held = null;
    this.#cut?.();
    this.#cut = this.#socket = null;
    this.#leads = this.#asking = false;
    clearTimeout(this.#alarm);
    clearInterval(this.#beats);
  }

  #alive() {
    this.#heard = Date.now();
    clearTimeout(this.#alarm);
    this.#alarm = setTimeout(() => this.#cut?.("silence"), SILENCE);
  }

  // The page is seen again, or the network is back: no wait, and no trust in a connection that was silent.
  #wake() {
    if (this.#held) this.#cut?.("wake");
    else this.#ask();
  }

  // cuttable makes #cut abort a connection and note in end why.
  #cuttable(end, abort) {
    this.#cut = (why) => {
      if (why === "wake" && Date.now() - this.#heard < STALE) return;
      end.reason = why;
      abort();
    };
  }

  // The cursor is in the query for both transports: a header would cost other origins a preflight.
  #address() {
    const u = new URL(this.#url);
    const start = this.#at ? { cursor: this.#at } : this.#start;
    for (const [k, v] of Object.entries(start)) if (v) u.searchParams.set(k, v);
    return u;
  }

  async #fetch(signal) {
    const h = this.#o.headers, headers = new Headers(typeof h === "function" ? await h() : h);
    headers.set("Accept", "text/event-stream");
    return fetch(this.#address(), { headers, signal, cache: "no-store" });
  }

  async #overSSE() {
    const c = new AbortController(), end = {};
    this.#cuttable(end, () => c.abort());
    try {
      const response = await this.#fetch(c.signal);
      if (c.signal.aborted) return end;
      this.#alive();
      const refused = await refusal(response);
      if (refused) return refused;
      this.#tell("open");
      const parse = parser(({ type, data, id, retry }) => {
        if (c.signal.aborted) return; // closed by a callback
        if (retry !== undefined) this.#retry = retry;
        if (data === null || type === "reconnect") this.#take("place", id);
        else if (type === "message") this.#take("event", id, data);
        else if (type === "gap") this.#take("gap", id, data);
        if (type !== "reconnect") return;
        end.reason = JSON.parse(data).reason;
        end.after = this.#retry;
        c.abort();
      });
      for (const reader = response.body.getReader(); !c.signal.aborted; ) {
        const { done, value } = await reader.read();
        if (done) break;
        this.#alive();
        parse(value);
      }
    } catch (e) {
      end.reason ??= e.message;
    } finally {
      c.abort();
    }
    return end;
  }

  async #overWebSocket() {
    const end = {}, u = this.#address();
    u.protocol = u.protocol.replace("http", "ws");
    if (this.#o.window) u.searchParams.set("credit", this.#o.window);
    const socket = new WebSocket(u, "tandem.v1.json");
    let opened = false;
    await new Promise((resolve) => {
      const stop = () => {
        socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
        this.#socket = null;
        socket.close(); // without a network its answer may take minutes: nobody waits for it
        resolve();
      };
      this.#cuttable(end, stop);
      socket.onclose = (e) => {
        end.reason = e.reason || "closed with " + e.code;
        stop();
      };
      socket.onerror = () => opened || stop(); // not everybody lets a close follow
      socket.onopen = () => {
        opened = true;
        this.#socket = socket;
        this.#alive();
        this.#tell("open");
      };
      socket.onmessage = ({ data }) => {
        this.#alive();
        const f = JSON.parse(data);
        if (f.event) this.#take("event", f.cursor, JSON.stringify(f.event));
        else if (f.gap) this.#take("gap", f.gap.to, JSON.stringify(f.gap));
        else if (f.cursor) this.#take("place", f.cursor);
        else if (f.reconnect) {
          end.reason = f.reconnect.reason;
          end.after = f.reconnect.after;
          stop();
        } else if (f.problem && f.problem.ref === undefined) console.warn("tandem: a frame was refused", f.problem);
        else if ((f.receipt || f.problem) && !this.#settle(f)) this.#channel?.postMessage({ answer: f });
      };
    });
    if (opened || end.reason === "wake" || !this.#held) return end;
    // A browser does not say why an upgrade was refused. The other transport, at the same door, is told.
    const c = new AbortController();
    this.#cuttable(end, () => c.abort());
    try {
      return (await refusal(await this.#fetch(c.signal))) ?? end;
    } catch {
      return end;
    } finally {
      c.abort();
    }
  }

  // Messages. Each leads from one place to the next.

  #take(kind, cursor, text = "") {
    if (kind === "place" && (!cursor || cursor === this.#at)) return;
    const m = { kind, prev: this.#at, cursor, text };
    if (this.#leads) this.#channel.postMessage({ m });
    this.#accept(m);
  }

  #accept(m) {
    if (this.#over.signal.aborted) return; // by a callback
    this.#at = m.cursor;
    if (this.#name) {
      this.#ring.push(m);
      this.#chars += m.text.length;
      while (this.#ring.length > KEEP || (this.#chars > KEEP_CHARS && this.#ring.length > 1)) this.#chars -= this.#ring.shift().text.length;
    }
    if (!this.#o.window) {
      this.#call(m);
      return void this.#store(m.cursor);
    }
    this.#waiting++;
    this.#tail = this.#tail.then(async () => {
      if (this.#over.signal.aborted) return;
      await this.#call(m);
      this.#store(m.cursor);
      this.#waiting--;
      if (m.kind === "event") this.#unacked++;
      // In batches: when nothing waits, or half of the window is used up.
      if (!this.#unacked || (this.#waiting && this.#unacked * 2 < this.#o.window)) return;
      this.#unacked = 0;
      this.#send({ ack: m.cursor });
    });
  }

  #call({ kind, cursor, text }) {
    if (kind === "place") return;
    return guarded(() => (kind === "gap" ? this.#o.ongap?.(JSON.parse(text)) : this.#o.onevent?.(JSON.parse(text), cursor)));
  }

  #store(cursor) {
    if (cursor) this.#cursor = cursor;
    try {
      if (!this.#o.storage) return;
      if (!cursor) return sessionStorage.getItem(this.#o.storage);
      sessionStorage.setItem(this.#o.storage, cursor);
    } catch {} // the user forbids it
  }

  #send(frame) {
    if (this.#socket) this.#socket.send(JSON.stringify(frame));
    else if (!this.#held) this.#channel?.postMessage(frame);
  }

  #settle({ receipt, problem }) {
    const { ref, ...said } = receipt ?? problem, p = this.#pending.get(ref);
    if (p) receipt ? p.resolve(said) : p.reject(failure(said));
    return this.#pending.delete(ref);
  }

  // Tabs. Whoever has the lock leads: it holds the connection and posts what comes. A message names the places before and after it.
  // A tab takes one that begins where it stands, leaves one that it has had, and asks for what it misses; so it does not matter that a
  // new leader begins where itself has been, before or behind others. What the leader no longer has, a tab reads over a
  // connection of its own, until it stands where the leader stands.

  async #queue(steal = false) {
    this.#lock?.abort();
    const lock = (this.#lock = new AbortController());
    try {
      await navigator.locks.request(this.#name, steal ? { steal } : { signal: lock.signal }, () => {
        if (lock.signal.aborted) return;
        this.#leads = true;
        this.#beats = setInterval(() => this.#beat(), BEAT);
        if (this.#held) this.#beat();
        else this.#hold();
        return new Promise((release) => lock.signal.addEventListener("abort", release));
      });
    } catch (e) {
      if (e.name !== "AbortError") return this.#held || this.#hold(); // locks are forbidden here
    }
    if (lock.signal.aborted) return;
    this.#drop(); // another tab has stolen the lead
    this.#queue();
    this.#ask();
  }

  #beat() {
    this.#channel.postMessage({ state: this.#state, at: this.#at });
  }

  #ask() {
    if (!this.#channel) return; // closed by a callback, or never there
    this.#asking = true;
    this.#channel.postMessage({ ask: this.#tab, at: this.#at, start: this.#start });
    this.#watch(ANSWER * (1 + Math.random()), () => this.#queue(true));
  }

  #watch(ms, then) {
    clearTimeout(this.#alarm);
    this.#alarm = setTimeout(then, ms);
  }

  #hear(d) {
    if (d.answer) return void this.#settle(d.answer);
    if (this.#leads) {
      if (d.publish) this.#socket?.send(JSON.stringify(d));
      else if (d.ask) {
        if (d.at || this.#at) this.#channel.postMessage({ to: d.ask, replay: this.#since(d) });
        this.#beat();
      }
      return;
    }
    if (d.ask || d.publish || (d.to && d.to !== this.#tab)) return;
    if (this.#held) {
      if (!this.#at || ![d.at, d.m?.prev, d.m?.cursor].includes(this.#at)) return;
      this.#drop();
    }
    this.#watch(MUTE, () => this.#ask());
    if (d.m) this.#follow(d.m);
    else if (d.replay === null) this.#hold();
    else if (d.replay) {
      this.#asking = false;
      if (!this.#at && d.replay.length) this.#at = d.replay[0].prev;
      for (const m of d.replay) m.prev === this.#at ? this.#accept(m) : this.#follow(m);
    } else {
      this.#asking = false;
      if (d.at && !this.#knows(d.at)) this.#ask();
      if (d.state !== this.#state || d.detail) this.#tell(d.state, d.detail);
    }
  }

  #follow(m) {
    if (this.#at && this.#knows(m.cursor)) return;
    // Places are not read again: a message may begin before those that this tab has passed since.
    const been = this.#ring.findLastIndex((r) => r.cursor === m.prev);
    if (this.#at && (m.prev === this.#at || (been >= 0 && this.#ring.slice(been + 1).every((r) => r.kind === "place"))))
      this.#accept(m);
    else if (!this.#asking) this.#ask();
  }

  #knows(cursor) {
    return cursor === this.#at || this.#ring.some((r) => r.cursor === cursor);
  }

  // What brings a tab to where this one stands; null when that is not at hand.
  #since({ at, start }) {
    if (at === this.#at) return [];
    let i = at ? this.#ring.findLastIndex((r) => r.prev === at) : -1;
    if (!at && start.last) {
      const events = [...this.#ring.keys()].filter((k) => this.#ring[k].kind === "event");
      i = events.at(-start.last) ?? -1;
    } else if (!at && (start.from ?? "latest") === "latest") return [{ kind: "place", prev: "", cursor: this.#at, text: "" }];
    return i < 0 ? null : this.#ring.slice(i);
  }
}

/**
 * Parses an event stream (HTML, section 9.2.6), in pieces cut anywhere: calls back for every message, with data null where
 * there is only an id or a retry.
 * @param {(message: {type: string, data: string|null, id: string, retry?: number}) => void} take
 */
export function parser(take) {
  const decoder = new TextDecoder(); // which takes off a byte order mark, and waits for the rest of a character
  let rest = "", afterCR = false, type = "", data = "", id = "", retry;
  return (/** @type {Uint8Array} */ bytes) => {
    let text = decoder.decode(bytes, { stream: true });
    if (!text) return;
    if (afterCR && text[0] === "\n") text = text.slice(1); // the line has ended at the CR already
    afterCR = text.endsWith("\r");
    const lines = (rest + text).split(/\r\n|\r|\n/);
    rest = lines.pop();
    for (const line of lines) {
      const [, field, value] = /^([^:]*)(?::? ?)([^]*)$/.exec(line);
      if (!line) {
        take({ type: type || "message", data: data ? data.slice(0, -1) : null, id, retry });
        type = data = "";
        retry = undefined;
      } else if (field === "data") data += value + "\n";
      else if (field === "event") type = value;
      else if (field === "id" && !value.includes("\0")) id = value;
      else if (field === "retry" && /^\d+$/.test(value)) retry = Number(value);
    }
  };
}

// refusal says how an answer that is no stream ends the attempt; undefined when it is one.
async function refusal(response) {
  const { status, headers } = response, type = headers.get("Content-Type") ?? "";
  if (response.ok && type.startsWith("text/event-stream")) return;
  const said = type.includes("json") ? await response.json().catch(() => {}) : {};
  const problem = { title: response.ok ? "The answer is not an event stream" : response.statusText, ...said, status };
  if (status === 204 || (status >= 400 && status < 500 && status !== 408 && status !== 429)) return { final: true, problem };
  const wish = headers.get("Retry-After") ?? "0";
  const least = /^\d+$/.test(wish) ? wish * 1000 : Date.parse(wish) - Date.now();
  return { problem, reason: "refused", least: Math.min(Math.max(least || 0, 0), DAY) };
}

const failure = (problem) => Object.assign(new Error(problem.detail ?? problem.title), { problem });

const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

// An error of a callback is the page's and goes where the page's errors go. It must not end the stream.
function guarded(f) {
  const report = (e) => queueMicrotask(() => { throw e; });
  try {
    const result = f();
    return result?.then?.(undefined, report) ?? result;
  } catch (e) {
    report(e);
  }
}
