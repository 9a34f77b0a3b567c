// Verifies a webhook with the npm library standardwebhooks. stdin: {"secret","headers","body"}; exit status 1 if refused.
import { Webhook } from "standardwebhooks";

let text = "";
for await (const chunk of process.stdin) text += chunk;
const { secret, headers, body } = JSON.parse(text);
const event = new Webhook(secret).verify(body, headers);
console.log(event.id);
