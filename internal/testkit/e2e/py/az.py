# Runs every command of az that is for page blobs or containers and goes to the storage account, once, in one process: to
# start az anew for each takes longer than all of them. It prints a line for each: "command: result" or "command! what az
# said of it".
#   python3 az.py CREDENTIAL CONTAINER FOLDER     CREDENTIAL is key or account-sas; FOLDER is for files
# with AZURE_STORAGE_CONNECTION_STRING of the server in the environment, and AZURE_CONFIG_DIR.
import contextlib
import hashlib
import io
import logging
import os
import re
import sys

from azure.cli.core import get_default_cli

CREDENTIAL, NAME, FOLDER = sys.argv[1:4]
A, B = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
CLI = get_default_cli()


def az(*args):
    """Runs az storage and returns its result; raises what it raises."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        logging.disable(logging.CRITICAL)
        try:
            code = CLI.invoke(["storage", *args, "--only-show-errors"], out_file=io.StringIO())
        except SystemExit as err:
            code = err.code
    if code:
        error = CLI.result.error if CLI.result is not None else None
        raise Refused(code, error, said.getvalue())
    return CLI.result.result


class Refused(Exception):
    def __init__(self, code, error, said):
        super().__init__(said)
        text = f"{error or ''} {said}"
        m = re.search(r"ErrorCode:\s*(\w+)", text)
        if m:
            self.told = m.group(1)
        elif "network rules" in text:  # which is what az makes of every 403
            self.told = "403"
        else:
            self.told = f"exit {code}" if code == 3 else f"exit {code} {text.strip()}"


def step(what, *args, show=None):
    """Runs a command and says what came of it."""
    try:
        result = az(*args)
    except Refused as err:
        print(f"{what}! {err.told}")
        return None
    print(f"{what}: {show(result) if show else 'ok'}")
    return result


def digest(file):
    with open(file, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:16]


def main():
    if CREDENTIAL == "account-sas":
        sas = az("account", "generate-sas", "--expiry", "2100-01-01T00:00Z", "--permissions", "rwdlactf", "--resource-types", "sco", "--services", "b")
        fields = dict(f.split("=", 1) for f in os.environ.pop("AZURE_STORAGE_CONNECTION_STRING").strip(";").split(";"))
        os.environ["AZURE_STORAGE_CONNECTION_STRING"] = f"BlobEndpoint={fields['BlobEndpoint']};SharedAccessSignature={sas}"
    in_container = ["--container-name", NAME]
    disk = [*in_container, "--name", "disk"]
    one, two, back = (os.path.join(FOLDER, n) for n in ("one.vhd", "two.vhd", "back.vhd"))
    for file, letter in ((one, b"a"), (two, b"b")):
        with open(file, "wb") as f:
            f.write(letter * 65536)

    step("container create", "container", "create", "--name", NAME, "--metadata", "of=tests", show=lambda r: r["created"])
    step("container exists", "container", "exists", "--name", NAME, show=lambda r: r["exists"])
    step("container show", "container", "show", "--name", NAME, show=lambda r: r["metadata"] if isinstance(r, dict) else r.metadata)
    step("container metadata update", "container", "metadata", "update", "--name", NAME, "--metadata", "of=az")
    step("container metadata show", "container", "metadata", "show", "--name", NAME, show=lambda r: r)
    step("container list", "container", "list", "--prefix", NAME, show=lambda r: len(list(r)))
    step("container lease acquire", "container", "lease", "acquire", *in_container, "--proposed-lease-id", A, "--lease-duration", "15", show=lambda r: r)
    step("container lease acquire again", "container", "lease", "acquire", *in_container, "--proposed-lease-id", B)
    step("container lease renew", "container", "lease", "renew", *in_container, "--lease-id", A)
    step("container lease change", "container", "lease", "change", *in_container, "--lease-id", A, "--proposed-lease-id", B)
    step("container delete leased", "container", "delete", "--name", NAME)
    step("container lease release", "container", "lease", "release", *in_container, "--lease-id", B)
    step("container lease acquire forever", "container", "lease", "acquire", *in_container, "--proposed-lease-id", A)
    step("container lease break", "container", "lease", "break", *in_container, "--lease-break-period", "0", show=lambda r: r)
    step("container policy create", "container", "policy", "create", *in_container, "--name", "p", "--permissions", "rl", "--expiry", "2100-01-01T00:00Z")
    step("container policy list", "container", "policy", "list", *in_container, show=lambda r: ",".join(sorted(r)))
    step("container policy update", "container", "policy", "update", *in_container, "--name", "p", "--permissions", "r")
    step("container policy show", "container", "policy", "show", *in_container, "--name", "p", show=lambda r: r.permission if hasattr(r, "permission") else r["permission"])
    step("container policy delete", "container", "policy", "delete", *in_container, "--name", "p")
    step("container show-permission", "container", "show-permission", "--name", NAME, show=lambda r: r["publicAccess"])
    step("container set-permission", "container", "set-permission", "--name", NAME, "--public-access", "blob")

    step("blob upload", "blob", "upload", "--type", "page", *disk, "--file", one, "--no-progress", "--metadata", "kind=disk")
    step("blob upload again", "blob", "upload", "--type", "page", *disk, "--file", two, "--no-progress")
    step("blob exists", "blob", "exists", *disk, show=lambda r: r["exists"])
    step("blob show", "blob", "show", *disk, show=lambda r: f"{r['properties']['blobType'] if isinstance(r, dict) else r.blob_type} {r['properties']['contentLength'] if isinstance(r, dict) else r.size}")
    taken = step("blob snapshot", "blob", "snapshot", *disk, show=lambda r: "taken" if r["snapshot"] else "not taken")
    at = taken["snapshot"]
    step("blob upload over", "blob", "upload", "--type", "page", *disk, "--file", two, "--overwrite", "--no-progress")
    step("blob download", "blob", "download", *disk, "--file", back, "--no-progress", show=lambda r: digest(back))
    step("blob download snapshot", "blob", "download", *disk, "--snapshot", at, "--file", back, "--no-progress", show=lambda r: digest(back))
    step("blob download range", "blob", "download", *disk, "--file", back, "--no-progress", "--start-range", "512", "--end-range", "1023", show=lambda r: digest(back))
    step("blob download if match", "blob", "download", *disk, "--file", back, "--no-progress", "--if-match", '"0x1"')
    step("blob metadata update", "blob", "metadata", "update", *disk, "--metadata", "owner=me")
    step("blob metadata show", "blob", "metadata", "show", *disk, show=lambda r: r)
    step("blob update", "blob", "update", *disk, "--content-type", "a/b")
    step("blob lease acquire", "blob", "lease", "acquire", *in_container, "--blob-name", "disk", "--proposed-lease-id", A, "--lease-duration", "15", show=lambda r: r)
    step("blob lease acquire again", "blob", "lease", "acquire", *in_container, "--blob-name", "disk", "--proposed-lease-id", B)
    step("blob metadata update leased", "blob", "metadata", "update", *disk, "--metadata", "owner=other")
    step("blob metadata update wrong lease", "blob", "metadata", "update", *disk, "--metadata", "owner=other", "--lease-id", B)
    step("blob metadata update by lease", "blob", "metadata", "update", *disk, "--metadata", "owner=me", "--lease-id", A)
    step("blob lease renew", "blob", "lease", "renew", *in_container, "--blob-name", "disk", "--lease-id", A)
    step("blob lease change", "blob", "lease", "change", *in_container, "--blob-name", "disk", "--lease-id", A, "--proposed-lease-id", B)
    step("blob lease release", "blob", "lease", "release", *in_container, "--blob-name", "disk", "--lease-id", B)
    step("blob lease acquire forever", "blob", "lease", "acquire", *in_container, "--blob-name", "disk", "--proposed-lease-id", A)
    step("blob lease break", "blob", "lease", "break", *in_container, "--blob-name", "disk", "--lease-break-period", "0", show=lambda r: r)
    step("blob list", "blob", "list", *in_container, "--include", "sm", show=lambda r: ",".join(b["name"] + ("@" if b["snapshot"] else "") for b in r))
    step("blob list delimited", "blob", "list", *in_container, "--delimiter", "/", "--prefix", "di", show=lambda r: ",".join(b["name"] for b in r))
    step("blob list of none", "blob", "list", *in_container, "--prefix", "none", show=lambda r: len(list(r)))
    if CREDENTIAL == "key":
        url = az("blob", "url", *disk)
        step("blob copy start", "blob", "copy", "start", "--destination-container", NAME, "--destination-blob", "copy", "--source-uri", url, show=lambda r: r["copy_status"])
        step("blob copy cancel", "blob", "copy", "cancel", "--destination-container", NAME, "--destination-blob", "copy", "--copy-id", A)
        step("blob copy download", "blob", "download", *in_container, "--name", "copy", "--file", back, "--no-progress", show=lambda r: digest(back))
        step("blob generate-sas", "blob", "generate-sas", *disk, "--permissions", "r", "--expiry", "2100-01-01T00:00Z", show=lambda r: "sig=" in r)
        step("blob copy delete", "blob", "delete", *in_container, "--name", "copy")
    step("blob delete with snapshots", "blob", "delete", *disk)
    step("blob delete snapshot", "blob", "delete", *disk, "--snapshot", at)
    step("blob delete", "blob", "delete", *disk, "--delete-snapshots", "include")
    step("blob show gone", "blob", "show", *disk)
    step("blob upload-batch", "blob", "upload-batch", "--destination", NAME, "--source", FOLDER, "--pattern", "*.vhd", "--type", "page", "--no-progress", show=lambda r: len(r))
    os.makedirs(os.path.join(FOLDER, "down"), exist_ok=True)
    step("blob download-batch", "blob", "download-batch", "--source", NAME, "--destination", os.path.join(FOLDER, "down"), "--no-progress", show=lambda r: digest(os.path.join(FOLDER, "down", "two.vhd")))
    step("blob delete-batch", "blob", "delete-batch", "--source", NAME, show=lambda r: "ok")
    step("blob list after delete-batch", "blob", "list", *in_container, show=lambda r: len(list(r)))
    step("service properties", "blob", "service-properties", "show", show=lambda r: type(r).__name__)
    step("cors add", "cors", "add", "--services", "b", "--methods", "GET", "--origins", "http://example.org", "--max-age", "5")
    step("cors list", "cors", "list", "--services", "b", show=lambda r: ",".join(c["AllowedOrigins"] for c in r))
    step("cors clear", "cors", "clear", "--services", "b")
    step("container delete", "container", "delete", "--name", NAME, show=lambda r: r["deleted"])
    print("end")


main()
