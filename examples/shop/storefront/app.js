// The storefront. It speaks to the shop's public routes only, and learns how an order moves from the events that are
// pushed to it.

const $ = (id) => document.getElementById(id);
const pounds = (pence) => new Intl.NumberFormat("en-GB", { style: "currency", currency: "GBP" }).format(pence / 100);

const pictures = {
  heart: "M12 20 4 12a4.6 4.6 0 0 1 8-5 4.6 4.6 0 0 1 8 5z M12 7V2",
  lantern: "M8 8h8l1 11H7z M9 8a3 3 0 0 1 6 0 M12 5V2 M6 21h12 M12 12v4",
  hanger: "M12 10 3 17h18z M12 10V8a2 2 0 1 0-2-2",
  cake: "M8.5 6h7c0 2-7 2-7 0z M6 11h12c0 2.5-12 2.5-12 0z M3.5 16.5h17c0 3-17 3-17 0z M12 3v3 M12 7.5V11 M12 13v3.5 M12 19v2.5 M8.5 21.5h7",
  bird: "M4 14c0-5 4-7 7-7h3a3 3 0 0 1 3 3l3 1-3 1c0 5-4 7-8 7-3 0-5-2-5-5z M14 9.5v.1 M10 19v2 M13 19v2",
  box: "M4 8h16v12H4z M4 8l2-4h12l2 4 M12 4v4 M9 13h6",
  mitten: "M7 21V10a4 4 0 0 1 8 0v2l2-1.500a2 2 0 0 1 2 3l-4 4V21z M7 17h8",
  house: "M4 11 12 4l8 7v9H4z M10 20v-6h4v6",
};

// What an event tells the customer: text, how far the order is (of 3), and whether it has ended.
const steps = {
  "order.placed": { text: "Order taken", state: "Placed", far: 1 },
  "stock.reserved": { text: "Goods put aside", state: "Reserved", far: 2 },
  "stock.short": { text: "Out of stock", state: "Short", far: 2 },
  "payment.processed": { text: "Payment received", state: "Paid", far: 3 },
  "payment.declined": { text: "Payment declined", state: "Declined", far: 3 },
  "stock.released": { text: "Goods put back", state: "Declined", far: 3 },
  "stock.returned": { text: "Goods came in", state: "Restocked", far: 2 },
  "payment.credited": { text: "Money credited", state: "Credited", far: 3 },
  "order.confirmed": { text: "Order confirmed", state: "Confirmed", far: 3, end: "good" },
  "order.cancelled": { text: "Order cancelled", state: "Cancelled", far: 3, end: "bad" },
  "order.returned": { text: "Return settled", state: "Returned", far: 3, end: "good" },
};
const finals = { confirmed: "order.confirmed", cancelled: "order.cancelled", returned: "order.returned" };

async function call(method, path, body, headers = {}) {
  const res = await fetch(path, {
    method,
    headers: body ? { "Content-Type": "application/json", ...headers } : headers,
    body: body && JSON.stringify(body),
  }).catch(() => { throw new Error("The shop cannot be reached at the moment. Try again"); });
  const json = await res.json().catch(() => ({}));
  if (!res.ok) throw Object.assign(new Error(json.detail || json.title || `The shop answered ${res.status}.`), { status: res.status });
  return json;
}

// The shop's texts are half sentences.
const sentence = (text) => text && text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

// say tells those who cannot see what changed.
const say = (text) => ($("said").textContent = text);

// Who is here.

let visit = 0; // counts who comes and goes: an answer to who was here before is nobody's

async function enter() {
  try {
    show((await call("GET", "/session")).name);
  } catch (e) {
    show(null);
    if (e.status !== 401) $("login-error").textContent = sentence(e.message);
  }
}

function show(name) {
  visit++;
  basket.clear();
  pending = null;
  drawBasket();
  $("place-error").textContent = "";
  $("welcome").hidden = name !== null;
  $("shop").hidden = $("who").hidden = name === null;
  $("name").textContent = name ?? "";
  orders.clear();
  inbox.draw([]);
  if (name === null) {
    $("login").elements.name.focus();
  } else {
    $("goods-title").focus();
    orders.load();
    inbox.load();
  }
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target, target = event.submitter?.value ?? "session";
  const buttons = form.querySelectorAll("button");
  $("login-error").textContent = "";
  buttons.forEach((b) => (b.disabled = true));
  try {
    const { name } = await call("POST", "/" + target, { name: form.elements.name.value, password: form.elements.password.value });
    form.reset();
    show(name);
  } catch (e) {
    $("login-error").textContent = sentence(e.message);
    form.elements.password.select();
  } finally {
    buttons.forEach((b) => (b.disabled = false));
  }
});

$("logout").addEventListener("click", async () => {
  try {
    await call("DELETE", "/session");
    show(null);
  } catch (e) {
    failed(e, "place-error");
  }
});

