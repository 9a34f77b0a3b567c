// A server that a test plays by hand: it answers each request as the test says, as an event stream or over a WebSocket.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { eventually, Log } from "./page.mjs";

/** Listens until the test ends. requests logs every {url, headers, …}; answer, if set, is asked first and says whether it took one. */
export async function serve(t) {
  const requests = new Log(), sockets = new Set();
  const server = createServer((req, res) => {
    if (self.answer?.(req, res)) return requests.add(request(req, {}));
    res.writeHead(200, { "Content-Type": "text/event-stream" });
    res.flushHeaders();
    const gone = new Promise((resolve) => res.on("close", resolve));
    requests.add(request(req, {
      gone,
      write: (text) => res.write(text),
      event: (n) => res.write(`id: c${n}\ndata: {"n":${n}}\n\n`),
      end: () => res.end(),
    }));
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("upgrade", (req, socket) => {
    if (self.refuse) return requests.add(request(req, { refused: socket.end(self.refuse) }));
    const key = createHash("sha1").update(req.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${key}\r\nSec-WebSocket-Protocol: ${req.headers["sec-websocket-protocol"]}\r\n\r\n`);
    const frames = new Log(), send = (v) => socket.write(frame(1, Buffer.from(JSON.stringify(v))));
    const gone = new Promise((resolve) => socket.on("close", resolve));
    read(socket, (op, data) => (op === 8 ? socket.end(frame(8, data)) : op === 1 && frames.add(JSON.parse(data))));
    socket.on("error", () => {});
    requests.add(request(req, { frames, gone, send, event: (n) => send({ event: { n }, cursor: "c" + n }), end: () => socket.destroy() }));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    sockets.forEach((s) => s.destroy());
    return new Promise((resolve) => server.close(resolve));
  });
  const self = {
    requests,
    url: `http://127.0.0.1:${server.address().port}/orders/42/events`,
    /** The nth request, from 0. */
    request: (n) => eventually(() => requests.all[n], `request ${n}`),
  };
  return self;
}

const request = (req, more) => ({ headers: req.headers, query: Object.fromEntries(new URL(req.url, "http://x").searchParams), ...more });

const frame = (op, data) => Buffer.concat([
  data.length < 126 ? Buffer.of(0x80 | op, data.length) : Buffer.of(0x80 | op, 126, data.length >> 8, data.length & 255), data]);

// read calls back for each frame of a client; none is longer than 64 KiB or in pieces.
function read(socket, take) {
  let got = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    for (got = Buffer.concat([got, chunk]); got.length >= 2; ) {
      const long = (got[1] & 127) === 126, at = long ? 4 : 2;
      if (got.length < at + 4) return;
      const length = long ? got.readUInt16BE(2) : got[1] & 127, end = at + 4 + length;
      if (got.length < end) return;
      take(got[0] & 15, Buffer.from(got.subarray(at + 4, end).map((b, i) => b ^ got[at + (i % 4)])));
      got = got.subarray(end);
    }
  });
}
