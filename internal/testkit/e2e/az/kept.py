# Soft delete: what is deleted is kept, and brought back. All of it begins and ends without the blob.


def blobs(owner, a, name, files):
    disk = ["--container-name", name, "--name", "disk"]
    policy = ["blob", "service-properties", "delete-policy"]
    shown = {"show": lambda r: f"{r['enabled']} {r['days']}" if isinstance(r, dict) else f"{r.enabled} {r.days}"}

    def listed(r):
        return ",".join(f"{b['deleted']}{'@' if b['snapshot'] else ''} {b['properties']['remainingRetentionDays']}" for b in r)
    owner.step("delete-policy update", *policy, "update", "--enable", "true", "--days-retained", "2")
    owner.step("delete-policy show", *policy, "show", **shown)
    a.az("blob", "upload", "--type", "page", *disk, "--file", files.one, "--no-progress")
    at = a.az("blob", "snapshot", *disk)["snapshot"]
    a.az("blob", "upload", "--type", "page", *disk, "--file", files.two, "--no-progress", "--overwrite")
    download = ["blob", "download", *disk, "--file", files.back, "--no-progress"]
    a.step("snapshot kept", "blob", "delete", *disk, "--snapshot", at)
    a.step("snapshot kept is gone", *download, "--snapshot", at)
    a.step("snapshot undelete", "blob", "undelete", *disk)
    a.step("snapshot undeleted", *download, "--snapshot", at, show=files.shown)
    a.step("blob kept", "blob", "delete", *disk, "--delete-snapshots", "include")
    a.step("blob kept is gone", "blob", "exists", *disk, show=lambda r: r["exists"])
    a.step("blob list kept", "blob", "list", "--container-name", name, "--include", "ds", show=listed)
    a.step("blob list without kept", "blob", "list", "--container-name", name, show=len)
    a.step("blob undelete", "blob", "undelete", *disk)
    a.step("blob undeleted", *download, show=files.shown)
    owner.step("service-properties update", "blob", "service-properties", "update", "--delete-retention", "false")
    owner.step("service-properties updated", *policy, "show", **shown)
    a.step("kept deleted at last", "blob", "delete", *disk, "--delete-snapshots", "include")
    a.step("nothing to undelete", "blob", "undelete", *disk)


def containers(a, name, files):
    """Deletes a container and restores it, which the account's properties have nothing to do with."""
    a.step("kept container create", "container", "create", "--name", name, "--metadata", "of=kept", show=lambda r: r["created"])
    a.az("blob", "upload", "--type", "page", "--container-name", name, "--name", "disk", "--file", files.one, "--no-progress")
    a.step("container kept", "container", "delete", "--name", name, show=lambda r: r["deleted"])
    a.step("container kept is gone", "container", "exists", "--name", name, show=lambda r: r["exists"])
    found = a.step("container list kept", "container", "list", "--prefix", name, "--include-deleted", "true", "--include-metadata", "true",
                   show=lambda r: ",".join(f"{c['deleted']} {c['metadata']}" for c in r))
    a.step("container restore of another version", "container", "restore", "--name", name, "--deleted-version", "01D60F8BB59A4652")
    a.step("container restore", "container", "restore", "--name", name, "--deleted-version", found[0]["version"])
    a.step("container restored", "blob", "download", "--container-name", name, "--name", "disk", "--file", files.back, "--no-progress", show=files.shown)
