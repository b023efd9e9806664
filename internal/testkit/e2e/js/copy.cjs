// Copies of page blobs.
"use strict";
const { KiB, content, md5, ranges, sha, step } = require("./steps.cjs");

async function copies(container, blob, snapshot) {
  const copy = container.getPageBlobClient("copy");
  await step("copy", async () => {
    const poller = await copy.beginCopyFromURL(blob.withSnapshot(snapshot).url, { intervalInMs: 10 });
    const r = await poller.pollUntilDone();
    return `${r.copyStatus} ${sha(await copy.downloadToBuffer())}`;
  });
  await step("abort copy that is done", async () => { await copy.abortCopyFromURL((await copy.getProperties()).copyId); });
  await step("pages from url", async () => { await copy.uploadPagesFromURL(blob.url, 16 * KiB, 0, 512); return sha(await copy.downloadToBuffer(0, 512)); });
  await step("pages from url with md5", async () => {
    await copy.uploadPagesFromURL(blob.url, 16 * KiB, 512, 512, { sourceContentMD5: md5(content("c", 512)) });
    return sha(await copy.downloadToBuffer(512, 512));
  });
  await step("pages from url with a bad md5", () => copy.uploadPagesFromURL(blob.url, 16 * KiB, 512, 512, { sourceContentMD5: md5("") }));
  await step("pages from url if changed", () => copy.uploadPagesFromURL(blob.url, 16 * KiB, 512, 512, { sourceConditions: { ifMatch: '"0x1"' } }));
  await step("copy of nothing", () => copy.beginCopyFromURL(container.getPageBlobClient("none").url));
  await step("copy deleted", async () => void await copy.delete());
  await abort(container.getPageBlobClient("pending"));
  await incremental(container.getPageBlobClient("incremental"), blob);
}

// abort aborts a copy from a source that has said how large it is, and then says no more.
async function abort(blob) {
  const poller = await blob.beginCopyFromURL(process.env.PAGEVAULT_SLOW_SOURCE);
  await step("copy pending", async () => { const p = await blob.getProperties(); return `${p.copyStatus} ${p.contentLength}`; });
  await step("write while copied to", () => blob.clearPages(0, 512));
  await step("abort copy", async () => { await blob.abortCopyFromURL((await blob.getProperties()).copyId); });
  await step("copy aborted", async () => { const p = await blob.getProperties(); return `${p.copyStatus} ${p.contentLength} ${poller.isDone()}`; });
  await step("copy aborted deleted", async () => void await blob.delete());
}

// incremental copies two snapshots of a blob, one after the other, and leaves nothing.
async function incremental(copy, blob) {
  const take = async () => blob.withSnapshot((await blob.createSnapshot()).snapshot);
  const made = async (source) => {
    const started = await copy.startCopyIncremental(source.url);
    let p;
    do p = await copy.getProperties(); while (p.copyStatus === "pending");
    return { status: `${started.copyStatus} ${p.copyStatus} ${p.isIncrementalCopy}`, snapshot: copy.withSnapshot(p.destinationSnapshot) };
  };
  const first = await take();
  let before;
  await step("incremental copy", async () => {
    before = await made(first);
    return `${before.status} ${sha(await before.snapshot.downloadToBuffer()) === sha(await first.downloadToBuffer())}`;
  });
  await blob.uploadPages(content("i", 512), 20 * KiB, 512);
  const second = await take();
  await step("incremental copy of a change", async () => {
    const after = await made(second);
    const diff = await after.snapshot.getPageRangesDiff(0, 32 * KiB, new URL(before.snapshot.url).searchParams.get("snapshot"));
    return `${after.status} ${sha(await after.snapshot.downloadToBuffer()) === sha(await second.downloadToBuffer())} ${ranges(diff.pageRange)}`;
  });
  await step("incremental copy of the blob", () => copy.startCopyIncremental(blob.url));
  await step("incremental copy read", () => copy.downloadToBuffer());
  await step("incremental copy deleted", async () => void await copy.delete({ deleteSnapshots: "include" }));
  await blob.clearPages(20 * KiB, 512);
  await first.delete();
  await second.delete();
}

module.exports = { copies };
