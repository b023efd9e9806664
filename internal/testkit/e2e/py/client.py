# Does everything that Azure's Python SDK can do with page blobs and containers, once, and prints what it did and what
# came of it: a line for each step, "name: result" or "name! status code" for an error. What the steps are to say is in
# clients_test.go.
#   python3 client.py CREDENTIAL CONTAINER     CREDENTIAL is key, account-sas, container-sas, blob-sas or bearer
# with AZURE_STORAGE_CONNECTION_STRING of the server in the environment, and PAGEVAULT_BEARER for bearer.
import datetime
import hashlib
import json
import os
import sys
import time

from azure.core import MatchConditions
from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    AccessPolicy, AccountSasPermissions, BlobBlock, BlobClient, BlobLeaseClient, BlobSasPermissions, BlobServiceClient, ContainerClient,
    ContainerSasPermissions, ContentSettings, CorsRule, ResourceTypes, SequenceNumberAction, generate_account_sas, generate_blob_sas,
    generate_container_sas)

CREDENTIAL, NAME = sys.argv[1:3]
KIB = 1024
BLOB = "disks/a b+ü.vhd"
NOW = datetime.datetime.now(datetime.timezone.utc)
EXPIRY = NOW + datetime.timedelta(hours=1)
OPTIONS = {"retry_total": 0}
OWNER = BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"], **OPTIONS)
ACCOUNT, KEY = OWNER.credential.account_name, OWNER.credential.account_key
A, B = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


class Bearer:
    def get_token(self, *scopes, **kwargs):
        return AccessToken(os.environ["PAGEVAULT_BEARER"], int(time.time()) + 3600)


def open_clients():
    """Returns clients with the credential: of the service, the container and the blob, each as far as it goes, and it."""
    url = OWNER.url.rstrip("/")
    if CREDENTIAL == "key":
        service = OWNER
    elif CREDENTIAL == "bearer":
        service = BlobServiceClient(url, credential=Bearer(), **OPTIONS)
    elif CREDENTIAL == "account-sas":
        sas = generate_account_sas(ACCOUNT, KEY, ResourceTypes(service=True, container=True, object=True), AccountSasPermissions(
            read=True, write=True, delete=True, list=True, add=True, create=True, tag=True, filter_by_tags=True), EXPIRY, protocol="https,http")
        service = BlobServiceClient(url, credential=AzureSasCredential(sas), **OPTIONS)
    else:
        OWNER.create_container(NAME)
        if CREDENTIAL == "container-sas":
            sas = generate_container_sas(ACCOUNT, NAME, KEY, permission=ContainerSasPermissions(
                read=True, write=True, delete=True, list=True, add=True, create=True, tag=True, filter_by_tags=True), expiry=EXPIRY)
            container = ContainerClient(url, NAME, credential=sas, **OPTIONS)
            return None, container, container.get_blob_client(BLOB), sas
        sas = generate_blob_sas(ACCOUNT, NAME, BLOB, account_key=KEY, permission=BlobSasPermissions(
            read=True, write=True, delete=True, add=True, create=True, tag=True), expiry=EXPIRY)
        return None, None, BlobClient(url, NAME, BLOB, credential=sas, **OPTIONS), sas
    container = service.get_container_client(NAME)
    return service, container, container.get_blob_client(BLOB), service.credential


def step(what, call):
    """Does something and says what came of it."""
    try:
        result = call()
    except HttpResponseError as err:
        code = getattr(err.error_code, "value", err.error_code) if hasattr(err, "error_code") else ""
        print(f"{what}! {err.status_code} {code}")
        return None
    print(f"{what}: {'ok' if result is None else result}")
    return result


def quiet(call, *args, **kwargs):
    """A call whose result says nothing."""
    def run():
        call(*args, **kwargs)
    return run


def sha(data):
    return hashlib.sha256(data).hexdigest()[:16]


def ranges(pages):
    return ",".join(f"{p['start']}-{p['end']}" for p in pages)


