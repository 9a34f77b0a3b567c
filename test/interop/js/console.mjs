// Uses the console in a real browser, on a desktop and a phone, in light and dark, with the keyboard, and without scripts. It says nothing on the browser's
// console, asks nobody but its server, is no wider than the window, and axe finds nothing serious on any screen.
// usage: node console.mjs CHROMIUM BASE TOKEN SCREENSHOTS
import assert from "node:assert/strict";
import { join } from "node:path";
import axe from "axe-core";
import { chromium } from "playwright-core";

const [executablePath, base, token, screenshots] = process.argv.slice(2);
const { flows } = await (await fetch(`${base}/v1/flows?type=order.job`, { headers: { Authorization: `Bearer ${token}` } })).json();
const screens = {
  overview: "/",
  flows: "/flows",
  "flows-none": "/flows?type=none&since=yesterday",
  flow: `/flows/${flows[0].id}`,
  "flow-of-many": "/flows?event=e5&source=%2Fshop",
  topics: "/topics",
  topic: "/topics/orders",
  event: "/topics/orders/event?id=e5&source=%2Fshop",
  subscriptions: "/subscriptions",
  subscription: "/subscriptions/stock?state=dead",
  "dead-letters": "/dead-letters",
  causes: "/dead-letters/stock",
  operations: "/operations?id=nothing",
  services: "/services",
  engine: "/engine",
  configuration: "/configuration",
  missing: "/nothing",
};

// wrong returns what nobody should meet on a page.
const wrong = () => {
  const found = [];
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth > clientWidth) found.push(`the page is ${scrollWidth} wide, the window ${clientWidth}`);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size < ids.length) found.push(`an id is there twice: ${ids.filter((id, i) => ids.indexOf(id) < i)}`);
  for (const e of document.querySelectorAll("main input:not([type=hidden], [hidden]), main select, main textarea")) if (e.labels.length === 0 && !e.getAttribute("aria-label")) found.push(`${e.name} has no label`);
  for (const e of document.querySelectorAll("main a, main button")) if (!e.textContent.trim()) found.push("a link or a button says nothing");
  if (document.querySelectorAll("h1").length !== 1) found.push("it has not one heading");
  for (const text of document.querySelectorAll(".drawing .node text")) {
    const [b, box] = [text.getBBox(), text.parentElement.querySelector("rect").getBBox()];
    if (b.x + b.width > box.x + box.width || b.y + b.height > box.y + box.height) found.push(`"${text.textContent}" is outside its box`);
  }
  for (const bar of document.querySelectorAll(".bars rect")) {
    const [b, box] = [bar.getBoundingClientRect(), bar.parentElement.getBoundingClientRect()];
    if (b.left < box.left - 1 || b.right > box.right + 4 || b.width < 1) found.push(`a bar of ${b.left} to ${b.right} is outside ${box.left} to ${box.right}`);
  }
  return found;
};

