// Works on a page blob with Azure's JavaScript SDK by a token for its container, and by one for the blob that may only be
// read, and prints "ok".
//   node token.cjs CONTAINER        AZURE_STORAGE_CONNECTION_STRING in the environment
"use strict";
const assert = require("assert");
const crypto = require("crypto");
globalThis.crypto ??= crypto.webcrypto; // the SDK wants it, and Debian's Node.js 18 has it here only
const { BlobSASPermissions, BlobServiceClient, ContainerClient, ContainerSASPermissions, PageBlobClient, SASProtocol } = require("@azure/storage-blob");

async function refused(code, call) {
  await assert.rejects(call, (err) => {
    assert.strictEqual(err.statusCode, 403);
    assert.strictEqual(err.code ?? err.details?.errorCode, code);
    return true;
  });
}

async function main() {
  const service = BlobServiceClient.fromConnectionString(process.env.AZURE_STORAGE_CONNECTION_STRING);
  const owner = service.getContainerClient(process.argv[2]);
  await owner.create();
  const expiresOn = new Date(Date.now() + 3600e3);
  await owner.setAccessPolicy(undefined, [{ id: "all", accessPolicy: { expiresOn, permissions: "racwdl" } }]);
  assert.strictEqual((await owner.getAccessPolicy()).signedIdentifiers[0].accessPolicy.permissions, "racwdl");

  const urls = [
    await owner.generateSasUrl({ identifier: "all" }),
    await owner.generateSasUrl({ expiresOn, permissions: ContainerSASPermissions.parse("racwdl"), protocol: SASProtocol.HttpsAndHttp,
      ipRange: { start: "127.0.0.1", end: "127.0.0.9" } }),
  ];
  for (const url of urls) {
    const container = new ContainerClient(url);
    const blob = container.getPageBlobClient("disks/a b+ü.vhd");
    const page = crypto.randomBytes(512);
    await blob.create(4096);
    await blob.uploadPages(page, 512, 512);
    assert.deepStrictEqual(await blob.downloadToBuffer(512, 512), page);
    const { snapshot } = await blob.createSnapshot();
    await blob.clearPages(512, 512);
    assert.deepStrictEqual(await blob.withSnapshot(snapshot).downloadToBuffer(512, 512), page);
    const names = [];
    for await (const item of container.listBlobsFlat()) names.push(item.name);
    assert.deepStrictEqual(names, ["disks/a b+ü.vhd"]);
    await refused("AuthorizationFailure", () => container.delete());

    const reader = new PageBlobClient(await owner.getPageBlobClient("disks/a b+ü.vhd").generateSasUrl({ expiresOn,
      permissions: BlobSASPermissions.parse("r"), contentType: "x/y" }));
    assert.strictEqual((await reader.getProperties()).contentType, "x/y");
    await refused("AuthorizationPermissionMismatch", () => reader.clearPages(0, 512));
    await blob.delete({ deleteSnapshots: "include" });
  }
  await owner.setAccessPolicy();
  await refused("AuthenticationFailed", () => new ContainerClient(urls[0]).listBlobsFlat().next());
  await owner.delete();
  console.log("ok");
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
