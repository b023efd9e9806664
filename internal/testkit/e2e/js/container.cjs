// What there is to do with a container and with the service that it is in.
"use strict";
const { ContainerClient } = require("@azure/storage-blob");
const { all, expiresOn, options, sha, statuses, step } = require("./steps.cjs");
const { lease } = require("./lease.cjs");
const { secondary } = require("./open.cjs");

async function containerWork({ service, container, blob }, credential) {
  const name = container.containerName;
  for (const n of ["x/1", "x/2", "y"]) await container.getPageBlobClient(n).create(512);
  await step("list", async () => (await all(container.listBlobsFlat({ includeSnapshots: true }))).map((b) => b.name + (b.snapshot ? "@" : "")).join(","));
  await step("list details", async () => {
    const [b] = await all(container.listBlobsFlat({ prefix: "disks/", includeMetadata: true, includeTags: true }));
    return [b.properties.blobType, b.properties.contentLength, b.properties.contentType, b.metadata.Owner ?? b.metadata.owner, b.tags.stage].join(" ");
  });
  await step("list hierarchy", async () => (await all(container.listBlobsByHierarchy("/"))).map((b) => `${b.kind} ${b.name}`).join(","));
  await step("list in pages", async () => {
    const sizes = [];
    for await (const page of container.listBlobsFlat().byPage({ maxPageSize: 3 })) sizes.push(page.segment.blobItems.length);
    return sizes.join(",");
  });
  await step("find by tags in container", async () => (await all(container.findBlobsByTags("stage = 'two'"))).map((b) => b.name).join(","));
  await step("bad tag expression", () => all(container.findBlobsByTags("stage ==")));
  if (credential === "container-sas") {
    await step("container properties by token", () => container.getProperties());
    await step("container delete by token", () => container.delete());
    return;
  }
  await step("container exists", async () => container.exists());
  await step("container create again", () => container.create());
  await step("container metadata", async () => { await container.setMetadata({ of: "tests" }); return JSON.stringify((await container.getProperties()).metadata); });
  await lease(container, "container", async (conditions) => void await container.delete({ conditions }));
  await step("container account info", async () => { const i = await container.getAccountInfo(); return `${i.accountKind} ${i.skuName}`; });
  await step("container created before", async () => (await container.createIfNotExists()).succeeded);
  await step("find by tags", async () => (await all(service.findBlobsByTags(`@container = '${name}' AND stage = 'two'`))).map((b) => b.name).join(","));
  await step("list containers", async () => (await all(service.listContainers({ prefix: name, includeMetadata: true }))).map((c) => `${c.name === name} ${c.metadata?.of}`).join(","));
  await step("service properties", async () => {
    const was = await service.getProperties();
    await service.setProperties({ ...was, cors: [{ allowedOrigins: "http://example.org", allowedMethods: "GET", allowedHeaders: "*", exposedHeaders: "*", maxAgeInSeconds: 5 }] });
    const { cors } = await service.getProperties();
    await service.setProperties({ ...was, cors: [] });
    return cors.map((r) => r.allowedOrigins).join(",");
  });
  await step("service account info", async () => { const i = await service.getAccountInfo(); return `${i.accountKind} ${i.skuName}`; });
  const other = secondary(service);
  await step("service stats", async () => { const { geoReplication: g } = await other.getStatistics(); return `${g.status} ${g.lastSyncOn > new Date(Date.now() - 3600e3)}`; });
  await step("service stats of the primary", () => service.getStatistics());
  const there = other.getContainerClient(name).getPageBlobClient(blob.name);
  await step("secondary read", async () => sha(await there.downloadToBuffer()) === sha(await blob.downloadToBuffer()));
  await step("secondary write", () => there.clearPages(0, 512));
  await step("policy", async () => {
    await container.setAccessPolicy(undefined, [{ id: "p", accessPolicy: { expiresOn, permissions: "rl" } }]);
    return (await container.getAccessPolicy()).signedIdentifiers.map((i) => `${i.id} ${i.accessPolicy.permissions}`).join(",");
  });
  if (credential === "key") {
    const url = await container.generateSasUrl({ identifier: "p" });
    await step("by policy", async () => (await all(new ContainerClient(url).listBlobsFlat({ prefix: "x/" }))).length);
    await step("beyond policy", () => new ContainerClient(url, undefined, options).getPageBlobClient("y").clearPages(0, 512));
    await step("policy revoked", async () => { await container.setAccessPolicy(); await all(new ContainerClient(url, undefined, options).listBlobsFlat()); });
  }
  if (credential !== "account-sas") { // a batch's parts are signed by themselves
    const batch = (place, ...names) => statuses(place.getBlobBatchClient().deleteBlobs(names.map((n) => container.getPageBlobClient(n))));
    await step("batch", () => batch(service, "x/1", "none"));
    await step("batch in container", () => batch(container, "x/2"));
    await step("batch tier in a standard account", () => statuses(container.getBlobBatchClient().setBlobsAccessTier([container.getPageBlobClient("y")], "P10")));
    await step("list after batch", async () => (await all(container.listBlobsFlat())).map((b) => b.name).join(","));
  }
}

module.exports = { containerWork };
