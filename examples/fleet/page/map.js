// The fleet's map. It reads one stream, of all positions, and draws where each vehicle is. Should the page be too slow for all of them, it is
// sent the latest of each vehicle: it draws those, and nothing else changes.

import { stream } from "/client.js";

const $ = (id) => document.getElementById(id);
const canvas = $("map"), pen = canvas.getContext("2d");
const calm = matchMedia("(prefers-reduced-motion: reduce)"), dark = matchMedia("(prefers-color-scheme: dark)");

const TRAIL = 12; // positions that are drawn of a vehicle
const GLIDE = 700; // ms in which a vehicle moves to a new position
const STALE = 60_000; // ms after which one that says nothing is drawn fainter
const KM = 111.32; // of a degree of latitude

// The vehicles. Places are longitude and Mercator's latitude, in degrees, so that the map is drawn without distortion.

const vehicles = new Map(); // by name
const mercator = (latitude) => (Math.log(Math.tan(Math.PI / 4 + (latitude * Math.PI) / 360)) * 180) / Math.PI;
const latitudeOf = (y) => (Math.atan(Math.exp((y * Math.PI) / 180)) * 360) / Math.PI - 90;

function take({ subject, data }) {
  const now = performance.now(), at = { x: data.longitude, y: mercator(data.latitude) };
  let v = vehicles.get(subject);
  if (!v) {
    v = { name: subject, trail: [], ...at };
    vehicles.set(subject, v);
    $("empty").hidden = true;
    legend(data.vendor);
  }
  if (data.n <= v.n) v.trail = []; // another trip
  const jumps = v.trail.length === 0 || calm.matches || document.hidden;
  Object.assign(v, { n: data.n, vendor: data.vendor, latitude: data.latitude, longitude: data.longitude, heard: now });
  v.from = jumps ? at : place(v, now); // of the glide
  v.trail.push(at);
  if (v.trail.length > TRAIL) v.trail.shift();
  v.moved = now;
  counted++;
  if (subject === chosen) describe();
  draw();
}

// place is where a vehicle is drawn at a time.
function place(v, now) {
  const to = v.trail.at(-1), t = Math.min(1, (now - v.moved) / GLIDE), k = t * (2 - t);
  return { x: v.from.x + (to.x - v.from.x) * k, y: v.from.y + (to.y - v.from.y) * k };
}

const vendors = new Set();
function legend(vendor) {
  if (vendors.has(vendor)) return;
  vendors.add(vendor);
  $("legend").replaceChildren(...[...vendors].sort((a, b) => a - b).map((n) => {
    const li = document.createElement("li");
    li.textContent = `vendor ${n}`;
    li.style.setProperty("--dot", `var(--vendor-${Math.abs(n) % 2})`);
    return li;
  }));
}

// What of the world is seen: a middle and how many pixels a degree has. Unless somebody moved it, it follows the vehicles.

const view = { x: 0, y: 0, scale: 0, free: false };
let width = 0, height = 0, fitted = 0;

function fit(now) {
  if (view.free || vehicles.size === 0) return;
  // Some may be far away: nearly all are in the middle of the page.
  const among = (k) => {
    const sorted = [...vehicles.values()].map((v) => v.trail.at(-1)[k]).sort((a, b) => a - b);
    return [sorted[Math.floor(sorted.length / 50)], sorted[Math.ceil((sorted.length * 49) / 50) - 1]];
  };
  const [west, east] = among("x"), [south, north] = among("y"), narrow = width < 480;
  const room = { top: narrow ? 190 : 70, side: narrow ? 30 : 70, bottom: 80 };
  const scale = Math.min((width - 2 * room.side) / Math.max(east - west, 0.01), (height - room.top - room.bottom) / Math.max(north - south, 0.01));
  const to = { x: (west + east) / 2, y: (south + north) / 2 + (room.top - room.bottom) / 2 / scale, scale };
  const k = view.scale && !calm.matches ? Math.min(1, (now - fitted) / 600) : 1;
  fitted = now;
  const off = Math.abs(to.x - view.x) * scale + Math.abs(to.y - view.y) * scale + Math.abs(Math.log(scale / (view.scale || 1))) * 400;
  for (const p in to) view[p] += (to[p] - view[p]) * k;
  if (off > 1) draw();
}

const screen = ({ x, y }) => [width / 2 + (x - view.x) * view.scale, height / 2 - (y - view.y) * view.scale];

function zoom(factor, px = width / 2, py = height / 2) {
  const before = view.scale;
  view.free = true;
  view.scale = Math.min(Math.max(before * factor, 100), 500_000);
  view.x += (px - width / 2) * (1 / before - 1 / view.scale);
  view.y -= (py - height / 2) * (1 / before - 1 / view.scale);
  changed();
}

