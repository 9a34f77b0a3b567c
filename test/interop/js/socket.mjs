// A WebSocket of the npm package ws, with its defaults, so that it offers permessage-deflate. It says by lines what happens, and does
// what lines tell it.
// usage: node socket.mjs URL [PROTOCOL [ORIGIN]]
import { createInterface } from "node:readline";
import WebSocket from "ws";

const [url, protocol, origin] = process.argv.slice(2);
const socket = new WebSocket(url.replace("http", "ws"), protocol ? protocol.split(",") : [], { origin });
const say = (...words) => console.log(words.join(" "));
socket.on("open", () => say("open", socket.protocol || "-", socket.extensions || "-"));
socket.on("message", (data, binary) => say(binary ? "binary" : "message", data));
socket.on("ping", () => say("ping")); // which ws answers
socket.on("pong", (data) => say("pong", data));
socket.on("close", (code, reason) => say("close", code, reason));
socket.on("error", (e) => console.error("error", e.message));
socket.on("unexpected-response", async (request, response) => {
  let body = "";
  for await (const chunk of response) body += chunk;
  say("refused", response.statusCode, body);
});

const commands = {
  send: (...words) => socket.send(words.join(" ")),
  large: (size) => socket.send("x".repeat(size)),
  parts(...words) {
    const text = words.join(" "), middle = text.length >> 1;
    socket.send(text.slice(0, middle), { fin: false });
    socket.ping("between");
    socket.send(text.slice(middle), { fin: true });
  },
  binary: (...words) => socket.send(Buffer.from(words.join(" "))),
  latin1: (text) => socket.send(Buffer.from(text, "latin1"), { binary: false }),
  raw: (hex) => socket._socket.write(Buffer.from(hex, "hex")),
  ping: (text) => socket.ping(text),
  close: (code, ...reason) => socket.close(code && Number(code), reason.join(" ")),
  pause: () => socket.pause(),
  resume: () => socket.resume(),
};
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [command, ...words] = line.split(" ");
    commands[command](...words);
  })
  .on("close", () => process.exit());