// failed shows an error where the customer has just been, or asks for the log-in that has run out.
function failed(e, where) {
  if (e.status === 401) {
    show(null);
    where = "login-error";
  }
  $(where).textContent = sentence(e.message);
}

// What is for sale, and the basket.

const products = new Map();
const basket = new Map(); // code -> quantity
let pending = null; // the order that the customer means, under one key until the shop has answered

async function loadProducts() {
  for (const p of await call("GET", "/assets/products.json")) {
    products.set(p.code, p);
    const li = $("good").content.cloneNode(true).firstElementChild;
    li.style.setProperty("--tint", p.tint);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", pictures[p.picture]);
    svg.append(path);
    li.querySelector(".pic").append(svg);
    li.querySelector("h3").textContent = p.name;
    li.querySelector(".price").textContent = pounds(p.pence);
    const add = li.querySelector("button");
    add.setAttribute("aria-label", "Add " + p.name + " to the basket");
    add.addEventListener("click", () => {
      put(p.code, (basket.get(p.code) ?? 0) + 1);
      say(`${p.name}: ${basket.get(p.code)} in the basket, ${$("total-amount").textContent} in all`);
    });
    $("goods").append(li);
  }
}

function put(code, quantity) {
  if (quantity > 0) basket.set(code, Math.min(Math.floor(quantity), 100000));
  else basket.delete(code);
  drawBasket();
}

function drawBasket() {
  let total = 0;
  const focused = document.activeElement?.dataset?.focus;
  $("basket").replaceChildren(...[...basket].map(([code, quantity]) => {
    const p = products.get(code), li = $("line").content.cloneNode(true).firstElementChild;
    total += quantity * p.pence;
    li.querySelector(".what").textContent = p.name;
    li.querySelector(".sum").textContent = pounds(quantity * p.pence);
    const [less, more, input] = [li.querySelector(".less"), li.querySelector(".more"), li.querySelector("input")];
    const wire = (el, label, kind) => { el.setAttribute("aria-label", label + " " + p.name); el.dataset.focus = kind + code; };
    wire(less, "One less of", "less");
    wire(more, "One more of", "more");
    wire(input, "Quantity of", "count");
    input.value = quantity;
    less.addEventListener("click", () => put(code, quantity - 1));
    more.addEventListener("click", () => put(code, quantity + 1));
    input.addEventListener("change", () => put(code, Number(input.value) || 0));
    return li;
  }));
  // The line that had the focus is a new one, or gone.
  if (focused) (document.querySelector(`[data-focus="${CSS.escape(focused)}"]`) ?? $("basket-title")).focus();
  $("basket-empty").hidden = basket.size > 0;
  $("place").disabled = basket.size === 0;
  $("total").hidden = basket.size === 0;
  $("total-amount").textContent = pounds(total);
  $("go").hidden = basket.size === 0;
  $("go").textContent = `Basket · ${pounds(total)}`;
}

$("place").addEventListener("click", async () => {
  const lines = [...basket].map(([code, quantity]) => {
    const p = products.get(code);
    return { code, description: p.name, quantity, unitPricePence: p.pence };
  });
  const text = JSON.stringify(lines);
  if (pending?.text !== text) {
    const key = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
    pending = { text, key, reference: "W-" + key.slice(0, 6).toUpperCase() };
  }
  $("place").disabled = true;
  $("place-error").textContent = "";
  try {
    const order = await call("POST", "/orders", { reference: pending.reference, lines }, { "Idempotency-Key": pending.key });
    pending = null;
    basket.clear();
    drawBasket();
    orders.add(order, true).title.focus();
  } catch (e) {
    drawBasket();
    $("place").focus();
    failed(e, "place-error");
  }
});

// How the orders move.

// A browser has six connections for a host over HTTP/1.1: streams must leave some.
const maxStreams = 3;

