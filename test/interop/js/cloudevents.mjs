// The CloudEvents SDK for JavaScript.
// usage: node cloudevents.mjs publish URL     publishes an event in structured and one in binary mode; prints the status of each
//        node cloudevents.mjs receive         prints its URL, then each event that it gets in JSON, and answers with a reply event
import { createServer } from "node:http";
import { CloudEvent, emitterFor, httpTransport, HTTP, Mode } from "cloudevents";

const [verb, url] = process.argv.slice(2);
if (verb === "publish") {
  for (const mode of [Mode.STRUCTURED, Mode.BINARY]) {
    const emit = emitterFor(httpTransport(url), { mode });
    const event = new CloudEvent({
      id: mode,
      source: "https://example.com/sdk",
      type: "order.placed",
      subject: "42",
      time: "2026-11-21T07:00:00.000Z",
      region: "eu",
      data: { total: 12 },
    });
    console.log(mode, JSON.stringify(await emit(event)));
  }
} else {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      const event = HTTP.toEvent({ headers: request.headers, body });
      console.log(JSON.stringify(event));
      const reply = HTTP.binary(new CloudEvent({
        id: "r1",
        source: "https://example.com/stock",
        type: "stock.reserved",
        subject: event.subject,
        data: { ok: true },
      }));
      response.writeHead(200, reply.headers);
      response.end(reply.body);
    });
  });
  server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
}