// barriers are what axe finds that keeps somebody from using a page.
async function barriers(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
  return violations.filter((v) => v.impact === "serious" || v.impact === "critical").flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 200)} ${n.failureSummary}`));
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"] });
const said = [], elsewhere = [];
async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (e) => said.push(String(e)));
  page.on("console", (m) => m.text().includes("404 (Not Found)") || said.push(`${page.url()}: ${m.text()}`));
  page.on("dialog", (d) => said.push(`a dialog: ${d.message()}`) && d.dismiss());
  page.on("request", (r) => r.url().startsWith(base + "/") || r.url().startsWith("data:") || elsewhere.push(r.url()));
  return page;
}
async function login(page, path) {
  await page.goto(base + path);
  await page.fill("#token", token);
  await page.keyboard.press("Enter");
  await page.waitForURL(base + path);
}

async function publish(subject) {
  const res = await fetch(`${base}/v1/topics/orders/events?type=live&source=/test&subject=${encodeURIComponent(subject)}`, {
    method: "POST", headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }, body: JSON.stringify({ html: "<img src=x onerror=alert(1)>\u202e" }),
  });
  assert.equal(res.status, 201);
}

try {
  for (const [device, width, height] of [["desktop", 1280, 800], ["phone", 390, 844]]) {
    const page = await open({ viewport: { width, height }, timezoneId: "America/New_York", locale: "en-GB", permissions: ["clipboard-read", "clipboard-write"] });
    await page.goto(base + "/");
    await page.screenshot({ path: join(screenshots, `console-${device}-light-login.png`) });
    await login(page, "/");
    for (const [name, path] of Object.entries(screens)) {
      await page.goto(base + path);
      assert.deepEqual(await page.evaluate(wrong), [], `${name} on a ${device}`);
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: join(screenshots, `console-${device}-${colorScheme}-${name}.png`), fullPage: colorScheme === "light" });
        if (device === "desktop") assert.deepEqual(await barriers(page), [], `${name}, ${colorScheme} on a ${device}`);
      }
    }
    await page.emulateMedia({ colorScheme: "light" });

    // Times are in the reader's zone, with UTC for who points at them.
    await page.goto(base + screens.event);
    const time = page.locator("main time").first();
    assert.equal(await time.getAttribute("title"), "2026-01-31 09:30:00 UTC");
    assert.match(await time.textContent(), /31\/01\/2026, 04:30:00/);

    // With the keyboard alone: to the content first.
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), "#main");

    // What is shown follows what happens, without loading the page again.
    await page.goto(base + "/subscriptions/report");
    await page.evaluate(() => (window.same = true));
    const other = await page.context().newPage();
    await other.goto(base + "/subscriptions/report");
    const was = await other.locator("#status .badge").textContent();
    const now = { hasText: was === "paused" ? "running" : "paused" };
    await other.getByRole("button", { name: was === "paused" ? "Resume" : "Pause" }).click();
    await other.locator("#status .badge", now).waitFor(); // else the request may end with the page
    await other.close();
    await page.locator("#status .badge", now).waitFor();
    assert.ok(await page.evaluate(() => window.same));

    // One step of a flow is unfolded, with what caused it and what it caused.
    await page.goto(base + screens.flow);
    await page.locator(".steps").getByRole("link", { name: "attempt 2" }).click();
    await page.locator("#node").getByRole("link", { name: "job.done" }).click();
    assert.match(await page.locator("#node pre").first().textContent(), /"left": 3/);
    await page.locator("#node summary").click();
    await page.locator("#node").getByRole("button", { name: "Copy" }).click();
    await page.locator("#node").getByText("Copied.").waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.equal(copied, await page.locator("#node code").first().textContent());
    assert.match(copied, /^curl -H "Authorization: Bearer \$TANDEM_TOKEN" -X POST/);
    assert.ok(!copied.includes(token));
    await page.screenshot({ path: join(screenshots, `console-${device}-light-flow-reply.png`), fullPage: true });

    // A page that did not change is not sent again, and new flows appear.
    await page.goto(base + "/flows?type=live");
    await page.waitForResponse((r) => r.status() === 304);
    await publish("new on a " + device);
    await page.locator("#flows tr", { hasText: "new on a " + device }).waitFor();

    // A topic is followed live.
    await page.goto(base + "/topics/orders?type=live");
    await page.getByRole("button", { name: "Follow live" }).click();
    await page.getByText("Following:").waitFor();
    await publish(device);
    const live = page.locator(".tail li", { hasText: device });
    await live.locator("summary").click();
    assert.match(await live.locator("pre").textContent(), /<img src=x onerror=alert\(1\)>\\u\{202e\}/);
    await page.getByRole("button", { name: "Stop" }).click();
    await page.screenshot({ path: join(screenshots, `console-${device}-light-tail.png`) });

    // What takes something away asks first.
    await page.goto(base + "/dead-letters/stock");
    await page.getByRole("button", { name: "Discard group…" }).first().click();
    assert.match(await page.locator("h1").textContent(), /^Discard [13] dead letters?\?$/);
    await page.screenshot({ path: join(screenshots, `console-${device}-light-discard.png`) });
    await page.getByRole("button", { name: "Discard", exact: true }).click();
    await page.getByRole("status").getByText("discarded").waitFor();
    await page.context().close();
  }

  // Without scripts everything is there to read, and to do.
  const plain = await open({ javaScriptEnabled: false });
  await login(plain, "/subscriptions/stock");
  for (const path of Object.values(screens)) {
    await plain.goto(base + path);
    assert.ok((await plain.locator("main").innerText()).length > 10, path);
  }
  await plain.goto(base + "/subscriptions/stock");
  await plain.getByRole("button", { name: "Move…" }).click();
  await plain.getByRole("button", { name: "Move it" }).click();
  await plain.getByRole("status").getByText("Moved").waitFor();
  await plain.goto(base + screens.flow);
  await plain.locator(".steps").getByRole("link", { name: "job.done" }).first().click();
  await plain.locator("#node summary").click();
  assert.match(await plain.locator("#node code").first().innerText(), /^curl .*\$TANDEM_TOKEN/);
  assert.equal(await plain.getByRole("button", { name: "Copy" }).count(), 0);

  assert.deepEqual(said, [], "the console of the browser");
  assert.deepEqual(elsewhere, [], "requests to others");
} finally {
  await browser.close();
}
