// Keeps a page up to date: parts marked data-live are asked for again with the page, and times are shown in the reader's zone. Where a topic
// can be followed, the module that does is loaded.
const every = 3000;
const share = 20; // a page that is costly to make is asked for once in so many times as long

export function localise(root) {
  for (const t of root.querySelectorAll("time[datetime]")) {
    if (t.title) continue;
    const at = new Date(t.dateTime);
    t.title = t.textContent;
    t.textContent = at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
  }
}

// busy says that somebody is in the middle of something there: text is selected, something has the focus, or was unfolded.
function busy(part) {
  const selection = getSelection();
  return part.contains(document.activeElement) || (!selection.isCollapsed && part.contains(selection.anchorNode)) || part.querySelector("details.touched") !== null;
}

let tag = ""; // of the page as it is shown

async function refresh() {
  const res = await fetch(location.href, { headers: { Accept: "text/html", "If-None-Match": tag } });
  if (res.status === 304) return;
  if (res.status === 401) return location.reload(); // the session is over
  if (!res.ok) throw new Error(res.statusText);
  const next = new DOMParser().parseFromString(await res.text(), "text/html");
  localise(next);
  tag = res.headers.get("ETag") ?? "";
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = next.getElementById(part.id);
    if (!now || now.innerHTML === part.innerHTML) continue;
    if (busy(part)) tag = ""; // it is still to be exchanged
    else part.innerHTML = now.innerHTML;
  }
}

localise(document);
document.documentElement.classList.add("scripts");
document.addEventListener("click", (e) => e.target.closest("summary")?.parentElement.classList.add("touched"));

// What a [data-copy] button copies is the code before it; where the browser does not let it, the code is selected.
document.addEventListener("click", async (e) => {
  const button = e.target.closest("[data-copy]");
  if (!button) return;
  const [code, status] = [button.closest("details").querySelector("code"), button.parentElement.querySelector("[role=status]")];
  try {
    await navigator.clipboard.writeText(code.textContent);
    status.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(code);
    status.textContent = "Selected: copy it with the keyboard.";
  }
});

const fresh = document.getElementById("fresh");
if (document.querySelector("[data-live]")) {
  let failures = 0;
  const loop = async () => {
    const began = performance.now();
    if (!document.hidden) {
      try {
        await refresh();
        failures = 0;
        fresh.textContent = "Live";
      } catch {
        failures++;
        fresh.textContent = "Not up to date: the server does not answer";
      }
    }
    setTimeout(loop, Math.max(every * Math.min(1 + failures, 10), share * (performance.now() - began)));
  };
  setTimeout(loop, every);
}
if (document.querySelector("[data-tail]")) import("./tail.js");
