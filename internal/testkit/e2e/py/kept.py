# Soft delete: what is deleted is kept, and brought back. All of it begins and ends without the blob.
from azure.storage.blob import RetentionPolicy

from steps import KIB, quiet, sha, step


def retention(service, days):
    """Sets for how many days the account keeps what is deleted; 0: not at all."""
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=days > 0, days=days or None))
    told = service.get_service_properties()["delete_retention_policy"]
    return f"{told.enabled} {told.days}"


def kept_blobs(clients):
    blob = clients.blob
    step("retention", lambda: retention(clients.owner, 2))
    blob.create_page_blob(4 * KIB, metadata={"at": "one"})
    blob.upload_page(b"k" * 512, 0, 512)
    snapshot = clients.at(blob.create_snapshot()["snapshot"])
    blob.upload_page(b"l" * 512, 512, 512)

    def state():
        return f"{sha(blob.download_blob().readall())} {sha(snapshot.download_blob().readall())} {blob.get_blob_properties().metadata['at']}"

    def undelete():
        blob.undelete_blob()
        return state()
    step("before deletion", state)
    step("snapshot kept", quiet(snapshot.delete_blob))
    step("snapshot kept is gone", quiet(snapshot.get_blob_properties))
    step("snapshot undeleted", undelete)
    step("blob kept", quiet(blob.delete_blob, delete_snapshots="include"))
    step("blob kept is gone", quiet(blob.get_blob_properties))
    if clients.container is not None:
        step("list kept", lambda: ",".join(
            f"{b.deleted}{'@' if b.snapshot else ''} {b.deleted_time is not None} {b.remaining_retention_days}"
            for b in clients.container.list_blobs(name_starts_with="disks/", include=["deleted", "snapshots"])))
        step("list without kept", lambda: len(list(clients.container.list_blobs(name_starts_with="disks/"))))
    step("blob undeleted", undelete)
    step("overwritten", quiet(blob.create_page_blob, 512, metadata={"at": "two"}))
    step("no retention", lambda: retention(clients.owner, 0))
    step("kept deleted at last", quiet(blob.delete_blob, delete_snapshots="include"))
    step("nothing to undelete", quiet(blob.undelete_blob))


def kept_containers(service, name):
    """Deletes a container and restores it, which the account's properties have nothing to do with."""
    container = service.get_container_client(name)
    step("kept container create", quiet(container.create_container, metadata={"of": "kept"}))
    blob = container.get_blob_client("b")
    blob.create_page_blob(512)
    blob.upload_page(b"m" * 512, 0, 512)
    step("container kept", quiet(container.delete_container))
    step("container kept is gone", quiet(container.get_container_properties))
    version = []

    def listed():
        c, = service.list_containers(name_starts_with=name, include_deleted=True, include_metadata=True)
        version.append(c.version)
        return f"{c.deleted} {c.metadata['of']}"
    step("list kept containers", listed)
    step("container of another version", quiet(service.undelete_container, name, "01D60F8BB59A4652"))

    def restored():
        restored = service.undelete_container(name, version[0])
        return f"{restored.get_container_properties().metadata['of']} {sha(blob.download_blob().readall())}"
    step("container restored", restored)
