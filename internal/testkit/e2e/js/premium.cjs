// What only some accounts have: tiers of page blobs, and policies and legal holds that protect blobs. Here it is one account
// that has both.
"use strict";
const { KiB, all, content, sha, statuses, step } = require("./steps.cjs");

async function tiers({ service, container, blob }, credential) {
  const tier = async () => { const p = await blob.getProperties(); return `${p.accessTier} ${p.accessTierInferred ?? false}`; };
  await step("tier by size", async () => { await blob.create(64 * KiB); return tier(); });
  await step("tier set", async () => { await blob.setAccessTier("P10"); return tier(); });
  await step("tier lowered", () => blob.setAccessTier("P4"));
  await step("tier of a block blob", () => blob.setAccessTier("Hot"));
  await step("tier at creation", async () => { await blob.create(64 * KiB, { tier: "P20" }); return tier(); });
  if (container) await step("tier listed", async () => (await all(container.listBlobsFlat())).map((b) => b.properties.accessTier).join(","));
  if (service && credential !== "account-sas") { // a batch's parts are signed by themselves
    const none = container.getPageBlobClient("none");
    await step("batch of tiers", async () => `${await statuses(service.getBlobBatchClient().setBlobsAccessTier([blob, none], "P30"))} ${await tier()}`);
    await step("batch of tiers in container", async () => `${await statuses(container.getBlobBatchClient().setBlobsAccessTier([blob], "P40"))} ${await tier()}`);
  }
  if (service) await step("premium account info", async () => { const i = await service.getAccountInfo(); return `${i.accountKind} ${i.skuName}`; });
}

async function protection({ container, blob }) {
  const day = new Date(Math.ceil(Date.now() / 1000 + 24 * 3600) * 1000);
  const policy = { expiriesOn: day, policyMode: "Unlocked" };
  const shown = async () => {
    const p = await blob.getProperties();
    return `${p.immutabilityPolicyMode ?? "none"} ${p.immutabilityPolicyExpiresOn?.getTime() === day.getTime()} ${p.legalHold ?? false}`;
  };
  const page = (letter) => blob.uploadPages(content(letter, 512), 0, 512);
  await page("p");
  await step("protect by policy", async () => { await blob.setImmutabilityPolicy(policy); return shown(); });
  await step("write under policy", () => page("q"));
  await step("resize under policy", () => blob.resize(512));
  await step("delete under policy", () => blob.delete());
  await step("read under policy", async () => sha(await blob.downloadToBuffer(0, 512)));
  if (container) {
    await step("list policies", async () => (await all(container.listBlobsFlat({ includeImmutabilityPolicy: true, includeLegalHold: true })))
      .map((b) => `${b.properties.immutabilityPolicyMode} ${b.properties.immutabilityPolicyExpiresOn.getTime() === day.getTime()}`).join(","));
  }
  await step("policy in the past", () => blob.setImmutabilityPolicy({ ...policy, expiriesOn: new Date(Date.now() - 3600e3) }));
  await step("policy deleted", async () => { await blob.deleteImmutabilityPolicy(); return shown(); });
  await step("hold", async () => { const r = await blob.setLegalHold(true); return `${r.legalHold} ${await shown()}`; });
  await step("write on hold", () => page("q"));
  await step("delete on hold", () => blob.delete());
  if (container) {
    await step("list holds", async () => (await all(container.listBlobsFlat({ includeImmutabilityPolicy: true, includeLegalHold: true })))
      .map((b) => b.properties.legalHold).join(","));
  }
  await step("hold taken off", async () => { await blob.setLegalHold(false); await page("q"); return `${await shown()} ${sha(await blob.downloadToBuffer(0, 512))}`; });
  await step("created under policy and hold", async () => { await blob.create(512, { immutabilityPolicy: policy, legalHold: true }); return shown(); });
  await step("delete under both", () => blob.delete());
  await step("both taken away", async () => { await blob.setLegalHold(false); await blob.deleteImmutabilityPolicy(); return shown(); });
  await step("policy locked", async () => { await blob.setImmutabilityPolicy({ ...policy, policyMode: "Locked" }); return shown(); });
  await step("policy locked deleted", () => blob.deleteImmutabilityPolicy());
  if (container) await step("container delete under policy", () => container.delete());
}

module.exports = { tiers, protection };
