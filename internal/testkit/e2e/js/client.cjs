// Does everything that Azure's JavaScript SDK can do with page blobs and containers, once, and prints what it did and
// what came of it: a line for each step, "name: result" or "name! status code" for an error. What the steps are is in
// clients_test.go, which reads the lines.
//   node client.cjs CREDENTIAL CONTAINER     CREDENTIAL is key, account-sas, container-sas, blob-sas or bearer
// with AZURE_STORAGE_CONNECTION_STRING of the server in the environment, and PAGEVAULT_BEARER for bearer.
"use strict";
const crypto = require("crypto");
globalThis.crypto ??= crypto.webcrypto; // the SDK wants it, and Debian's Node.js 18 has it here only
const {
  AccountSASPermissions, AccountSASResourceTypes, AccountSASServices, BlobSASPermissions, BlobServiceClient, ContainerClient,
  ContainerSASPermissions, PageBlobClient, SASProtocol, StorageRetryPolicyType,
} = require("@azure/storage-blob");

const [credential, name] = process.argv.slice(2);
const options = { retryOptions: { maxTries: 1, retryPolicyType: StorageRetryPolicyType.FIXED } };
const owner = BlobServiceClient.fromConnectionString(process.env.AZURE_STORAGE_CONNECTION_STRING, options);
const expiresOn = new Date(Date.now() + 3600e3);
const protocol = SASProtocol.HttpsAndHttp;
const KiB = 1024;

// open returns clients with the credential: of the service, the container and the blob, each as far as it goes.
async function open() {
  const container = owner.getContainerClient(name);
  const blob = container.getPageBlobClient("disks/a b+ü.vhd");
  switch (credential) {
    case "key":
      return { service: owner, container, blob };
    case "bearer": {
      const token = { getToken: async () => ({ token: process.env.PAGEVAULT_BEARER, expiresOnTimestamp: Date.now() + 3600e3 }) };
      const service = new BlobServiceClient(owner.url, token, options);
      const own = service.getContainerClient(name);
      return { service, container: own, blob: own.getPageBlobClient(blob.name) };
    }
    case "account-sas": {
      const url = owner.generateAccountSasUrl(expiresOn, AccountSASPermissions.parse("rwdxylacupitf"), AccountSASResourceTypes.parse("sco").toString(),
        { services: AccountSASServices.parse("b").toString(), protocol });
      const service = new BlobServiceClient(url, undefined, options);
      const own = service.getContainerClient(name);
      return { service, container: own, blob: own.getPageBlobClient(blob.name) };
    }
    case "container-sas": {
      await container.create();
      const url = await container.generateSasUrl({ expiresOn, protocol, permissions: ContainerSASPermissions.parse("racwdxltfi") });
      const own = new ContainerClient(url, undefined, options);
      return { container: own, blob: own.getPageBlobClient(blob.name) };
    }
    case "blob-sas": {
      await container.create();
      const url = await blob.generateSasUrl({ expiresOn, protocol, permissions: BlobSASPermissions.parse("racwdxti") });
      return { blob: new PageBlobClient(url, undefined, options) };
    }
  }
  throw new Error(`no credential ${credential}`);
}

const say = (line) => process.stdout.write(line + "\n");
const sha = (bytes) => crypto.createHash("sha256").update(bytes).digest("hex").slice(0, 16);
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

