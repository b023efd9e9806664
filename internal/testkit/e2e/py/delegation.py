# Tokens that are signed with the key of a user, whom the service knows by a bearer token.
import base64
import datetime

from azure.storage.blob import BlobClient, ContainerClient, generate_blob_sas, generate_container_sas

from steps import EXPIRY, KIB, NOW, OPTIONS, quiet, sha, step


def delegation(clients):
    blob, got = clients.blob, {}

    def key():
        k = got["key"] = clients.service.get_user_delegation_key(NOW - datetime.timedelta(minutes=1), EXPIRY)
        return f"{k.signed_tid} {k.signed_oid} {k.signed_service} {len(base64.b64decode(k.value))}"
    step("delegation key", key)
    sas = generate_blob_sas(clients.account, clients.name, blob.blob_name, user_delegation_key=got["key"], permission="r", expiry=EXPIRY)
    reader = BlobClient(clients.url, clients.name, blob.blob_name, credential=sas, **OPTIONS)
    step("user's blob token", lambda: reader.download_blob().readall() == blob.download_blob().readall())
    step("user's blob token beyond", quiet(reader.clear_page, 0, 512))
    sas = generate_container_sas(clients.account, clients.name, user_delegation_key=got["key"], permission="rwl", expiry=EXPIRY)
    own = ContainerClient(clients.url, clients.name, credential=sas, **OPTIONS)

    def work():
        own.get_blob_client(blob.blob_name).upload_page(b"u" * 512, 24 * KIB, 512)
        return f"{sha(blob.download_blob(24 * KIB, 512).readall())} {len(list(own.list_blobs(name_starts_with='disks/')))}"
    step("user's container token", work)
    step("user's container token beyond", quiet(own.get_blob_client(blob.blob_name).delete_blob))
    forged = ContainerClient(clients.url, clients.name, credential=sas.replace("sp=rwl", "sp=rwdl"), **OPTIONS)
    step("user's container token forged", lambda: list(forged.list_blobs()))
    step("key that is over", quiet(clients.service.get_user_delegation_key, NOW - datetime.timedelta(hours=2), NOW - datetime.timedelta(hours=1)))
