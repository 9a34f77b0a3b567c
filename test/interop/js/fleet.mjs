// Looks at the fleet's map in a real browser: all vehicles are drawn and move, in light and dark, one is chosen by keyboard and pointer, and a kill of
// the server is no more than a pause.
// usage: node fleet.mjs CHROMIUM MAP SERVER_PID WIDTH HEIGHT
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [executablePath, map, ...numbers] = process.argv.slice(2);
const [serverPid, width, height] = numbers.map(Number);

// drawn tells whether more than so many pixels of the map have a colour of a vendor.
const drawn = (min) => {
  const canvas = document.getElementById("map"), css = getComputedStyle(document.documentElement);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const vendors = [0, 1].map((n) => css.getPropertyValue("--vendor-" + n).trim().match(/\w\w/g).map((h) => parseInt(h, 16)));
  let n = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255 && vendors.some((v) => v.every((c, k) => data[i + k] === c))) n++;
  return n > min;
};

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"] });
try {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: "light" });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (e) => errors.push(String(e)));
  const see = (where, text) => page.locator(where).filter({ hasText: text }).first().waitFor();
  const position = async () => Number((await page.locator("#when").textContent()).match(/position (\d+)/)[1]);
  const until = (fn, arg) => page.waitForFunction(fn, arg);

  await page.goto(map);
  await see("#live", /^live$/);
  await see("#vehicles", /^20$/);
  await until(() => Number(document.getElementById("rate").textContent) > 10);
  await see("#legend", "vendor 0");
  assert.ok(await page.locator("#empty").isHidden(), "the page says that there are no vehicles");
  // A dot has about 50 pixels; some may lie under others.
  await until(drawn, 400);
  await page.emulateMedia({ colorScheme: "dark" });
  await until(drawn, 400);
  const [wide, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= shown, `the page is ${wide} wide, the window ${shown}`);

  // One vehicle, followed over a kill of the server.
  await page.locator("#map").focus();
  await page.keyboard.press("ArrowRight");
  await see("#name", /^v0001$/);
  await page.keyboard.press("ArrowLeft");
  await see("#name", /^v0020$/);
  const before = await position();
  process.kill(serverPid, "SIGKILL"); // the demo starts it again
  await see("#live", "connecting again");
  await see("#live", /^live$/);
  await until((n) => Number(document.getElementById("when").textContent.match(/position (\d+)/)[1]) > n, before + 5);

  // The map is moved by hand, and shows all again. A click beside vehicles chooses none.
  const fit = page.getByRole("button", { name: "Show all vehicles" });
  assert.ok(await fit.isDisabled());
  await page.getByRole("button", { name: "Zoom in" }).click();
  await fit.click();
  assert.ok(await fit.isDisabled());
  await page.getByRole("button", { name: "Leave the vehicle" }).click();
  assert.ok(await page.locator("#chosen").isHidden());
  assert.equal(await page.evaluate(() => document.activeElement.id), "map", "the focus after the vehicle was left");
  assert.deepEqual(errors, [], "errors of the page's script");
} finally {
  await browser.close();
}
