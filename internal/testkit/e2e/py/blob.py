# What there is to do with a page blob, its pages and its snapshots.
import datetime
import json

from azure.core import MatchConditions
from azure.storage.blob import ContentSettings, SequenceNumberAction

from lease import lease
from steps import KIB, NOW, account, quiet, ranges, sha, step


def page_blob(clients):
    blob = clients.blob
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
    old = clients.at(at)
    step("clear", quiet(blob.clear_page, 8 * KIB, 1 * KIB))
    step("write after the snapshot", quiet(blob.upload_page, b"c" * 512, 16 * KIB, 512))

    def diff():
        pages, cleared = blob.get_page_ranges(previous_snapshot_diff=at)
        return f"{ranges(pages)} cleared {ranges(cleared)}"
    step("page ranges diff", diff)

    def diff_by_url():
        pages, cleared = blob.get_page_range_diff_for_managed_disk(old.url)
        return f"{ranges(pages)} cleared {ranges(cleared)}"
    step("page ranges diff by url", diff_by_url)
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
    step("account info", lambda: account(blob.get_account_information()))
    lease(blob, "blob", lambda **held: blob.clear_page(0, 512, **held), blob.get_blob_properties)
    step("tier in a standard account", quiet(blob.set_premium_page_blob_tier, "P10"))
    step("hold without immutable storage", quiet(blob.set_legal_hold, True))
    step("copy at once refused", quiet(blob.start_copy_from_url, clients.source(old), requires_sync=True))
    return old
