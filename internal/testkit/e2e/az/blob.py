# Commands for a page blob and its snapshots.
import os

from steps import A, B, digest, run, step


class Files:
    """Files to upload, of 64 KiB each, and one to download to."""

    def __init__(self, folder):
        self.folder = folder
        self.one, self.two, self.back = (os.path.join(folder, n) for n in ("one.vhd", "two.vhd", "back.vhd"))
        for file, letter in ((self.one, b"a"), (self.two, b"b")):
            with open(file, "wb") as f:
                f.write(letter * 65536)

    def shown(self, _):
        return digest(self.back)


def blob(a, name, files):
    """Goes through the commands for a blob, and returns its snapshot: both are left."""
    in_container = ["--container-name", name]
    disk = [*in_container, "--name", "disk"]
    upload = ["blob", "upload", "--type", "page", *disk, "--no-progress"]
    download = ["blob", "download", *disk, "--file", files.back, "--no-progress"]
    a.step("blob upload", *upload, "--file", files.one, "--metadata", "kind=disk")
    a.step("blob upload again", *upload, "--file", files.two)
    a.step("blob exists", "blob", "exists", *disk, show=lambda r: r["exists"])
    a.step("blob show", "blob", "show", *disk, show=lambda r: f"{r['properties']['blobType']} {r['properties']['contentLength']} {r['properties']['pageRanges']}")
    taken = a.step("blob snapshot", "blob", "snapshot", *disk, show=lambda r: "taken" if r["snapshot"] else "not taken")
    at = taken["snapshot"]
    a.step("blob upload over", *upload, "--file", files.two, "--overwrite", "--validate-content", "--tags", "stage=two", "--content-cache-control", "no-cache")
    a.step("blob download", *download, show=files.shown)
    a.step("blob download validated", *download, "--validate-content", show=files.shown)
    a.step("blob download snapshot", *download, "--snapshot", at, show=files.shown)
    a.step("blob download range", *download, "--start-range", "512", "--end-range", "1023", show=files.shown)
    a.step("blob download if match", *download, "--if-match", '"0x1"')
    a.step("blob download if tags", *download, "--tags-condition", "stage = 'two'", show=files.shown)
    a.step("blob download if other tags", *download, "--tags-condition", "stage = 'one'")
    a.step("blob metadata update", "blob", "metadata", "update", *disk, "--metadata", "owner=me")
    a.step("blob metadata show", "blob", "metadata", "show", *disk, show=lambda r: r)
    if not a.login:  # this command then asks at an address of Azure's, whatever --blob-endpoint says
        a.step("blob update", "blob", "update", *disk, "--content-type", "a/b")
        a.step("blob update show", "blob", "show", *disk, show=lambda r: f"{r['properties']['contentSettings']['contentType']} {r['tagCount']}")
    lease(a, in_container, disk)
    a.step("blob list", "blob", "list", *in_container, "--include", "smt", show=lambda r: ",".join(b["name"] + ("@" if b["snapshot"] else "") for b in r))
    a.step("blob list delimited", "blob", "list", *in_container, "--delimiter", "/", "--prefix", "di", show=lambda r: ",".join(b["name"] for b in r))
    a.step("blob list of none", "blob", "list", *in_container, "--prefix", "none", show=lambda r: len(list(r)))
    a.step("blob query refused", "blob", "query", *disk, "--query-expression", "SELECT * from BlobStorage")
    a.step("blob set-tier in a standard account", "blob", "set-tier", *disk, "--type", "page", "--tier", "P10")
    a.step("blob set-legal-hold without immutable storage", "blob", "set-legal-hold", *disk, "--legal-hold", "true")
    return at


def lease(a, in_container, disk):
    leased = [*in_container, "--blob-name", "disk"]
    a.step("blob lease acquire", "blob", "lease", "acquire", *leased, "--proposed-lease-id", A, "--lease-duration", "15", show=lambda r: r)
    a.step("blob lease acquire again", "blob", "lease", "acquire", *leased, "--proposed-lease-id", B)
    a.step("blob metadata update leased", "blob", "metadata", "update", *disk, "--metadata", "owner=other")
    a.step("blob metadata update wrong lease", "blob", "metadata", "update", *disk, "--metadata", "owner=other", "--lease-id", B)
    a.step("blob metadata update by lease", "blob", "metadata", "update", *disk, "--metadata", "owner=me", "--lease-id", A)
    a.step("blob lease renew", "blob", "lease", "renew", *leased, "--lease-id", A)
    a.step("blob lease change", "blob", "lease", "change", *leased, "--lease-id", A, "--proposed-lease-id", B)
    a.step("blob lease release", "blob", "lease", "release", *leased, "--lease-id", B)
    a.step("blob lease acquire forever", "blob", "lease", "acquire", *leased, "--proposed-lease-id", A)
    a.step("blob lease break", "blob", "lease", "break", *leased, "--lease-break-period", "0", show=lambda r: r)


def tokens(a, name, at, files):
    """Makes a token for the blob, with the key of the account or that of the user, and uses it."""
    by = ["--as-user"] if a.login else []
    url = a.az("blob", "generate-sas", "--container-name", name, "--name", "disk", "--permissions", "r", "--expiry", at, "--full-uri", *by)
    step("blob generate-sas", lambda: run("storage", "blob", "download", "--blob-url", url, "--file", files.back, "--no-progress"), show=files.shown)
    step("blob generate-sas beyond", lambda: run("storage", "blob", "upload", "--type", "page", "--blob-url", url, "--file", files.one, "--overwrite", "--no-progress"))


def delete(a, name, at):
    disk = ["--container-name", name, "--name", "disk"]
    a.step("blob delete with snapshots", "blob", "delete", *disk)
    a.step("blob delete snapshot", "blob", "delete", *disk, "--snapshot", at)
    a.step("blob delete", "blob", "delete", *disk, "--delete-snapshots", "include")
    a.step("blob show gone", "blob", "show", *disk)


def batches(a, name, files):
    """Has az go over many blobs, one after the other. It leaves none."""
    down = os.path.join(files.folder, "down")
    os.makedirs(down, exist_ok=True)
    os.remove(files.back)
    both = ["--pattern", "*.vhd"]
    a.step("blob upload-batch", "blob", "upload-batch", "--destination", name, "--source", files.folder, *both, "--type", "page", "--no-progress", show=len)
    a.step("blob download-batch", "blob", "download-batch", "--source", name, "--destination", down, "--no-progress", show=lambda r: digest(os.path.join(down, "two.vhd")))
    a.step("blob list by number", "blob", "list", "--container-name", name, "--num-results", "1", show=lambda r: ",".join(b["name"] for b in r))
    a.step("blob delete-batch", "blob", "delete-batch", "--source", name)
    a.step("blob list after delete-batch", "blob", "list", "--container-name", name, show=lambda r: len(list(r)))
