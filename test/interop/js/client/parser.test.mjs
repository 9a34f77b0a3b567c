import assert from "node:assert/strict";
import test from "node:test";
import { Browser } from "./page.mjs";

const { parser } = await new Browser().tab();

const text = "\uFEFFretry: 2000\nid: c0\n\n" + ": a comment\n\n" + "id: c1\ndata: one\n\n" + "data\ndata:  two, mit Ä und 😀\ndata:three:3\n\n" +
  "event: gap\nid: c2\ndata: {}\n\n" + "id: no\0no\nid\u00a0: no\nretry: 5s\nunknown: x\ndata:\n\n" + "event: lost\n\n" + "id\nretry:7\ndata: \u2028\n\n" +
  "event: never\ndata: ended";
const message = (data, id, type = "message", retry = undefined) => ({ type, data, id, retry });
const want = [message(null, "c0", "message", 2000), message(null, "c0"), message("one", "c1"), message("\n two, mit Ä und 😀\nthree:3", "c1"),
  message("{}", "c2", "gap"), message("", "c2"), message(null, "c2", "lost"), message("\u2028", "", "message", 7)];

for (const [name, end] of [["LF", "\n"], ["CR", "\r"], ["CRLF", "\r\n"]]) {
  const bytes = Buffer.from(text.replaceAll("\n", end)), parse = (...pieces) => {
    const got = [];
    const push = parser((m) => got.push(m));
    pieces.forEach((p) => push(p));
    return got;
  };
  test(`an event stream with ${name}, cut at any byte`, () => {
    assert.deepEqual(parse(bytes), want);
    for (let i = 0; i <= bytes.length; i++) assert.deepEqual(parse(bytes.subarray(0, i), bytes.subarray(i)), want, `cut at ${i}`);
    assert.deepEqual(parse(...Array.from(bytes, (b) => Buffer.of(b))), want);
  });
}

test("a message is there with the CR that ends it", () => {
  const got = [];
  const push = parser((m) => got.push(m.data));
  push(Buffer.from("data: 1\r\r"));
  assert.deepEqual(got, ["1"]);
  push(Buffer.from("\ndata: 2\n\r"));
  assert.deepEqual(got, ["1", "2"]);
  push(Buffer.from("\r\n"));
  assert.deepEqual(got, ["1", "2", null]);
});