class Order {
  constructor(order) {
    this.id = order.id;
    this.seen = new Set();
    this.gone = false; // nobody looks at it any more
    this.el = $("order").content.cloneNode(true).firstElementChild;
    const first = order.lines[0], more = order.lines.length - 1;
    this.name = order.reference || "Order";
    this.title = this.el.querySelector(".title");
    this.title.textContent = `${this.name} · ${pounds(order.totalPence)}`;
    this.el.querySelector(".what").textContent = `${first.quantity} × ${first.description || first.code}` + (more ? ` and ${more} more` : "");
    this.state(steps["order." + order.status] ?? { state: order.status[0].toUpperCase() + order.status.slice(1), far: 1, end: order.status === "failed" && "bad" });
    this.reason(order.reason);
    this.ended = order.status in finals || order.status === "failed";
  }
  state(step) {
    this.el.querySelector(".state").textContent = step.state;
    this.el.classList.toggle("done-good", step.end === "good");
    this.el.classList.toggle("done-bad", step.end === "bad");
    this.el.querySelectorAll(".track li").forEach((li, i) => li.classList.toggle("on", i < step.far));
  }
  reason(text) {
    if (text) this.el.querySelector(".reason").textContent = sentence(text);
  }
  // follow opens the stream of this order from its first event on; the browser resumes it after a break by itself.
  follow() {
    if (this.stream || this.gone) return;
    const from = this.cursor ? "cursor=" + encodeURIComponent(this.cursor) : "from=earliest";
    this.stream = new EventSource(`/orders/${encodeURIComponent(this.id)}/events?${from}`);
    this.stream.onopen = () => orders.drawLive();
    this.stream.onmessage = (m) => {
      this.cursor = m.lastEventId;
      this.take(JSON.parse(m.data));
    };
    this.stream.onerror = () => {
      orders.drawLive();
      // After an answer that is not a stream, as from a proxy while the shop restarts, the browser gives up. We do not.
      if (this.stream?.readyState === EventSource.CLOSED) {
        this.stream = null;
        this.timer = setTimeout(() => this.again(), 1500);
      }
    };
  }
  // again opens the stream once more, if the customer may still see the order.
  async again() {
    const mine = visit;
    try {
      await call("GET", "/orders/" + encodeURIComponent(this.id));
    } catch (e) {
      if (mine === visit && e.status === 401) return failed(e);
    }
    if (mine === visit) this.follow();
  }
  close() {
    clearTimeout(this.timer);
    this.stream?.close();
    this.stream = null;
    orders.drawLive();
  }
  take(event) {
    const step = steps[event.type];
    if (!step || this.seen.has(event.id)) return;
    this.seen.add(event.id);
    this.state(step);
    this.reason(step.end === "bad" || event.type === "payment.declined" ? event.data?.reason : "");
    const li = document.createElement("li"), time = document.createElement("time");
    const at = event.time ? new Date(event.time) : new Date();
    time.dateTime = at.toISOString();
    time.textContent = at.toLocaleTimeString("en-GB");
    li.append(time, step.text);
    this.el.querySelector(".steps").append(li);
    if (this.aloud) say(`${this.name}: ${step.text}`);
    if (step.end) {
      this.ended = true;
      this.close();
      orders.followSome();
      inbox.expect(this.id, event.type);
    }
  }
}

const orders = {
  all: [],
  clear() {
    this.all.forEach((o) => { o.gone = true; o.close(); });
    this.all = [];
    this.draw();
  },
  async load() {
    const mine = visit;
    try {
      const list = (await call("GET", "/orders")).orders.slice(0, 10);
      if (mine !== visit) return;
      list.reverse().forEach((o) => this.add(o, false));
      this.all[0]?.follow(); // the newest one shows its steps
    } catch (e) {
      if (mine === visit) failed(e, "place-error");
    }
  },
  add(order, follow) {
    const there = this.all.find((o) => o.id === order.id);
    if (there) return there;
    const o = new Order(order);
    o.aloud = !o.ended;
    this.all.unshift(o);
    this.all.splice(20).forEach((old) => { old.gone = true; old.close(); });
    this.draw();
    if (follow) o.follow();
    this.followSome();
    return o;
  },
  followSome() {
    const open = this.all.filter((o) => o.stream).length;
    this.all.filter((o) => !o.ended && !o.stream).slice(0, Math.max(0, maxStreams - open)).forEach((o) => o.follow());
  },
  draw() {
    $("orders").replaceChildren(...this.all.map((o) => o.el));
    $("orders-empty").hidden = this.all.length > 0;
    this.drawLive();
  },
  drawLive() {
    const streams = this.all.filter((o) => o.stream || !o.ended);
    const broken = streams.some((o) => o.stream?.readyState !== EventSource.OPEN);
    $("live").textContent = streams.length === 0 ? "" : broken ? "connecting again" : "live";
    $("live").classList.toggle("off", broken);
  },
};

const inbox = {
  // expect looks for the message about an event, which is written after the event was shown.
  async expect(order, type) {
    const mine = visit;
    for (let wait = 300; wait < 20000; wait *= 2) {
      await new Promise((done) => setTimeout(done, wait));
      if (mine !== visit || (await this.load()).some((m) => m.order === order && m.type === type)) return;
    }
  },
  async load() {
    const mine = visit;
    const messages = await call("GET", "/inbox").then((a) => a.messages, () => null);
    if (messages && mine === visit) this.draw(messages);
    return messages ?? [];
  },
  draw(messages) {
    $("inbox-empty").hidden = messages.length > 0;
    $("inbox").replaceChildren(...messages.slice(0, 6).map((m) => {
      const li = document.createElement("li");
      li.textContent = m.text;
      li.className = { "order.confirmed": "good-news", "order.returned": "good-news", "order.cancelled": "bad-news" }[m.type] ?? "";
      return li;
    }));
  },
};

drawBasket();
await loadProducts();
await enter();
