// Clients with each of the credentials that clients have.
"use strict";
const { expiresOn, options, protocol } = require("./steps.cjs");
const {
  AccountSASPermissions, AccountSASResourceTypes, AccountSASServices, BlobSASPermissions, BlobServiceClient, ContainerClient,
  ContainerSASPermissions, PageBlobClient,
} = require("@azure/storage-blob");

const blobName = "disks/a b+ü.vhd";

// openClients returns clients for an account with a credential: of the service, the container and the blob, each as far as
// it goes, and of the service with the key, which is that of the owner.
async function openClients(connection, credential, name) {
  const owner = BlobServiceClient.fromConnectionString(connection, options);
  const of = (service) => {
    const container = service.getContainerClient(name);
    return { owner, service, container, blob: container.getPageBlobClient(blobName) };
  };
  const { container, blob } = of(owner);
  switch (credential) {
    case "key":
      return of(owner);
    case "bearer": {
      const token = { getToken: async () => ({ token: process.env.PAGEVAULT_BEARER, expiresOnTimestamp: Date.now() + 3600e3 }) };
      return of(new BlobServiceClient(owner.url, token, options));
    }
    case "account-sas": {
      const url = owner.generateAccountSasUrl(expiresOn, AccountSASPermissions.parse("rwdxylacupitf"), AccountSASResourceTypes.parse("sco").toString(),
        { services: AccountSASServices.parse("b").toString(), protocol });
      return of(new BlobServiceClient(url, undefined, options));
    }
    case "container-sas": {
      await container.create();
      const url = await container.generateSasUrl({ expiresOn, protocol, permissions: ContainerSASPermissions.parse("racwdxltfi") });
      const own = new ContainerClient(url, undefined, options);
      return { owner, container: own, blob: own.getPageBlobClient(blobName) };
    }
    case "blob-sas": {
      await container.create();
      const url = await blob.generateSasUrl({ expiresOn, protocol, permissions: BlobSASPermissions.parse("racwdxti") });
      return { owner, blob: new PageBlobClient(url, undefined, options) };
    }
  }
  throw new Error(`no credential ${credential}`);
}

// secondary returns a client of the service's secondary address, with the same credential.
function secondary(service) {
  const url = new URL(service.url);
  url.pathname = url.pathname.replace(/\/?$/, "-secondary");
  return new BlobServiceClient(url.href, service.credential, options);
}

module.exports = { openClients, secondary };
