// What there is to do with a page blob, its pages and its snapshots.
"use strict";
const { KiB, all, content, md5, ranges, sha, step } = require("./steps.cjs");
const { lease } = require("./lease.cjs");

// read reads a range, and returns the headers of the answer.
async function read(blob, offset, count, how) {
  const r = await blob.download(offset, count, how);
  r.readableStreamBody.resume();
  return r;
}

async function pageBlob(blob) {
  let crc64;
  await step("create", async () => (await blob.create(64 * KiB, { blobSequenceNumber: 7, metadata: { Kind: "disk" }, tags: { stage: "one", kind: "disk" },
    blobHTTPHeaders: { blobContentType: "x/y" } })).requestId && "ok");
  await step("create again if none", () => blob.create(64 * KiB, { conditions: { ifNoneMatch: "*" } }));
  await step("upload", async () => void await blob.uploadPages(content("a", 4 * KiB), 0, 4 * KiB));
  await step("upload with md5", async () => {
    const body = content("b", 4 * KiB);
    await blob.uploadPages(body, 8 * KiB, 4 * KiB, { transactionalContentMD5: md5(body) });
  });
  await step("upload with a bad md5", () => blob.uploadPages(content("x", 512), 0, 512, { transactionalContentMD5: Buffer.alloc(16) }));
  await step("upload off the end", () => blob.uploadPages(content("x", 512), 64 * KiB, 512));
  await step("upload off a page", () => blob.uploadPages(content("x", 512), 1, 512));
  await step("upload if sequence", () => blob.uploadPages(content("x", 512), 0, 512, { conditions: { ifSequenceNumberLessThan: 7 } }));
  await step("read", async () => sha(await blob.downloadToBuffer()));
  await step("read range", async () => sha(await blob.downloadToBuffer(8 * KiB, 4 * KiB)));
  await step("read range with md5", async () => {
    const r = await read(blob, 8 * KiB, 4 * KiB, { rangeGetContentMD5: true });
    return Buffer.from(r.contentMD5).equals(md5(content("b", 4 * KiB)));
  });
  await step("read range with crc64", async () => {
    const r = await read(blob, 8 * KiB, 4 * KiB, { rangeGetContentCrc64: true });
    crc64 = Buffer.from(r.contentCrc64);
    return crc64.toString("base64");
  });
  await step("upload with crc64", async () => void await blob.uploadPages(content("b", 4 * KiB), 8 * KiB, 4 * KiB, { transactionalContentCrc64: crc64 }));
  await step("upload with a bad crc64", () => blob.uploadPages(content("x", 4 * KiB), 8 * KiB, 4 * KiB, { transactionalContentCrc64: crc64 }));
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
  await step("page ranges diff by url", async () => {
    const r = await blob.getPageRangesDiffForManagedDisks(0, 64 * KiB, blob.withSnapshot(snapshot).url);
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
  await step("account info", async () => { const i = await blob.getAccountInfo(); return `${i.accountKind} ${i.skuName}`; });
  await step("created before", async () => (await blob.createIfNotExists(64 * KiB)).succeeded);
  await lease(blob, "blob", async (conditions) => void await blob.clearPages(0, 512, { conditions }));
  await step("tier in a standard account", () => blob.setAccessTier("P10"));
  await step("hold without immutable storage", () => blob.setLegalHold(true));
  await step("copy at once refused", () => blob.syncCopyFromURL(blob.withSnapshot(snapshot).url));
  return snapshot;
}

module.exports = { pageBlob };
