// Reads a blob, or a snapshot of it, with Azure's JavaScript SDK and prints its SHA-256 in hex.
//   node download.cjs CONTAINER BLOB [SNAPSHOT]      AZURE_STORAGE_CONNECTION_STRING in the environment
"use strict";
const crypto = require("crypto");
globalThis.crypto ??= crypto.webcrypto; // the SDK wants it, and Debian's Node.js 18 has it here only
const { BlobServiceClient } = require("@azure/storage-blob");

async function main() {
  const [container, name, snapshot] = process.argv.slice(2);
  const service = BlobServiceClient.fromConnectionString(process.env.AZURE_STORAGE_CONNECTION_STRING);
  let blob = service.getContainerClient(container).getPageBlobClient(name);
  if (snapshot) blob = blob.withSnapshot(snapshot);
  const properties = await blob.getProperties();
  const response = await blob.download();
  const hash = crypto.createHash("sha256");
  let bytes = 0;
  for await (const chunk of response.readableStreamBody) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  if (bytes !== properties.contentLength) throw new Error(`${bytes} bytes read of ${properties.contentLength}`);
  console.log(hash.digest("hex"));
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
