// Verifies a webhook with the npm library standardwebhooks or svix. stdin: {"library","secret","headers","body"}; exit status 1
// if refused.
let text = "";
for await (const chunk of process.stdin) text += chunk;
const { library, secret, headers, body } = JSON.parse(text);
const { Webhook } = await import(library);
new Webhook(secret).verify(body, headers);
