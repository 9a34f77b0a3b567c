// Walks through the demo's storefront in a real browser, as a customer does. What cannot be seen is checked, too: names for
// those who listen to the page, where the focus is, and that a resumed stream brings every event once.
// usage: node shop.mjs CHROMIUM STOREFRONT SERVER_PID PAYMENTS_PID WIDTH HEIGHT
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [executablePath, storefront, ...numbers] = process.argv.slice(2);
const [serverPid, paymentsPid, width, height] = numbers.map(Number);
const name = "ann";
const password = "correct horse";
const paid = ["Order taken", "Goods put aside", "Payment received", "Order confirmed"];
const declined = ["Order taken", "Goods put aside", "Payment declined", "Goods put back", "Order cancelled"];

// The demo's seed decides by the reference who is declined, and the page makes references of random bytes: with these,
// every order of a page is known. The stock EventSource is listened to beside the page, which hides repeats.
function prepare() {
  globalThis.nextByte = 1;
  crypto.getRandomValues = (bytes) => bytes.fill(globalThis.nextByte++);
  globalThis.received = [];
  globalThis.EventSource = class extends EventSource {
    constructor(url) {
      super(url);
      this.addEventListener("message", (m) => globalThis.received.push(m.lastEventId + " " + JSON.parse(m.data).type));
    }
  };
}

async function visit(browser) {
  const context = await browser.newContext({ viewport: { width, height }, locale: "en-GB" });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (e) => errors.push(String(e)));
  await page.addInitScript(prepare);
  const see = (where, text) => page.locator(where).filter({ hasText: text }).first().waitFor();
  const press = (button) => page.getByRole("button", { name: button, exact: true }).click();
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
  const fits = async (what) => {
    const [wide, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    assert.ok(wide <= shown, `${what} is ${wide} wide, the window ${shown}`);
  };
  const steps = (n) => page.locator(".order").nth(n).locator(".steps li").evaluateAll((l) => l.map((li) => li.lastChild.textContent));

  // A name that is taken, a password that is wrong, and the right one, with the keyboard alone.
  await page.goto(storefront);
  const [nameField, passwordField] = [page.getByRole("textbox", { name: "Name", exact: true }), page.getByLabel("Password", { exact: true })];
  await nameField.fill(name);
  await passwordField.fill(password);
  await press("Create account");
  await see("h1", "In the shop");
  assert.equal(await focused(), "goods-title", "the focus after the log-in");
  await press("Log out");
  await see("h1", "Come in");
  assert.equal(await page.evaluate(() => document.activeElement.name), "name", "the focus after the log-out");
  await page.keyboard.type(name);
  await page.keyboard.press("Tab");
  await page.keyboard.type("wrong " + password);
  await page.keyboard.press("Enter");
  await see("[role=alert]", "No account has this name and password.");
  await fits("the log-in");
  await page.keyboard.type(password); // the wrong one is selected
  await page.keyboard.press("Enter");
  await see("h1", "In the shop");

  // An empty basket cannot be ordered.
  const place = page.getByRole("button", { name: "Place order" });
  await see(".basket", "Nothing in it yet.");
  await see(".side", "You have not ordered yet.");
  assert.ok(await place.isDisabled(), "an empty basket can be ordered");
  await press("Add White metal lantern to the basket");
  await see("[role=status]", "White metal lantern: 1 in the basket, £3.39 in all");
  await press("One less of White metal lantern");
  await see(".basket", "Nothing in it yet.");
  assert.ok(await place.isDisabled(), "an emptied basket can be ordered");
  assert.equal(await focused(), "basket-title", "the focus after the last line went");

  // An order, watched while payments hangs and the server is killed.
  await press("Add White metal lantern to the basket");
  await press("Add Regency cake stand, three tiers to the basket");
  await page.getByRole("spinbutton", { name: "Quantity of White metal lantern" }).fill("3");
  await fits("the shop");
  process.kill(paymentsPid, "SIGSTOP");
  await place.click();
  await see(".order", "W-010101 · £22.92");
  await see(".order .state", "Reserved");
  assert.match(await focused(), /title/, "the focus after an order");
  await see("#live", /^live$/);
  await see(".basket", "Nothing in it yet.");
  process.kill(serverPid, "SIGKILL"); // the demo starts it again
  await see("#live", "connecting again");
  await see("#live", /^live$/);
  assert.deepEqual(await steps(0), paid.slice(0, 2));
  process.kill(paymentsPid, "SIGCONT");
  await see(".order .state", "Confirmed");
  assert.deepEqual(await steps(0), paid);
  await see("[role=status]", "W-010101: Order confirmed");
  await see(".inbox", "Your order W-010101 is confirmed: £22.92 paid.");
  const received = await page.evaluate(() => globalThis.received);
  assert.deepEqual(received.map((r) => r.split(" ")[1]), ["order.placed", "stock.reserved", "payment.processed", "order.confirmed"], "the stream, over the kill");
  assert.equal(new Set(received).size, received.length);
  await fits("an order");

  // Another one, which the bank declines.
  await page.evaluate(() => (globalThis.nextByte = 8));
  await press("Add Hand warmer, bird design to the basket");
  await place.click();
  await see(".order .state", "Cancelled");
  assert.deepEqual(await steps(0), declined);
  await see(".order .reason", "The bank declined the payment.");
  await see(".inbox", "You were not charged.");

  // It is all there after a reload, and nothing of it for the next customer.
  await page.reload();
  await see(".order", "W-010101");
  await see(".order", "W-080808");
  await see(".inbox", "W-010101");
  await press("Add White metal lantern to the basket");
  await press("Log out");
  await nameField.fill(name + "-2");
  await passwordField.fill(password);
  await press("Create account");
  await see(".side", "You have not ordered yet.");
  await see(".side", "No messages.");
  await see(".basket", "Nothing in it yet.");
  assert.deepEqual(errors, [], "errors of the page's script");
  await context.close();
}

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  await visit(browser);
} finally {
  await browser.close();
  process.kill(paymentsPid, "SIGCONT"); // a failure must not leave it hanging
}
