# Clients with each of the credentials that clients have.
import os
import time

from azure.core.credentials import AccessToken, AzureSasCredential
from azure.storage.blob import (
    AccountSasPermissions, BlobClient, BlobSasPermissions, BlobServiceClient, ContainerClient, ContainerSasPermissions, ResourceTypes,
    generate_account_sas, generate_blob_sas, generate_container_sas)

from steps import EXPIRY, OPTIONS

BLOB = "disks/a b+ü.vhd"
PERMISSIONS = {"read": True, "write": True, "delete": True, "add": True, "create": True, "tag": True, "set_immutability_policy": True}


class Bearer:
    def get_token(self, *scopes, **kwargs):
        return AccessToken(os.environ["PAGEVAULT_BEARER"], int(time.time()) + 3600)


class Clients:
    """Clients for an account with a credential: of the service, the container and the blob, each as far as it goes, and of
    the service with the key, which is that of the owner."""

    def __init__(self, connection, credential, name):
        self.name, self.kind = name, credential
        self.owner = BlobServiceClient.from_connection_string(connection, **OPTIONS)
        self.url = self.owner.url.rstrip("/")
        hosts = {"secondary_hostname": self.url.split("//")[1] + "-secondary", **OPTIONS}
        self.account, self.key = self.owner.credential.account_name, self.owner.credential.account_key
        self.service = self.container = None
        self.sas = ""
        if credential in ("key", "bearer", "account-sas"):
            if credential == "key":
                self.credential = self.owner.credential
            elif credential == "bearer":
                self.credential = Bearer()
            else:
                self.sas = generate_account_sas(self.account, self.key, ResourceTypes(service=True, container=True, object=True), AccountSasPermissions(
                    list=True, filter_by_tags=True, **PERMISSIONS), EXPIRY, protocol="https,http")
                self.credential = AzureSasCredential(self.sas)
            self.service = BlobServiceClient(self.url, credential=self.credential, **hosts)
            self.container = self.service.get_container_client(name)
            self.blob = self.container.get_blob_client(BLOB)
            return
        self.owner.create_container(name)
        if credential == "container-sas":
            self.credential = self.sas = generate_container_sas(self.account, name, self.key, expiry=EXPIRY, permission=ContainerSasPermissions(
                list=True, filter_by_tags=True, **PERMISSIONS))
            self.container = ContainerClient(self.url, name, credential=self.sas, **OPTIONS)
            self.blob = self.container.get_blob_client(BLOB)
        else:
            self.credential = self.sas = generate_blob_sas(self.account, name, BLOB, account_key=self.key, expiry=EXPIRY, permission=BlobSasPermissions(
                **PERMISSIONS))
            self.blob = BlobClient(self.url, name, BLOB, credential=self.sas, **OPTIONS)

    def at(self, snapshot, blob=BLOB):
        """Returns a client of a snapshot."""
        return BlobClient(self.url, self.name, blob, snapshot=snapshot, credential=self.credential, **OPTIONS)

    def source(self, blob):
        """Returns the URL of a blob with the token, if there is one, that it takes to read it."""
        if not self.sas or "sig=" in blob.url:
            return blob.url
        return blob.url + ("&" if "?" in blob.url else "?") + self.sas

    def by_host_name(self):
        """Returns a client of the service that has the account in the host name: a request through a proxy has that name in it,
        which nobody needs to resolve then. It is for http."""
        name = f"{self.account}%s.blob.example.com"
        credential = {"account_name": self.account, "account_key": self.key} if self.kind == "key" else self.credential
        return BlobServiceClient("http://" + name % "", credential=credential, secondary_hostname=name % "-secondary",
                                 proxies={"http": "http://" + self.owner.primary_hostname.split("/")[0]}, **OPTIONS)
