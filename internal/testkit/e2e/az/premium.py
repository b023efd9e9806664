# What only some accounts have: tiers of page blobs, and policies and legal holds that protect blobs. Here it is one account
# that has both.
import datetime


def premium(a, name, files):
    disk = ["--container-name", name, "--name", "disk"]
    upload = ["blob", "upload", "--type", "page", *disk, "--file", files.two, "--no-progress", "--overwrite"]
    a.step("premium container create", "container", "create", "--name", name, show=lambda r: r["created"])

    def tier(_):
        return a.az("blob", "show", *disk)["properties"]["blobTier"]
    a.step("tier at upload", *upload, "--tier", "P6", show=tier)
    a.step("blob set-tier", "blob", "set-tier", *disk, "--type", "page", "--tier", "P10", show=tier)
    a.step("blob set-tier lower", "blob", "set-tier", *disk, "--type", "page", "--tier", "P4")

    until = (datetime.datetime.utcnow() + datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def shown(_):
        p = a.az("blob", "show", *disk)
        policy = p["immutabilityPolicy"]
        expiry = policy["expiryTime"]
        return f"{policy['policyMode']} {str(expiry)[:19].replace(' ', 'T') == until[:19]} {p['hasLegalHold']}"
    policy = ["blob", "immutability-policy"]
    a.step("immutability-policy set", *policy, "set", *disk, "--expiry-time", until, "--policy-mode", "Unlocked", show=shown)
    a.step("upload under policy", *upload)
    a.step("delete under policy", "blob", "delete", *disk)
    a.step("immutability-policy delete", *policy, "delete", *disk, show=shown)
    a.step("set-legal-hold", "blob", "set-legal-hold", *disk, "--legal-hold", "true", show=shown)
    a.step("delete on hold", "blob", "delete", *disk)
    a.step("set-legal-hold off", "blob", "set-legal-hold", *disk, "--legal-hold", "false", show=shown)
    a.step("upload after the hold", *upload)
    a.step("immutability-policy lock", *policy, "set", *disk, "--expiry-time", until, "--policy-mode", "Locked", show=shown)
    a.step("immutability-policy delete locked", *policy, "delete", *disk)
    a.step("container delete under policy", "container", "delete", "--name", name)
