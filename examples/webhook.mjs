// Receives events in Node 18 or newer, with nothing to install: verifies the signature, takes each event once, prints it.
//
//   WEBHOOK_SECRET=whsec_… PORT=9000 node examples/webhook.mjs
//
// The scheme is Standard Webhooks. While a secret is exchanged, WEBHOOK_SECRET may hold both, with a blank between them.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secrets = (process.env.WEBHOOK_SECRET ?? "").split(" ").filter(Boolean);
const keys = secrets.map((secret) => Buffer.from(secret.replace(/^whsec_/, ""), "base64"));
if (keys.length === 0) throw new Error("WEBHOOK_SECRET is not set; accepted: whsec_ and base64");

const TOLERANCE = 5 * 60; // seconds: an old message that somebody recorded is worth nothing
const LARGEST = 1 << 20;
const known = new Set(); // a real backend keeps the ids in its database, in the transaction that acts on the event

/** Whether the message is from who knows a secret, unchanged, and from now. `body` is what came, byte for byte. */
function isGenuine({ id, timestamp, signatures }, body) {
  const age = Math.abs(Date.now() / 1000 - Number(timestamp)); // no number at all is not "<=" anything
  if (!id || !(age <= TOLERANCE)) return false;
  const given = signatures.split(" ").filter((one) => one.startsWith("v1,")).map((one) => Buffer.from(one.slice(3), "base64"));
  return keys.some((key) => {
    const right = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
    return given.some((one) => one.length === right.length && timingSafeEqual(one, right));
  });
}

async function read(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > LARGEST) throw new Error("too large");
    parts.push(part);
  }
  return Buffer.concat(parts);
}

const server = createServer(async (request, response) => {
  try {
    const body = await read(request);
    const id = request.headers["webhook-id"];
    const timestamp = request.headers["webhook-timestamp"];
    const signatures = request.headers["webhook-signature"] ?? "";
    if (!isGenuine({ id, timestamp, signatures }, body)) return void response.writeHead(401).end();
    if (!known.has(id)) {
      const event = JSON.parse(body); // only now: what nobody signed is not even parsed
      console.log(`${event.name} ${event.conversionId ?? ""}`.trim());
      known.add(id);
    }
    response.writeHead(204).end(); // whatever else is answered, it will be sent again
  } catch {
    response.writeHead(400).end();
  }
});
server.listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
