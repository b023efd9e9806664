# Copies of page blobs.
import os
import time

from steps import A


def copies(a, name, files):
    to = ["--destination-container", name, "--destination-blob", "copy"]
    copy = ["--container-name", name, "--name", "copy"]
    a.step("blob copy start", "blob", "copy", "start", *to, "--source-uri", a.source(name, "disk"), show=lambda r: r["copy_status"])
    a.step("blob copy cancel that is done", "blob", "copy", "cancel", *to, "--copy-id", A)
    a.step("blob copy download", "blob", "download", *copy, "--file", files.back, "--no-progress", show=files.shown)
    a.step("blob copy of nothing", "blob", "copy", "start", *to, "--source-uri", a.source(name, "none"))
    a.step("blob copy at once refused", "blob", "copy", "start", *to, "--source-uri", a.source(name, "disk"), "--requires-sync", "true")
    for cancel in (["blob", "copy", "cancel", *to], ["blob", "incremental-copy", "cancel", *copy]):
        if cancel[1] == "incremental-copy" and a.login:  # it is of the old SDK in az, which takes addresses from connection strings only
            continue
        what = " ".join(cancel[:3])
        started = a.step(f"{what} pending", "blob", "copy", "start", *to, "--source-uri", os.environ["PAGEVAULT_SLOW_SOURCE"], show=lambda r: r["copy_status"])
        a.step(what, *cancel, "--copy-id", started["copy_id"])
        a.step(f"{what} done", "blob", "show", *copy, show=lambda r: f"{r['properties']['copy']['status']} {r['properties']['contentLength']}")
    a.step("blob copy delete", "blob", "delete", *copy)
    if not a.login:
        incremental(a, name, files)


def incremental(a, name, files):
    """Copies two snapshots of the blob, one after the other, and leaves nothing."""
    start = ["blob", "incremental-copy", "start", "--destination-container", name, "--destination-blob", "incremental", "--source-uri"]
    copy = ["--container-name", name, "--name", "incremental"]

    def listed():
        return [b for b in a.az("blob", "list", "--container-name", name, "--prefix", "incremental", "--include", "cs")]

    def made(result):
        while (last := listed()[-1])["properties"]["copy"]["status"] == "pending":
            time.sleep(0.01)
        a.az("blob", "download", *copy, "--snapshot", listed()[-2]["snapshot"], "--file", files.back, "--no-progress")
        return f"{result['status']} {last['properties']['copy']['status']} {len(listed())} {files.shown(None)}"
    disk = ["--container-name", name, "--name", "disk"]
    first, second = (a.az("blob", "snapshot", *disk)["snapshot"] for _ in range(2))
    a.step("blob incremental-copy start", *start, a.source(name, "disk", first), show=made)
    a.step("blob incremental-copy start again", *start, a.source(name, "disk", second), show=made)
    a.step("blob incremental-copy of the blob", *start, a.source(name, "disk"))
    a.step("blob incremental-copy delete", "blob", "delete", *copy, "--delete-snapshots", "include")
    for snapshot in (first, second):
        a.az("blob", "delete", *disk, "--snapshot", snapshot)
