// Keeps a page up to date: parts marked data-live are asked for again with the page, and times are shown in the reader's zone. Where a topic
// can be followed, the module that does is loaded.
const every = 3000;

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

async function refresh() {
  const res = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (res.status === 401) return location.reload(); // the session is over
  if (!res.ok) throw new Error(res.statusText);
  const next = new DOMParser().parseFromString(await res.text(), "text/html");
  localise(next);
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = next.getElementById(part.id);
    if (now && !busy(part) && now.innerHTML !== part.innerHTML) part.innerHTML = now.innerHTML;
  }
}

localise(document);
document.addEventListener("click", (e) => e.target.closest("summary")?.parentElement.classList.add("touched"));

const fresh = document.getElementById("fresh");
if (document.querySelector("[data-live]")) {
  let failures = 0;
  const loop = async () => {
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
    setTimeout(loop, every * Math.min(1 + failures, 10));
  };
  setTimeout(loop, every);
}
if (document.querySelector("[data-tail]")) import("./tail.js");
