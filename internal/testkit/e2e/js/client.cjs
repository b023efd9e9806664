// Does everything that Azure's JavaScript SDK can do with blobs and containers, once, and prints what it did and
// what came of it, as steps.cjs says it. What the steps are is in clients_test.go, which reads the lines.
//   node client.cjs CREDENTIAL CONTAINER     CREDENTIAL is key, account-sas, container-sas, blob-sas or bearer
// with AZURE_STORAGE_CONNECTION_STRING of the server in the environment, PAGEVAULT_PREMIUM for its account that has tiers and
// immutable storage, PAGEVAULT_SLOW_SOURCE to copy from, and PAGEVAULT_BEARER for bearer.
"use strict";
const { say, step } = require("./steps.cjs");
const { openClients } = require("./open.cjs");
const { pageBlob } = require("./page.cjs");
const { blockWork } = require("./blocks.cjs");
const { copies } = require("./copy.cjs");
const { containerWork } = require("./container.cjs");
const { delegation } = require("./delegation.cjs");
const { keptBlobs, keptContainers } = require("./kept.cjs");
const { protection, tiers } = require("./premium.cjs");

const [credential, name] = process.argv.slice(2);

async function main() {
  const opened = await openClients(process.env.AZURE_STORAGE_CONNECTION_STRING, credential, name);
  const { owner, service, container, blob } = opened;
  if (service) await step("container create", async () => void await container.create());
  const snapshot = await pageBlob(blob);
  if (container) {
    await blockWork(container);
    await copies(container, blob, snapshot);
    await containerWork(opened, credential);
  }
  if (credential === "bearer") await delegation(opened);
  await step("delete with snapshots", () => blob.delete());
  await step("delete snapshot", async () => void await blob.withSnapshot(snapshot).delete());
  await step("delete", async () => void await blob.delete());
  await step("delete again", () => blob.delete());
  await step("gone", () => blob.getProperties());
  await keptBlobs(owner, container, blob);
  if (service) await keptContainers(service, `${name}-kept`);
  await owner.getContainerClient(name).delete();

  const premium = await openClients(process.env.PAGEVAULT_PREMIUM, credential, name);
  if (premium.service) await step("premium container create", async () => void await premium.container.create());
  await tiers(premium, credential);
  await protection(premium);
  say("end");
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