function changed() {
  $("fit").disabled = !view.free;
  draw();
}

// Drawing, at most once a frame and only when something moved.

let waiting = false, colours;
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame((now) => {
    waiting = false;
    paint(now);
  });
}

function paint(now) {
  if (!colours) {
    const css = getComputedStyle(document.documentElement), of = (name) => css.getPropertyValue("--" + name).trim();
    colours = { grid: of("grid"), soft: of("soft"), ground: of("ground"), chosen: of("chosen"), vendors: [of("vendor-0"), of("vendor-1")] };
  }
  fit(now);
  pen.clearRect(0, 0, width, height);
  if (view.scale) grid();
  let moving = false;
  const at = new Map();
  pen.lineCap = pen.lineJoin = "round";
  for (const v of vehicles.values()) {
    if (now - v.moved < GLIDE) moving = true;
    const p = screen(place(v, now));
    at.set(v, p);
    if (p[0] < -200 || p[1] < -200 || p[0] > width + 200 || p[1] > height + 200) continue;
    trail(v, p, v.name === chosen);
  }
  for (const [v, [px, py]] of at) {
    pen.globalAlpha = now - v.heard > STALE ? 0.4 : 1;
    pen.fillStyle = colours.vendors[Math.abs(v.vendor) % 2];
    pen.beginPath();
    pen.arc(px, py, vehicles.size > 300 ? 2.6 : 4, 0, 7);
    pen.fill();
  }
  pen.globalAlpha = 1;
  const v = vehicles.get(chosen);
  if (v) {
    pen.strokeStyle = colours.chosen;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(...at.get(v), 10, 0, 7);
    pen.stroke();
  }
  if (moving) draw();
}

function trail(v, end, strong) {
  const points = v.trail.slice(0, -1);
  pen.strokeStyle = colours.vendors[Math.abs(v.vendor) % 2];
  pen.lineWidth = strong ? 3 : 1.5;
  let [px, py] = points.length ? screen(points[0]) : end;
  points.slice(1).map(screen).concat([end]).forEach(([qx, qy], i, all) => {
    pen.globalAlpha = ((i + 1) / all.length) * (strong ? 0.9 : 0.45);
    pen.beginPath();
    pen.moveTo(px, py);
    pen.lineTo(qx, qy);
    pen.stroke();
    [px, py] = [qx, qy];
  });
}

// grid draws meridians and parallels, and a scale.
function grid() {
  const step = [10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001].findLast((s) => s * view.scale > 110) ?? 10;
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  pen.globalAlpha = 1;
  pen.strokeStyle = colours.grid;
  pen.fillStyle = colours.soft;
  pen.lineWidth = 1;
  pen.font = "11px system-ui, sans-serif";
  const [west, east] = [view.x - width / 2 / view.scale, view.x + width / 2 / view.scale];
  const [south, north] = [latitudeOf(view.y - height / 2 / view.scale), latitudeOf(view.y + height / 2 / view.scale)];
  pen.beginPath();
  const label = (degrees, sides) => `${Math.abs(degrees).toFixed(digits)}° ${sides[+(degrees < 0)]}`;
  for (let n = Math.ceil(west / step); n * step < east; n++) {
    const [px] = screen({ x: n * step, y: view.y });
    pen.moveTo(px, 0);
    pen.lineTo(px, height);
    pen.fillText(label(n * step, "EW"), px + 4, height - 6);
  }
  for (let n = Math.ceil(south / step); n * step < north; n++) {
    const [, py] = screen({ x: view.x, y: mercator(n * step) });
    pen.moveTo(0, py);
    pen.lineTo(width, py);
    pen.fillText(label(n * step, "NS"), 4, py - 4);
  }
  pen.stroke();
  if (width < 480) return; // there is no room for a scale beside the header
  const perKm = view.scale / (KM * Math.cos((latitudeOf(view.y) * Math.PI) / 180));
  const km = [500, 200, 100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05].find((k) => k * perKm < 120) ?? 0.05;
  const [right, top] = [width - 16, 24];
  pen.strokeStyle = colours.soft;
  pen.beginPath();
  pen.moveTo(right - km * perKm, top - 4);
  pen.lineTo(right - km * perKm, top);
  pen.lineTo(right, top);
  pen.lineTo(right, top - 4);
  pen.stroke();
  pen.textAlign = "right";
  pen.fillText(km < 1 ? `${km * 1000} m` : `${km} km`, right, top + 14);
  pen.textAlign = "left";
}

// One vehicle, chosen by pointer or keyboard.

