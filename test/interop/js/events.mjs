// Reads a stream with the stock npm EventSource and prints one line "id subject" per event.
// usage: node events.mjs URL COUNT [LAST_EVENT_ID]
import { EventSource } from "eventsource";

setInterval(() => {}, 1000); // the wait before a reconnect does not keep the process alive
const [url, count, last] = process.argv.slice(2);
let left = Number(count);
const source = new EventSource(url, {
  fetch: (input, init) =>
    fetch(input, { ...init, headers: { ...init.headers, ...(last && !init.headers["Last-Event-ID"] ? { "Last-Event-ID": last } : {}) } }),
});
source.onmessage = (message) => {
  const event = JSON.parse(message.data);
  console.log(message.lastEventId, event.subject, event.data.n);
  if (--left === 0) {
    source.close();
    process.exit(0);
  }
};
source.onopen = () => console.error("open");
source.onerror = (event) => console.error("error", event.code ?? "", event.message ?? "");
