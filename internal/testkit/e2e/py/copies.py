# Copies of page blobs.
import hashlib
import os
import time

from azure.core import MatchConditions
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobClient

from steps import KIB, OPTIONS, quiet, ranges, sha, step


def copies(clients, old):
    container, blob, source = clients.container, clients.blob, clients.source
    copy = container.get_blob_client("copy")
    step("copy", lambda: f"{copy.start_copy_from_url(source(old))['copy_status']} {sha(copy.download_blob().readall())}")
    step("abort copy that is done", lambda: copy.abort_copy(copy.get_blob_properties().copy.id))

    def from_url(offset, **how):
        copy.upload_pages_from_url(source(blob), offset, 512, 16 * KIB, **how)
        return sha(copy.download_blob(offset, 512).readall())
    step("pages from url", lambda: from_url(0))
    step("pages from url with md5", lambda: from_url(512, source_content_md5=hashlib.md5(b"c" * 512).digest()))
    step("pages from url with a bad md5", lambda: from_url(512, source_content_md5=bytes(16)))
    step("pages from url if changed", lambda: from_url(512, source_etag='"0x1"', source_match_condition=MatchConditions.IfNotModified))
    step("copy of nothing", quiet(copy.start_copy_from_url, source(container.get_blob_client("none"))))
    step("copy deleted", quiet(copy.delete_blob))
    abort(container.get_blob_client("pending"))
    incremental(clients, BlobClient(clients.url, clients.name, "incremental", credential=clients.credential, transport=Transport(), **OPTIONS))


class Transport(RequestsTransport):
    """The SDK hands options of copies that are not incremental down to the transport, which fails at them."""

    def send(self, request, **kwargs):
        for option in ("seal_blob", "blob_tags_string"):
            kwargs.pop(option, None)
        return super().send(request, **kwargs)


def abort(blob):
    """Aborts a copy from a source that has said how large it is, and then says no more."""
    started = blob.start_copy_from_url(os.environ["PAGEVAULT_SLOW_SOURCE"])

    def state():
        p = blob.get_blob_properties()
        return f"{started['copy_status']} {p.copy.status} {p.size}"
    step("copy pending", state)
    step("write while copied to", quiet(blob.clear_page, 0, 512))
    step("abort copy", quiet(blob.abort_copy, started["copy_id"]))
    step("copy aborted", state)
    step("copy aborted deleted", quiet(blob.delete_blob))


def incremental(clients, copy):
    """Copies two snapshots of the blob, one after the other, and leaves nothing."""
    blob, of = clients.blob, {}

    def made(source):
        started = copy.start_copy_from_url(clients.source(source), incremental_copy=True)
        while (p := copy.get_blob_properties()).copy.status == "pending":
            time.sleep(0.01)
        of[source] = p.copy.destination_snapshot
        same = clients.at(of[source], copy.blob_name).download_blob().readall() == source.download_blob().readall()
        return f"{started['copy_status']} {p.copy.status} {p.copy.incremental_copy} {same}"
    first = clients.at(blob.create_snapshot()["snapshot"])
    step("incremental copy", lambda: made(first))
    blob.upload_page(b"i" * 512, 20 * KIB, 512)
    second = clients.at(blob.create_snapshot()["snapshot"])

    def change():
        result = made(second)
        pages, _ = clients.at(of[second], copy.blob_name).get_page_ranges(previous_snapshot_diff=of[first])
        return f"{result} {ranges(pages)}"
    step("incremental copy of a change", change)
    step("incremental copy of the blob", quiet(copy.start_copy_from_url, clients.source(blob), incremental_copy=True))
    step("incremental copy read", quiet(copy.download_blob))
    step("incremental copy deleted", quiet(copy.delete_blob, delete_snapshots="include"))
    blob.clear_page(20 * KIB, 512)
    first.delete_blob()
    second.delete_blob()