let chosen = null;
function choose(name) {
  chosen = name;
  $("chosen").hidden = name === null;
  if (name !== null) describe();
  draw();
}

function describe() {
  const v = vehicles.get(chosen);
  $("name").textContent = v.name;
  $("where").textContent = `${Math.abs(v.latitude).toFixed(5)}° ${v.latitude < 0 ? "S" : "N"}, ${Math.abs(v.longitude).toFixed(5)}° ${v.longitude < 0 ? "W" : "E"}`;
  $("when").textContent = `position ${v.n} · ${Math.round((performance.now() - v.heard) / 1000)} s ago`;
}

function step(by) {
  const names = [...vehicles.keys()].sort();
  if (names.length === 0) return;
  const i = names.indexOf(chosen);
  choose(names[i < 0 ? (by > 0 ? 0 : names.length - 1) : (i + by + names.length) % names.length]);
}

function nearest(px, py) {
  let best = null, distance = 24, now = performance.now();
  for (const v of vehicles.values()) {
    const [x, y] = screen(place(v, now)), d = Math.hypot(x - px, y - py);
    if (d < distance) [best, distance] = [v.name, d];
  }
  return best;
}

canvas.addEventListener("keydown", (e) => {
  const act = { ArrowRight: () => step(1), ArrowDown: () => step(1), ArrowLeft: () => step(-1), ArrowUp: () => step(-1),
    Escape: () => choose(null), "+": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: all }[e.key];
  if (!act || e.ctrlKey || e.metaKey || e.altKey) return;
  e.preventDefault();
  act();
});

const fingers = new Map(); // pointers that are down
let dragged = 0;
canvas.addEventListener("pointerdown", (e) => {
  canvas.setPointerCapture(e.pointerId);
  fingers.set(e.pointerId, [e.offsetX, e.offsetY]);
  if (fingers.size === 1) dragged = 0;
});
canvas.addEventListener("pointermove", (e) => {
  const before = fingers.get(e.pointerId);
  if (!before || !view.scale) return;
  const to = [e.offsetX, e.offsetY], other = [...fingers].find(([id]) => id !== e.pointerId)?.[1];
  dragged += Math.hypot(to[0] - before[0], to[1] - before[1]);
  fingers.set(e.pointerId, to);
  if (dragged < 5) return;
  if (other) { // two fingers
    zoom(Math.hypot(to[0] - other[0], to[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1])), ...other);
    return;
  }
  view.free = true;
  view.x -= (to[0] - before[0]) / view.scale;
  view.y += (to[1] - before[1]) / view.scale;
  changed();
});
canvas.addEventListener("pointerup", (e) => {
  if (fingers.delete(e.pointerId) && dragged < 5 && fingers.size === 0) choose(nearest(e.offsetX, e.offsetY));
});
canvas.addEventListener("pointercancel", (e) => fingers.delete(e.pointerId));
canvas.addEventListener("wheel", (e) => {
  e.preventDefault();
  if (view.scale) zoom(Math.exp(-e.deltaY / 500), e.offsetX, e.offsetY);
}, { passive: false });

function all() {
  view.free = false;
  changed();
}
$("in").addEventListener("click", () => zoom(1.5));
$("out").addEventListener("click", () => zoom(1 / 1.5));
$("fit").addEventListener("click", all);
$("leave").addEventListener("click", () => {
  choose(null);
  canvas.focus();
});

new ResizeObserver(() => {
  const dots = devicePixelRatio || 1;
  [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * dots, height * dots];
  pen.setTransform(dots, 0, 0, dots, 0, 0);
  paint(performance.now());
}).observe(canvas);
dark.addEventListener("change", () => {
  colours = null;
  draw();
});

// Once a second: the numbers, and what grows old. The first second has what was sent before the page was opened.
let counted = 0, rate = NaN;
setInterval(() => {
  rate = Number.isNaN(rate) ? 0 : rate === 0 ? counted : rate + (counted - rate) * 0.4;
  counted = 0;
  $("vehicles").textContent = vehicles.size.toLocaleString("en");
  $("rate").textContent = Math.round(rate).toLocaleString("en");
  if (chosen !== null) describe();
  draw();
}, 1000);

// The stream begins with the last positions, and goes on by itself after a break.
const said = { connecting: "connecting", open: "live", waiting: "connecting again", failed: "cannot be reached", closed: "closed" };
stream("/positions", {
  last: 1000,
  onevent: take,
  ongap: () => vehicles.forEach((v) => v.trail.splice(0, v.trail.length - 1)), // the way between is not known
  onstate: (state) => {
    $("live").textContent = said[state];
    $("live").classList.toggle("on", state === "open");
  },
});
