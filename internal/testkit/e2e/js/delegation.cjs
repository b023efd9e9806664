// Tokens that are signed with the key of a user, whom the service knows by a bearer token.
"use strict";
const { BlobSASPermissions, ContainerClient, ContainerSASPermissions, PageBlobClient } = require("@azure/storage-blob");
const { KiB, all, content, expiresOn, options, protocol, sha, step } = require("./steps.cjs");

async function delegation({ service, container, blob }) {
  let key;
  await step("delegation key", async () => {
    key = await service.getUserDelegationKey(new Date(Date.now() - 60e3), expiresOn);
    return `${key.signedTenantId} ${key.signedObjectId} ${key.signedService} ${Buffer.from(key.value, "base64").length}`;
  });
  const reader = new PageBlobClient(await blob.generateUserDelegationSasUrl({ expiresOn, protocol, permissions: BlobSASPermissions.parse("r") }, key), undefined, options);
  await step("user's blob token", async () => sha(await reader.downloadToBuffer()) === sha(await blob.downloadToBuffer()));
  await step("user's blob token beyond", () => reader.clearPages(0, 512));
  const url = await container.generateUserDelegationSasUrl({ expiresOn, protocol, permissions: ContainerSASPermissions.parse("rwl") }, key);
  const own = new ContainerClient(url, undefined, options);
  await step("user's container token", async () => {
    await own.getPageBlobClient(blob.name).uploadPages(content("u", 512), 24 * KiB, 512);
    return `${sha(await blob.downloadToBuffer(24 * KiB, 512))} ${(await all(own.listBlobsFlat({ prefix: "disks/" }))).length}`;
  });
  await step("user's container token beyond", () => own.getPageBlobClient(blob.name).delete());
  await step("user's container token forged", () => all(new ContainerClient(url.replace("sp=rl", "sp=rdl").replace("sp=rwl", "sp=rwdl"), undefined, options).listBlobsFlat()));
  await step("key that is over", () => service.getUserDelegationKey(new Date(Date.now() - 7200e3), new Date(Date.now() - 3600e3)));
}

module.exports = { delegation };