async function pageBlob(blob) {
  await step("create", async () => (await blob.create(64 * KiB, { blobSequenceNumber: 7, metadata: { Kind: "disk" }, tags: { stage: "one", kind: "disk" },
    blobHTTPHeaders: { blobContentType: "x/y" } })).requestId && "ok");
  await step("create again if none", () => blob.create(64 * KiB, { conditions: { ifNoneMatch: "*" } }));
  await step("upload", async () => void await blob.uploadPages(content("a", 4 * KiB), 0, 4 * KiB));
  await step("upload with md5", async () => {
    const body = content("b", 4 * KiB);
    await blob.uploadPages(body, 8 * KiB, 4 * KiB, { transactionalContentMD5: crypto.createHash("md5").update(body).digest() });
  });
  await step("upload with a bad md5", () => blob.uploadPages(content("x", 512), 0, 512, { transactionalContentMD5: Buffer.alloc(16) }));
  await step("upload off the end", () => blob.uploadPages(content("x", 512), 64 * KiB, 512));
  await step("upload off a page", () => blob.uploadPages(content("x", 512), 1, 512));
  await step("upload if sequence", () => blob.uploadPages(content("x", 512), 0, 512, { conditions: { ifSequenceNumberLessThan: 7 } }));
  await step("read", async () => sha(await blob.downloadToBuffer()));
  await step("read range", async () => sha(await blob.downloadToBuffer(8 * KiB, 4 * KiB)));
  await step("read range with md5", async () => {
    const r = await blob.download(8 * KiB, 4 * KiB, { rangeGetContentMD5: true });
    r.readableStreamBody.resume();
    return Buffer.from(r.contentMD5).equals(crypto.createHash("md5").update(content("b", 4 * KiB)).digest());
  });
  await step("read off the end", () => blob.download(64 * KiB, 1));
  await step("page ranges", async () => ranges((await blob.getPageRanges(0, 64 * KiB)).pageRange));
  let snapshot;
  await step("snapshot", async () => { snapshot = (await blob.createSnapshot({ metadata: { at: "one" } })).snapshot; });
  await step("clear", async () => void await blob.clearPages(8 * KiB, 1 * KiB));
  await step("write after the snapshot", async () => void await blob.uploadPages(content("c", 512), 16 * KiB, 512));
  await step("page ranges diff", async () => {
    const r = await blob.getPageRangesDiff(0, 64 * KiB, snapshot);
    return `${ranges(r.pageRange)} cleared ${ranges(r.clearRange)}`;
  });
  await step("page ranges as items", async () => (await all(blob.listPageRanges(0, 64 * KiB))).map((r) => `${r.start}-${r.end}`).join(","));
  await step("diff as items", async () => (await all(blob.listPageRangesDiff(0, 64 * KiB, snapshot))).map((r) => `${r.isClear ? "c" : "p"}${r.start}-${r.end}`).join(","));
  await step("snapshot metadata", async () => JSON.stringify((await blob.withSnapshot(snapshot).getProperties()).metadata));
  await step("snapshot content", async () => sha(await blob.withSnapshot(snapshot).downloadToBuffer()));
  await step("no such snapshot", () => blob.withSnapshot("2020-01-01T00:00:00.0000000Z").getProperties());
  await step("resize", async () => { await blob.resize(32 * KiB); return (await blob.getProperties()).contentLength; });
  await step("sequence max", async () => (await blob.updateSequenceNumber("max", 9)).blobSequenceNumber);
  await step("sequence increment", async () => (await blob.updateSequenceNumber("increment")).blobSequenceNumber);
  await step("sequence update", async () => (await blob.updateSequenceNumber("update", 3)).blobSequenceNumber);
  await step("set headers", async () => {
    await blob.setHTTPHeaders({ blobContentType: "a/b", blobCacheControl: "no-cache", blobContentLanguage: "de" });
    const p = await blob.getProperties();
    return [p.contentType, p.cacheControl, p.contentLanguage, p.blobType, p.blobSequenceNumber].join(" ");
  });
  await step("metadata", async () => { await blob.setMetadata({ Owner: "me", a1: "1", a_b: "2" }); return JSON.stringify(Object.entries((await blob.getProperties()).metadata).sort()); });
  await step("exists", async () => blob.exists());
  await step("if match", () => blob.setMetadata({}, { conditions: { ifMatch: '"0x1"' } }));
  await step("if modified", () => blob.getProperties({ conditions: { ifModifiedSince: new Date(Date.now() + 60e3) } }));
  await step("if unmodified", () => blob.setMetadata({}, { conditions: { ifUnmodifiedSince: new Date(Date.now() - 3600e3) } }));
  await step("tags", async () => { await blob.setTags({ stage: "two", kind: "disk" }); return JSON.stringify(Object.entries((await blob.getTags()).tags).sort()); });
  await step("if tags", () => blob.getProperties({ conditions: { tagConditions: "stage = 'one'" } }));
  await step("account info", async () => { const i = await blob.getAccountInfo?.(); return i === undefined ? "StorageV2" : i.accountKind; });
  await lease(blob, "blob", async (conditions) => void await blob.clearPages(0, 512, { conditions }));
  await step("block blob refused", () => blob.getBlockBlobClient().upload("x", 1));
  await step("append blob refused", () => blob.getAppendBlobClient().create());
  return snapshot;
}

