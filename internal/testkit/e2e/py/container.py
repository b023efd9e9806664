# What there is to do with a container and with the service that it is in.
import datetime
import json

from azure.storage.blob import AccessPolicy, ContainerClient, CorsRule, generate_container_sas

from lease import lease
from steps import EXPIRY, KIB, NOW, OPTIONS, account, quiet, sha, statuses, step


def container_work(clients):
    service, container, name = clients.service, clients.container, clients.name
    whole(container)
    for n in ("x/1", "x/2", "y"):
        container.get_blob_client(n).create_page_blob(512)
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
    step("container account info", lambda: account(container.get_account_information()))
    step("find by tags", lambda: ",".join(b.name for b in service.find_blobs_by_tags(f"@container = '{name}' AND stage = 'two'")))
    step("list containers", lambda: ",".join(f"{c.name == name} {c.metadata}" for c in service.list_containers(name_starts_with=name, include_metadata=True)))

    def properties():
        was = service.get_service_properties()
        service.set_service_properties(cors=[CorsRule(["http://example.org"], ["GET"], allowed_headers=["*"], exposed_headers=["*"], max_age_in_seconds=5)])
        cors = service.get_service_properties()["cors"]
        service.set_service_properties(cors=was["cors"])
        return ",".join(",".join(r.allowed_origins) if isinstance(r.allowed_origins, list) else r.allowed_origins for r in cors)
    step("service properties", properties)
    step("service account info", lambda: account(service.get_account_information()))
    secondary(clients)
    policies(clients)
    if clients.kind != "account-sas":  # as the parts of a batch are signed by themselves
        batches(clients)


def whole(container):
    """Writes and reads a blob as a whole, which the SDK makes of several requests, and leaves nothing."""
    content = b"w" * 512 + bytes(8 * KIB) + b"v" * 512

    def upload():
        container.upload_blob("whole", content, blob_type="PageBlob", overwrite=True, validate_content=True, tags={"a": "b"})
        pages, _ = container.get_blob_client("whole").get_page_ranges()
        return f"{sha(container.download_blob('whole').readall())} {sha(content)} {','.join(str(p['start']) for p in pages)}"
    step("upload as a whole", upload)
    step("upload as a whole again", quiet(container.upload_blob, "whole", content, blob_type="PageBlob"))
    step("delete by the container", quiet(container.delete_blob, "whole"))


def secondary(clients):
    """Asks the secondary address, which is for reading."""
    def stats():
        told = clients.by_host_name().get_service_stats()["geo_replication"]
        return f"{told['status']} {told['last_sync_time'] > NOW - datetime.timedelta(hours=1)}"
    if clients.url.startswith("http:"):  # the SDK knows the second address by its host name only
        step("service stats", stats)
    there = clients.container.get_blob_client(clients.blob.blob_name)
    there.location_mode = "secondary"
    step("secondary read", lambda: there.download_blob().readall() == clients.blob.download_blob().readall())
    step("secondary write", quiet(there.clear_page, 0, 512))


def policies(clients):
    """Has tokens by a policy that is stored with the container."""
    container = clients.container

    def policy():
        container.set_container_access_policy({"p": AccessPolicy("rl", expiry=EXPIRY)})
        return ",".join(f"{i.id} {i.access_policy.permission}" for i in container.get_container_access_policy()["signed_identifiers"])
    step("policy", policy)
    if clients.kind == "key":
        sas = generate_container_sas(clients.account, clients.name, clients.key, policy_id="p")
        by = ContainerClient(clients.url, clients.name, credential=sas, **OPTIONS)
        step("by policy", lambda: len(list(by.list_blobs(name_starts_with="x/"))))
        step("beyond policy", quiet(by.get_blob_client("y").clear_page, 0, 512))

        def revoked():
            container.set_container_access_policy({})
            list(by.list_blobs())
        step("policy revoked", revoked)


def batches(clients):
    # The SDK leaves the account out of the addresses of a batch's parts, which is right only where it is in the host name.
    step("batch by path", lambda: statuses(clients.container.delete_blobs("x/1", raise_on_any_failure=False)))
    if clients.url.startswith("http:"):
        named = clients.by_host_name().get_container_client(clients.name)
        step("batch by host name", lambda: statuses(named.delete_blobs("x/1", "none", raise_on_any_failure=False)))
        step("batch tier in a standard account", lambda: statuses(named.set_premium_page_blob_tier_blobs("P10", "y", raise_on_any_failure=False)))
        step("list after batch", lambda: ",".join(named.list_blob_names()))
