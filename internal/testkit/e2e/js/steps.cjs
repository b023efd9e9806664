// What the scripts of the JavaScript SDK have in common: a step is something done once, and said in a line: "name: result",
// or "name! status code" for an error.
"use strict";
const crypto = require("crypto");
globalThis.crypto ??= crypto.webcrypto; // the SDK wants it, and Debian's Node.js 18 has it here only
const { SASProtocol, StorageRetryPolicyType } = require("@azure/storage-blob");

const KiB = 1024;
const options = { retryOptions: { maxTries: 1, retryPolicyType: StorageRetryPolicyType.FIXED } };
const expiresOn = new Date(Date.now() + 3600e3);
const protocol = SASProtocol.HttpsAndHttp;

const say = (line) => process.stdout.write(line + "\n");
const sha = (bytes) => crypto.createHash("sha256").update(bytes).digest("hex").slice(0, 16);
const md5 = (bytes) => crypto.createHash("md5").update(bytes).digest();
const ranges = (list) => (list ?? []).map((r) => `${r.offset ?? r.start}+${r.count ?? r.end - r.start + 1}`).join(",");
const content = (seed, n) => Buffer.alloc(n, seed);

// step does something and says what came of it.
async function step(what, call) {
  try {
    const result = await call();
    say(`${what}: ${result ?? "ok"}`);
    return result;
  } catch (err) {
    if (err.statusCode === undefined) throw err;
    say(`${what}! ${err.statusCode} ${err.code ?? err.details?.errorCode ?? ""}`);
  }
}

async function all(pages) {
  const list = [];
  for await (const item of pages) list.push(item);
  return list;
}

// statuses runs a batch and returns the status of each of its parts.
const statuses = async (batch) => (await batch).subResponses.map((s) => s.status).join(",");

module.exports = { KiB, all, content, expiresOn, md5, options, protocol, ranges, say, sha, statuses, step };
