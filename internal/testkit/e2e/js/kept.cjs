// Soft delete: what is deleted is kept, and brought back. All of it begins and ends without the blob.
"use strict";
const { KiB, all, content, sha, step } = require("./steps.cjs");

// retention sets for how many days the account keeps what is deleted; 0: not at all.
async function retention(service, days) {
  await service.setProperties({ deleteRetentionPolicy: days ? { enabled: true, days } : { enabled: false } });
  const { deleteRetentionPolicy: p } = await service.getProperties();
  return `${p.enabled} ${p.days ?? ""}`.trim();
}

async function keptBlobs(owner, container, blob) {
  await step("retention", () => retention(owner, 2));
  await blob.create(4 * KiB, { metadata: { at: "one" } });
  await blob.uploadPages(content("k", 512), 0, 512);
  const snapshot = blob.withSnapshot((await blob.createSnapshot()).snapshot);
  await blob.uploadPages(content("l", 512), 512, 512);
  const state = async () => `${sha(await blob.downloadToBuffer())} ${sha(await snapshot.downloadToBuffer())} ${(await blob.getProperties()).metadata.at}`;
  await step("before deletion", state);
  await step("snapshot kept", async () => void await snapshot.delete());
  await step("snapshot kept is gone", () => snapshot.getProperties());
  await step("snapshot undeleted", async () => { await blob.undelete(); return state(); });
  await step("blob kept", async () => void await blob.delete({ deleteSnapshots: "include" }));
  await step("blob kept is gone", () => blob.getProperties());
  if (container) {
    await step("list kept", async () => (await all(container.listBlobsFlat({ prefix: "disks/", includeDeleted: true, includeSnapshots: true })))
      .map((b) => `${b.deleted}${b.snapshot ? "@" : ""} ${b.properties.deletedOn > new Date(0)} ${b.properties.remainingRetentionDays}`).join(","));
    await step("list without kept", async () => (await all(container.listBlobsFlat({ prefix: "disks/" }))).length);
  }
  await step("blob undeleted", async () => { await blob.undelete(); return state(); });
  await step("overwritten", async () => void await blob.create(512, { metadata: { at: "two" } }));
  await step("no retention", () => retention(owner, 0));
  await step("kept deleted at last", async () => (await blob.deleteIfExists({ deleteSnapshots: "include" })).succeeded);
  await step("nothing to undelete", () => blob.undelete());
}

// keptContainers deletes a container and restores it, which the account's properties have nothing to do with.
async function keptContainers(service, name) {
  const container = service.getContainerClient(name);
  await step("kept container create", async () => void await container.create({ metadata: { of: "kept" } }));
  const blob = container.getPageBlobClient("b");
  await blob.create(512);
  await blob.uploadPages(content("m", 512), 0, 512);
  await step("container kept", async () => (await container.deleteIfExists()).succeeded);
  await step("container kept is gone", () => container.getProperties());
  let version;
  await step("list kept containers", async () => {
    const [c] = await all(service.listContainers({ prefix: name, includeDeleted: true, includeMetadata: true }));
    version = c.version;
    return `${c.deleted} ${c.metadata.of} ${c.properties.remainingRetentionDays}`;
  });
  await step("container of another version", () => service.undeleteContainer(name, "01D60F8BB59A4652"));
  await step("container restored", async () => {
    const { containerClient } = await service.undeleteContainer(name, version);
    return `${(await containerClient.getProperties()).metadata.of} ${sha(await blob.downloadToBuffer())}`;
  });
}

module.exports = { keptBlobs, keptContainers };
