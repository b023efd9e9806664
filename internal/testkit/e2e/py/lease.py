# What there is to do with leases, of either kind.
from azure.storage.blob import BlobLeaseClient

from steps import quiet, step

A, B = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def lease(resource, kind, write, properties):
    """Goes through all that can be done to a lease on something that write changes."""
    held, other = BlobLeaseClient(resource, lease_id=A), BlobLeaseClient(resource, lease_id=B)
    step(f"{kind} lease acquire", quiet(held.acquire, 15))
    step(f"{kind} lease acquire by another", quiet(other.acquire, 15))
    step(f"{kind} lease missing", quiet(write))
    step(f"{kind} lease wrong", quiet(write, lease=B))
    step(f"{kind} lease renew", quiet(held.renew))
    step(f"{kind} lease change", quiet(held.change, B))

    def state():
        p = properties().lease
        return f"{p.state} {p.status} {p.duration}"
    step(f"{kind} lease state", state)
    step(f"{kind} lease release", quiet(held.release))
    step(f"{kind} lease acquire forever", quiet(held.acquire, -1))
    step(f"{kind} lease break", lambda: held.break_lease(0))
    step(f"{kind} lease renew broken", quiet(held.renew))
    step(f"{kind} lease release broken", quiet(held.release))
