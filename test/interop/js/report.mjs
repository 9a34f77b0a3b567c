// Looks at the page of `tandem compare` in a real browser, from the disk: on a desktop and a phone, in light and dark, and as it is printed. It loads
// nothing, says nothing on the console, is no wider than the window, and no text of a plot is cut off or covers another.
// usage: node report.mjs CHROMIUM PAGE SCREENSHOTS
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [executablePath, file, screenshots] = process.argv.slice(2);
const url = pathToFileURL(file).href;
const name = basename(file, ".html");

// wrong returns what nobody should see, of all that is unfolded.
const wrong = () => {
  const found = [];
  const shown = document.documentElement;
  if (shown.scrollWidth > shown.clientWidth) found.push(`the page is ${shown.scrollWidth} wide, the window ${shown.clientWidth}`);
  if (document.scripts.length > 0) found.push("there are scripts");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size < ids.length) found.push("an id is there twice");
  for (const e of document.querySelectorAll("[aria-labelledby]"))
    for (const id of e.getAttribute("aria-labelledby").split(" ")) if (!document.getElementById(id)?.textContent) found.push(`${id} labels, and says nothing`);
  for (const plot of document.querySelectorAll("svg.plot")) {
    const { width, height } = plot.viewBox.baseVal;
    const boxes = [];
    for (const text of plot.querySelectorAll("text")) {
      const b = text.getBBox();
      if (b.width === 0) continue; // folded
      if (b.x < 0 || b.y < 0 || b.x + b.width > width || b.y + b.height > height) found.push(`${plot.id}: "${text.textContent}" is cut off`);
      for (const [other, o] of boxes)
        if (b.x < o.x + o.width && o.x < b.x + b.width && b.y + 2 < o.y + o.height && o.y + 2 < b.y + b.height) found.push(`"${text.textContent}" covers "${other}"`);
      boxes.push([text.textContent, b]);
    }
  }
  return found;
};

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"] });
try {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(60_000);
  const said = [], asked = [];
  page.on("pageerror", (e) => said.push(String(e)));
  page.on("console", (m) => said.push(m.text()));
  page.on("request", (r) => asked.push(r.url()));
  for (const [device, width, height] of [["desktop", 1280, 800], ["phone", 390, 844]]) {
    await page.setViewportSize({ width, height });
    await page.goto(url);
    assert.deepEqual(await page.evaluate(wrong), [], device);
    const shoot = async (part) => {
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: join(screenshots, `${name}-${device}-${colorScheme}-${part}.png`) });
      }
    };
    await shoot("answer");

    // With the keyboard alone: the first stop leads to the answer, and a condition is folded and unfolded.
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), "#answer");
    const first = page.locator("details").first();
    const open = await first.evaluate((d) => d.open);
    await first.locator("summary").first().focus();
    await page.keyboard.press("Enter");
    assert.equal(await first.evaluate((d) => d.open), !open, "Enter on a condition");
    await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
    assert.deepEqual(await page.evaluate(wrong), [], `${device}, unfolded`);
    await first.evaluate((d) => d.scrollIntoView());
    await shoot("plots");
  }
  assert.deepEqual(said, [], "the console");
  assert.deepEqual(asked, [url, url], "what was loaded");
  await page.pdf({ path: join(screenshots, `${name}.pdf`), format: "A4" });
} finally {
  await browser.close();
}
