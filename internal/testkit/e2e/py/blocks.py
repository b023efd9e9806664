# What there is to do with block blobs and append blobs.
import base64

from azure.core import MatchConditions
from azure.storage.blob import BlobBlock, ContentSettings

from steps import KIB, quiet, sha, step


def blocks(listed):
    """What a list of blocks says."""
    return ",".join(f"{b.id}:{b.size}" for b in listed)


def block_blob(blob):
    step("block upload", quiet(blob.upload_blob, b"block blob", content_settings=ContentSettings(content_type="x/y"), tags={"kind": "block"}, validate_content=True))
    step("block upload if none", quiet(blob.upload_blob, b"x"))
    step("block upload if match", quiet(blob.upload_blob, b"x", overwrite=True, etag='"0x1"', match_condition=MatchConditions.IfNotModified))

    def properties():
        p = blob.get_blob_properties()
        return f"{p.blob_type.value} {p.size} {p.content_settings.content_type} {p.tag_count} {p.page_blob_sequence_number}"
    step("block properties", properties)
    step("block stage", quiet(blob.stage_block, "b", b"b" * KIB))
    step("block stage with md5", quiet(blob.stage_block, "a", b"a" * 700, validate_content=True))
    step("block stage of another length", quiet(blob.stage_block, "long", b"x"))
    step("block content", lambda: sha(blob.download_blob().readall()))

    def listed():
        committed, uncommitted = blob.get_block_list("all")
        return f"{blocks(committed)} {blocks(uncommitted)}"
    step("block list before", listed)
    step("block commit", quiet(blob.commit_block_list, [BlobBlock("b"), BlobBlock("a"), BlobBlock("b")], metadata={"of": "blocks"}))
    step("block list", lambda: blocks(blob.get_block_list()[0]))
    step("block commit of nobody's", quiet(blob.commit_block_list, [BlobBlock("z")]))
    step("block content committed", lambda: sha(blob.download_blob().readall()))
    step("block range", lambda: sha(blob.download_blob(1000, 100).readall()))
    step("block upload of unknown length", quiet(blob.upload_blob, (b"p" * KIB for _ in range(5 * KIB)), overwrite=True, max_concurrency=2))
    step("block list of that", lambda: ",".join(str(b.size) for b in blob.get_block_list()[0]))
    step("block content of that", lambda: sha(blob.download_blob().readall()))
    step("block pages", quiet(blob.get_page_ranges))
    step("block delete", quiet(blob.delete_blob))


def append_blob(blob):
    step("append create", quiet(blob.create_append_blob))
    step("append", lambda: blob.append_block(b"first ")["blob_append_offset"])

    def again():
        r = blob.append_block(b"second", validate_content=True)
        return f"{r['blob_append_offset']} {r['blob_committed_block_count']}"
    step("append again", again)
    step("append elsewhere", quiet(blob.append_block, b"x", appendpos_condition=3))
    step("append too much", quiet(blob.append_block, b"x", maxsize_condition=12))
    step("append as a whole", quiet(blob.upload_blob, b" third", blob_type="AppendBlob"))
    step("append seal", lambda: blob.seal_append_blob()["blob_sealed"])
    step("append to sealed", quiet(blob.append_block, b"x"))

    def properties():
        p = blob.get_blob_properties()
        return f"{p.blob_type.value} {p.size} {p.append_blob_committed_block_count} {p.is_append_blob_sealed}"
    step("append properties", properties)
    step("append content", lambda: blob.download_blob().readall().decode())
    step("append delete", quiet(blob.delete_blob))


def block_work(container):
    """All of it."""
    block_blob(container.get_blob_client("blocks"))
    append_blob(container.get_blob_client("log"))