def page_blob(blob, credential):
    step("create", quiet(blob.create_page_blob, 64 * KIB, content_settings=ContentSettings(content_type="x/y"), metadata={"Kind": "disk"},
                         sequence_number=7, tags={"stage": "one", "kind": "disk"}))
    step("create again if none", quiet(blob.create_page_blob, 64 * KIB, match_condition=MatchConditions.IfMissing))
    step("upload", quiet(blob.upload_page, b"a" * 4 * KIB, 0, 4 * KIB))
    step("upload with md5", quiet(blob.upload_page, b"b" * 4 * KIB, 8 * KIB, 4 * KIB, validate_content=True))
    step("upload off the end", quiet(blob.upload_page, b"x" * 512, 64 * KIB, 512))
    step("upload if sequence", quiet(blob.upload_page, b"x" * 512, 0, 512, if_sequence_number_lt=7))
    step("read", lambda: sha(blob.download_blob().readall()))
    step("read range", lambda: sha(blob.download_blob(8 * KIB, 4 * KIB).readall()))
    step("read range with md5", lambda: sha(blob.download_blob(8 * KIB, 4 * KIB, validate_content=True).readall()))
    step("read off the end", quiet(blob.download_blob, 64 * KIB, 1))
    step("page ranges", lambda: ranges(blob.get_page_ranges()[0]))
    snapshot = {}

    def take():
        snapshot.update(blob.create_snapshot(metadata={"at": "one"}))
    step("snapshot", take)
    at = snapshot["snapshot"]
    old = BlobClient(OWNER.url.rstrip("/"), NAME, BLOB, snapshot=at, credential=credential, **OPTIONS)
    step("clear", quiet(blob.clear_page, 8 * KIB, 1 * KIB))
    step("write after the snapshot", quiet(blob.upload_page, b"c" * 512, 16 * KIB, 512))

    def diff():
        pages, cleared = blob.get_page_ranges(previous_snapshot_diff=at)
        return f"{ranges(pages)} cleared {ranges(cleared)}"
    step("page ranges diff", diff)
    step("page ranges as items", lambda: ",".join(f"{p.start}-{p.end}" for p in blob.list_page_ranges()))
    step("diff as items", lambda: ",".join(f"{'c' if p.cleared else 'p'}{p.start}-{p.end}" for p in blob.list_page_ranges(previous_snapshot=at)))
    step("snapshot metadata", lambda: json.dumps(old.get_blob_properties().metadata))
    step("snapshot content", lambda: sha(old.download_blob().readall()))

    def resize():
        blob.resize_blob(32 * KIB)
        return blob.get_blob_properties().size
    step("resize", resize)
    step("sequence max", lambda: blob.set_sequence_number(SequenceNumberAction.Max, "9")["blob_sequence_number"])
    step("sequence increment", lambda: blob.set_sequence_number(SequenceNumberAction.Increment)["blob_sequence_number"])
    step("sequence update", lambda: blob.set_sequence_number(SequenceNumberAction.Update, "3")["blob_sequence_number"])

    def headers():
        blob.set_http_headers(ContentSettings(content_type="a/b", cache_control="no-cache", content_language="de"))
        p = blob.get_blob_properties()
        return f"{p.content_settings.content_type} {p.content_settings.cache_control} {p.content_settings.content_language} {p.blob_type.value} {p.page_blob_sequence_number}"
    step("set headers", headers)

    def metadata():
        blob.set_blob_metadata({"Owner": "me", "a1": "1", "a_b": "2"})
        return json.dumps(blob.get_blob_properties().metadata, sort_keys=True)
    step("metadata", metadata)
    step("exists", blob.exists)
    step("if match", quiet(blob.set_blob_metadata, {}, etag='"0x1"', match_condition=MatchConditions.IfNotModified))
    step("if modified", quiet(blob.get_blob_properties, if_modified_since=NOW + datetime.timedelta(minutes=1)))
    step("if unmodified", quiet(blob.set_blob_metadata, {}, if_unmodified_since=NOW - datetime.timedelta(hours=1)))

    def tags():
        blob.set_blob_tags({"stage": "two", "kind": "disk"})
        return json.dumps(blob.get_blob_tags(), sort_keys=True)
    step("tags", tags)
    step("if tags", quiet(blob.get_blob_properties, if_tags_match_condition="stage = 'one'"))
    step("account info", lambda: blob.get_account_information()["account_kind"])
    lease(blob, "blob", lambda **held: blob.clear_page(0, 512, **held), blob.get_blob_properties)
    step("block blob refused", quiet(blob.upload_blob, b"x", overwrite=True))
    step("append blob refused", quiet(blob.create_append_blob))
    step("blocks refused", quiet(blob.commit_block_list, [BlobBlock("AAAA")]))
    return old


def lease(resource, kind, write, properties):
    """Goes through all that can be done to a lease on something that write changes."""
    held, other = BlobLeaseClient(resource, lease_id=A), BlobLeaseClient(resource, lease_id=B)
    step(f"{kind} lease acquire", quiet(held.acquire, 15))
    step(f"{kind} lease acquire by another", quiet(other.acquire, 15))
    step(f"{kind} lease missing", quiet(write))
    step(f"{kind} lease wrong", quiet(write, lease=B))
    step(f"{kind} lease renew", quiet(held.renew))
    step(f"{kind} lease change", quiet(held.change, B))

    def state():
        p = properties().lease
        return f"{p.state} {p.status} {p.duration}"
    step(f"{kind} lease state", state)
    step(f"{kind} lease release", quiet(held.release))
    step(f"{kind} lease acquire forever", quiet(held.acquire, -1))
    step(f"{kind} lease break", lambda: held.break_lease(0))
    step(f"{kind} lease renew broken", quiet(held.renew))
    step(f"{kind} lease release broken", quiet(held.release))


def copies(container, blob, old):
    copy = container.get_blob_client("copy")
    step("copy", lambda: f"{copy.start_copy_from_url(old.url)['copy_status']} {sha(copy.download_blob().readall())}")
    step("abort copy", lambda: copy.abort_copy(copy.get_blob_properties().copy.id))

    def from_url():
        copy.upload_pages_from_url(blob.url, 0, 512, 16 * KIB)
        return sha(copy.download_blob(0, 512).readall())
    step("pages from url", from_url)
    step("copy of nothing", quiet(copy.start_copy_from_url, container.get_blob_client("none").url))
    step("copy deleted", quiet(copy.delete_blob))


