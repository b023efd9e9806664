// What there is to do with block blobs and append blobs.
"use strict";
const { KiB, content, md5, sha, step } = require("./steps.cjs");

const id = (name) => Buffer.from(name).toString("base64");

// blocks is what a list of blocks says.
const blocks = (list) => (list ?? []).map((b) => `${Buffer.from(b.name, "base64")}:${b.size}`).join(",");

async function blockBlob(blob) {
  await step("block upload", async () => Buffer.from((await blob.upload("block blob", 10, { tags: { kind: "block" }, blobHTTPHeaders: { blobContentType: "x/y" } })).contentMD5).equals(md5("block blob")));
  await step("block upload if none", () => blob.upload("x", 1, { conditions: { ifNoneMatch: "*" } }));
  await step("block properties", async () => {
    const p = await blob.getProperties();
    return [p.blobType, p.contentLength, p.contentType, p.tagCount, p.blobSequenceNumber].join(" ");
  });
  await step("block stage", async () => void await blob.stageBlock(id("b"), content("b", KiB), KiB));
  await step("block stage with md5", async () => void await blob.stageBlock(id("a"), content("a", 700), 700, { transactionalContentMD5: md5(content("a", 700)) }));
  await step("block stage with a bad md5", () => blob.stageBlock(id("c"), "x", 1, { transactionalContentMD5: Buffer.alloc(16) }));
  await step("block stage of another length", () => blob.stageBlock(id("long"), "x", 1));
  await step("block content", async () => sha(await blob.downloadToBuffer()));
  await step("block list before", async () => { const l = await blob.getBlockList("all"); return `${blocks(l.committedBlocks)} ${blocks(l.uncommittedBlocks)}`; });
  await step("block commit", async () => void await blob.commitBlockList([id("b"), id("a"), id("b")], { metadata: { of: "blocks" } }));
  await step("block list", async () => { const l = await blob.getBlockList("committed"); return `${l.blobContentLength} ${blocks(l.committedBlocks)}`; });
  await step("block commit of nobody's", () => blob.commitBlockList([id("z")]));
  await step("block content committed", async () => sha(await blob.downloadToBuffer()));
  await step("block range", async () => sha(await blob.downloadToBuffer(1000, 100)));
  await step("block upload in parallel", async () => void await blob.uploadData(content("p", 300 * KiB), { blockSize: 64 * KiB, maxSingleShotSize: 64 * KiB }));
  await step("block content in parallel", async () => sha(await blob.downloadToBuffer()));
  await step("block delete", async () => void await blob.delete());
}

async function appendBlob(blob) {
  await step("append create", async () => void await blob.create());
  await step("append", async () => (await blob.appendBlock("first ", 6)).blobAppendOffset);
  await step("append again", async () => { const r = await blob.appendBlock("second", 6); return `${r.blobAppendOffset} ${r.blobCommittedBlockCount}`; });
  await step("append elsewhere", () => blob.appendBlock("x", 1, { conditions: { appendPosition: 3 } }));
  await step("append too much", () => blob.appendBlock("x", 1, { conditions: { maxSize: 12 } }));
  await step("append seal", async () => (await blob.seal()).isSealed);
  await step("append to sealed", () => blob.appendBlock("x", 1));
  await step("append properties", async () => {
    const p = await blob.getProperties();
    return [p.blobType, p.contentLength, p.blobCommittedBlockCount, p.isSealed].join(" ");
  });
  await step("append content", async () => (await blob.downloadToBuffer()).toString());
  await step("append delete", async () => void await blob.delete());
}

// blockWork is all of it.
async function blockWork(container) {
  await blockBlob(container.getBlockBlobClient("blocks"));
  await appendBlob(container.getAppendBlobClient("log"));
}

module.exports = { blockWork };
