# What only some accounts have: tiers of page blobs, and policies and legal holds that protect blobs. Here it is one account
# that has both.
import datetime

from azure.storage.blob import ImmutabilityPolicy

from steps import KIB, NOW, account, quiet, sha, statuses, step


def tiers(clients):
    blob = clients.blob

    def tier():
        p = blob.get_blob_properties()
        return f"{p.blob_tier} {p.blob_tier_inferred}"

    def created(**how):
        blob.create_page_blob(64 * KIB, **how)
        return tier()

    def changed(to):
        blob.set_premium_page_blob_tier(to)
        return tier()
    step("tier by size", created)
    step("tier set", lambda: changed("P10"))
    step("tier lowered", lambda: changed("P4"))
    step("tier that is none", lambda: changed("P5"))
    step("tier of a block blob", quiet(blob.set_standard_blob_tier, "Hot"))
    step("tier at creation", lambda: created(premium_page_blob_tier="P20"))
    if clients.container is not None:
        step("tier listed", lambda: ",".join(b.blob_tier for b in clients.container.list_blobs()))
    if clients.service is None:
        return
    if clients.kind != "account-sas" and clients.url.startswith("http:"):  # see container.py
        named = clients.by_host_name().get_container_client(clients.name)
        step("batch of tiers", lambda: f"{statuses(named.set_premium_page_blob_tier_blobs('P30', blob.blob_name, 'none', raise_on_any_failure=False))} {tier()}")
    step("premium account info", lambda: account(clients.service.get_account_information()))


def protection(clients):
    blob, container = clients.blob, clients.container
    day = (NOW + datetime.timedelta(days=1)).replace(microsecond=0)

    def policy(mode="Unlocked", until=day):
        return ImmutabilityPolicy(expiry_time=until, policy_mode=mode)

    def shown():
        p = blob.get_blob_properties()
        return f"{p.immutability_policy.policy_mode} {p.immutability_policy.expiry_time == day} {p.has_legal_hold}"

    def then(call, *args, **kwargs):
        def run():
            call(*args, **kwargs)
            return shown()
        return run

    def page(letter):
        return quiet(blob.upload_page, letter * 512, 0, 512)

    def listed():
        return ",".join(f"{b.immutability_policy.policy_mode} {b.immutability_policy.expiry_time == day} {b.has_legal_hold}"
                        for b in container.list_blobs(include=["immutabilitypolicy", "legalhold"]))
    page(b"p")()
    step("protect by policy", then(blob.set_immutability_policy, policy()))
    step("write under policy", page(b"q"))
    step("resize under policy", quiet(blob.resize_blob, 512))
    step("delete under policy", quiet(blob.delete_blob))
    step("read under policy", lambda: sha(blob.download_blob(0, 512).readall()))
    if container is not None:
        step("list policies", listed)
    step("policy in the past", quiet(blob.set_immutability_policy, policy(until=NOW - datetime.timedelta(hours=1))))
    step("policy deleted", then(blob.delete_immutability_policy))
    step("hold", then(blob.set_legal_hold, True))
    step("write on hold", page(b"q"))
    step("delete on hold", quiet(blob.delete_blob))
    if container is not None:
        step("list holds", listed)
    step("hold taken off", then(blob.set_legal_hold, False))
    step("write after the hold", page(b"q"))
    step("created under policy and hold", then(blob.create_page_blob, 512, immutability_policy=policy(), legal_hold=True))
    step("delete under both", quiet(blob.delete_blob))

    def free():
        blob.set_legal_hold(False)
        blob.delete_immutability_policy()
    step("both taken away", then(free))
    step("policy locked", then(blob.set_immutability_policy, policy("Locked")))
    step("policy locked deleted", quiet(blob.delete_immutability_policy))
    if container is not None:
        step("container delete under policy", quiet(container.delete_container))