// lease goes through all that can be done to a lease on something that write changes.
async function lease(resource, kind, write) {
  const [a, b] = ["11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"];
  const l = resource.getBlobLeaseClient?.(a) ?? resource.getBlobLeaseClient(a);
  await step(`${kind} lease acquire`, async () => (await l.acquireLease(15)).leaseId === a);
  await step(`${kind} lease acquire by another`, () => resource.getBlobLeaseClient(b).acquireLease(15));
  await step(`${kind} lease missing`, () => write());
  await step(`${kind} lease wrong`, () => write({ leaseId: b }));
  await step(`${kind} lease renew`, async () => (await l.renewLease()).leaseId === a);
  await step(`${kind} lease change`, async () => (await l.changeLease(b)).leaseId === b);
  await step(`${kind} lease state`, async () => { const p = await resource.getProperties(); return `${p.leaseState} ${p.leaseStatus} ${p.leaseDuration}`; });
  await step(`${kind} lease release`, async () => void await l.releaseLease());
  await step(`${kind} lease acquire forever`, async () => void await l.acquireLease(-1));
  await step(`${kind} lease break`, async () => (await l.breakLease(0)).leaseTime ?? 0);
  await step(`${kind} lease renew broken`, () => l.renewLease());
  await step(`${kind} lease release broken`, async () => void await l.releaseLease());
}

async function copies(container, blob, snapshot) {
  const copy = container.getPageBlobClient("copy");
  await step("copy", async () => {
    const poller = await copy.beginCopyFromURL(blob.withSnapshot(snapshot).url, { intervalInMs: 10 });
    const r = await poller.pollUntilDone();
    return `${r.copyStatus} ${sha(await copy.downloadToBuffer())}`;
  });
  await step("abort copy", async () => { await copy.abortCopyFromURL((await copy.getProperties()).copyId); });
  await step("pages from url", async () => { await copy.uploadPagesFromURL(blob.url, 16 * KiB, 0, 512); return sha(await copy.downloadToBuffer(0, 512)); });
  await step("copy of nothing", () => copy.beginCopyFromURL(container.getPageBlobClient("none").url));
  await step("copy deleted", async () => void await copy.delete());
}

async function containerWork({ container, blob }) {
  const { service } = await open.opened;
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
  await step("find by tags", async () => (await all(service.findBlobsByTags(`@container = '${name}' AND stage = 'two'`))).map((b) => b.name).join(","));
  await step("list containers", async () => (await all(service.listContainers({ prefix: name, includeMetadata: true }))).map((c) => `${c.name === name} ${c.metadata?.of}`).join(","));
  await step("service properties", async () => {
    const was = await service.getProperties();
    await service.setProperties({ ...was, cors: [{ allowedOrigins: "http://example.org", allowedMethods: "GET", allowedHeaders: "*", exposedHeaders: "*", maxAgeInSeconds: 5 }] });
    const { cors } = await service.getProperties();
    await service.setProperties({ ...was, cors: [] });
    return cors.map((r) => r.allowedOrigins).join(",");
  });
  await step("service account info", async () => (await service.getAccountInfo()).accountKind);
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
    await step("batch", async () => deleted(service, [container.getPageBlobClient("x/1"), container.getPageBlobClient("none")]));
    await step("batch in container", async () => deleted(container, [container.getPageBlobClient("x/2")]));
    await step("list after batch", async () => (await all(container.listBlobsFlat())).map((b) => b.name).join(","));
  }
}

// deleted deletes blobs in a batch, and returns the status of each.
async function deleted(place, blobs) {
  return (await place.getBlobBatchClient().deleteBlobs(blobs)).subResponses.map((s) => s.status).join(",");
}

async function main() {
  const opened = await open();
  open.opened = opened;
  const { container, blob } = opened;
  if (credential !== "container-sas" && credential !== "blob-sas") await step("container create", async () => void await container.create());
  const snapshot = await pageBlob(blob);
  if (credential === "key" || credential === "bearer") await copies(container, blob, snapshot);
  if (container) await containerWork(opened);
  await step("delete with snapshots", () => blob.delete());
  await step("delete snapshot", async () => void await blob.withSnapshot(snapshot).delete());
  await step("delete", async () => void await blob.delete());
  await step("delete again", () => blob.delete());
  await step("gone", () => blob.getProperties());
  await owner.getContainerClient(name).delete();
  say("end");
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
