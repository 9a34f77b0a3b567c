// Follows a topic: events appear as they are stored, the newest first.
import { localise } from "./live.js";

const rows = 200; // shown at most
const excerpt = 2000; // characters of the data

const box = document.querySelector("[data-tail]");
const [button, status, list] = [box.querySelector("button"), box.querySelector("[role=status]"), box.querySelector("ol")];
let source;

function element(name, text, className) {
  const e = document.createElement(name);
  e.textContent = text;
  if (className) e.className = className;
  return e;
}

// visible writes out what would not be seen, or would make text read otherwise than it is.
const visible = (s) => s.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (c) => (c === "\n" || c === "\t" ? c : `\\u{${c.codePointAt(0).toString(16)}}`));
const short = (s, n) => visible(s.length > n ? s.slice(0, n) + "…" : s);

function dataOf(event) {
  if ("data_base64" in event) return `binary, ${Math.floor((event.data_base64.length * 3) / 4)} bytes`;
  if (!("data" in event)) return "";
  return typeof event.data === "string" ? event.data : JSON.stringify(event.data);
}

function show(message) {
  let event;
  try {
    event = JSON.parse(message.data);
  } catch {
    return;
  }
  const item = document.createElement("li");
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const time = element("time", event.time ?? "");
  time.dateTime = event.time ?? "";
  summary.append(time, " ", element("b", short(String(event.type), 200)), " ", element("span", short(String(event.subject ?? ""), 200)));
  details.append(summary, element("pre", short(dataOf(event), excerpt), "data"));
  item.append(details);
  list.prepend(item);
  localise(item);
  while (list.children.length > rows) list.lastChild.remove();
}

function stop(text) {
  source?.close();
  source = undefined;
  button.setAttribute("aria-pressed", "false");
  button.textContent = "Follow live";
  status.textContent = text;
}

button.addEventListener("click", () => {
  if (source) return stop("Stopped.");
  source = new EventSource(box.dataset.tail);
  button.setAttribute("aria-pressed", "true");
  button.textContent = "Stop";
  status.textContent = "Connecting…";
  source.onopen = () => (status.textContent = "Following: events appear as they are stored.");
  source.onmessage = show;
  source.addEventListener("gap", () => (status.textContent = "Events were lost on the way: retention was faster."));
  source.onerror = () => (source.readyState === EventSource.CLOSED ? stop("The server ended the stream.") : (status.textContent = "Connecting again…"));
});
box.hidden = false;
