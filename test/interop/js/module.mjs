// The browser module in node, led by hand: it says by lines what happens, and does what lines tell it.
// usage: node --experimental-websocket module.mjs MODULE_URL STREAM_URL OPTIONS; in the options, hold keeps onevent waiting until it is told "done"
import { createInterface } from "node:readline";

const [at, url, text] = process.argv.slice(2);
const source = Buffer.from(await (await fetch(at)).arrayBuffer());
const { stream } = await import("data:text/javascript;base64," + source.toString("base64"));
const { hold, ...options } = JSON.parse(text);
const held = [], say = (...words) => console.log(words.join(" "));
const s = stream(url, {
  ...options,
  onevent(event, cursor) {
    say("event", event.data.n, event.subject, cursor);
    if (hold) return new Promise((resolve) => held.push(resolve));
  },
  ongap: (gap) => say("gap", gap.reason),
  onstate: (state, detail) => say("state", state, detail?.reason ?? detail?.status ?? ""),
});
const commands = {
  publish: (text) => s.publish(JSON.parse(text)).then(
    (r) => say("receipt", r.id, r.duplicate),
    (e) => say("refused", e.problem?.status ?? e.message, e.message)),
  done: () => held.shift()(),
  close: () => s.close(),
};
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [command, ...words] = line.split(" ");
    commands[command](words.join(" "));
  })
  .on("close", () => process.exit());