def deleted(container, *names):
    """Deletes blobs in a batch, and returns the status of each."""
    return ",".join(str(r.status_code) for r in container.delete_blobs(*names, raise_on_any_failure=False))


def container_work(service, container):
    for name in ("x/1", "x/2", "y"):
        container.get_blob_client(name).create_page_blob(512)
    step("list", lambda: ",".join(b.name + ("@" if b.snapshot else "") for b in container.list_blobs(include=["snapshots"])))
    step("list of names", lambda: ",".join(container.list_blob_names()))

    def details():
        b, = container.list_blobs(name_starts_with="disks/", include=["metadata", "tags"])
        return f"{b.blob_type.value} {b.size} {b.content_settings.content_type} {b.metadata.get('Owner')} {b.tags['stage']}"
    step("list details", details)
    step("list hierarchy", lambda: ",".join(b.name for b in container.walk_blobs()))
    step("list in pages", lambda: ",".join(str(len(list(p))) for p in container.list_blobs(results_per_page=3).by_page()))
    step("find by tags in container", lambda: ",".join(b.name for b in container.find_blobs_by_tags("stage = 'two'")))
    step("bad tag expression", lambda: list(container.find_blobs_by_tags("stage ==")))
    if service is None:
        step("container properties by token", quiet(container.get_container_properties))
        step("container delete by token", quiet(container.delete_container))
        return
    step("container exists", container.exists)
    step("container create again", quiet(container.create_container))

    def metadata():
        container.set_container_metadata({"of": "tests"})
        return json.dumps(container.get_container_properties().metadata)
    step("container metadata", metadata)
    lease(container, "container", container.delete_container, container.get_container_properties)
    step("find by tags", lambda: ",".join(b.name for b in service.find_blobs_by_tags(f"@container = '{NAME}' AND stage = 'two'")))
    step("list containers", lambda: ",".join(f"{c.name == NAME} {c.metadata}" for c in service.list_containers(name_starts_with=NAME, include_metadata=True)))

    def properties():
        was = service.get_service_properties()
        service.set_service_properties(cors=[CorsRule(["http://example.org"], ["GET"], allowed_headers=["*"], exposed_headers=["*"], max_age_in_seconds=5)])
        cors = service.get_service_properties()["cors"]
        service.set_service_properties(cors=was["cors"])
        return ",".join(",".join(r.allowed_origins) if isinstance(r.allowed_origins, list) else r.allowed_origins for r in cors)
    step("service properties", properties)
    step("service account info", lambda: service.get_account_information()["account_kind"])

    def policy():
        container.set_container_access_policy({"p": AccessPolicy("rl", expiry=EXPIRY)})
        return ",".join(f"{i.id} {i.access_policy.permission}" for i in container.get_container_access_policy()["signed_identifiers"])
    step("policy", policy)
    if CREDENTIAL == "key":
        sas = generate_container_sas(ACCOUNT, NAME, KEY, policy_id="p")
        by = ContainerClient(OWNER.url.rstrip("/"), NAME, credential=sas, **OPTIONS)
        step("by policy", lambda: len(list(by.list_blobs(name_starts_with="x/"))))
        step("beyond policy", quiet(by.get_blob_client("y").clear_page, 0, 512))

        def revoked():
            container.set_container_access_policy({})
            list(by.list_blobs())
        step("policy revoked", revoked)
    if CREDENTIAL != "account-sas":  # as the parts of a batch are signed by themselves
        # The SDK leaves the account out of the addresses of a batch's parts, which is right only where it is in the host name.
        step("batch by path", lambda: deleted(container, "x/1"))
        if OWNER.scheme == "http":
            # A request through a proxy has the host name in it, which this way nobody needs to resolve.
            named = ContainerClient(f"http://{ACCOUNT}.blob.example.com", NAME, credential={"account_name": ACCOUNT, "account_key": KEY},
                                    proxies={"http": "http://" + OWNER.primary_hostname.split("/")[0]}, **OPTIONS)
            step("batch by host name", lambda: deleted(named, "x/1", "none"))
            step("list after batch", lambda: ",".join(named.list_blob_names()))


def main():
    service, container, blob, credential = open_clients()
    if service is not None:
        step("container create", quiet(container.create_container))
    old = page_blob(blob, credential)
    if CREDENTIAL in ("key", "bearer"):
        copies(container, blob, old)
    if container is not None:
        container_work(service, container)
    step("delete with snapshots", quiet(blob.delete_blob))
    step("delete snapshot", quiet(old.delete_blob))
    step("delete", quiet(blob.delete_blob))
    step("delete again", quiet(blob.delete_blob))
    step("gone", quiet(blob.get_blob_properties))
    OWNER.delete_container(NAME)
    print("end")


main()
