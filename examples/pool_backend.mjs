// A pool's payout job in Node 18 or newer, with nothing to install: convert what was mined into what a miner asked for.
//
//   make up                              in another terminal, or: converter up --sandbox --api-port 8080
//   node examples/pool_backend.mjs
//
// CONVERTER_URL says where the API is, CONVERTER_TOKEN is shown to one that asks for it.

const api = process.env.CONVERTER_URL ?? "http://127.0.0.1:8080";
const token = process.env.CONVERTER_TOKEN;

// Amounts are text: a number of JavaScript cannot hold 18 decimals.
const payouts = [
  { key: "payout-2026-11-24-worker-17", amount: "1.5", address: "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh" },
  { key: "payout-2026-11-24-worker-19", amount: "0.25", address: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4" },
];

const ended = new Set(["COMPLETED", "FAILED", "CANCELLED", "EXPIRED", "NEEDS_REVIEW"]);
const later = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Ask, and ask again while the server is away, full or at work on the same key: none of it converts anything twice. */
async function ask(path, options = {}, tries = 8) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  for (let left = tries; ; left -= 1) {
    let pause = 1;
    try {
      const answer = await fetch(api + path, { ...options, headers, signal: AbortSignal.timeout(30_000) });
      const content = await answer.json();
      if (answer.ok) return content;
      const again = answer.status >= 500 || answer.status === 409 || answer.status === 429;
      if (!again || left <= 1) throw Object.assign(new Error(content.detail), { problem: content });
      pause = Number(answer.headers.get("Retry-After") ?? 1);
    } catch (error) {
      if (error.problem || left <= 1) throw error;
    }
    await later(pause);
  }
}

const convert = ({ key, amount, address }) =>
  ask("/api/v1/conversions", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": `"${key}"` },
    body: JSON.stringify({ fromCoin: "ETH", toCoin: "BTC", amount, address }),
  });

async function result(id) {
  for (;;) {
    const conversion = await ask(`/api/v1/conversions/${id}`);
    if (ended.has(conversion.state)) return conversion;
    await later(0.5);
  }
}

let failed = 0;
const accepted = [];
for (const payout of payouts) {
  try {
    accepted.push(await convert(payout));
  } catch (error) {
    console.log(`${payout.key}: refused, ${error.message}`);
    failed += 1;
  }
}
for (const { id } of accepted) {
  const { state, amount, delivered, service, txid, reason } = await result(id);
  if (state === "COMPLETED") {
    console.log(`${amount} ETH -> ${delivered} BTC via ${service}, transaction ${txid}`);
  } else {
    console.log(`${id} is ${state}: ${reason}`);
    failed += 1;
  }
}
const { totalConversions, failovers, healthyServices } = await ask("/api/v1/multi-service/status");
console.log(`${totalConversions} conversions, ${failovers} failovers, ${healthyServices} healthy services`);
process.exitCode = failed ? 1 : 0;
