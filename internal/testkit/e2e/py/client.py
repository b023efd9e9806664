# Does everything that Azure's Python SDK can do with blobs and containers, once, and prints what it did and what
# came of it, as steps.py says it. What the steps are to say is in clients_test.go.
#   python3 client.py CREDENTIAL CONTAINER     CREDENTIAL is key, account-sas, container-sas, blob-sas or bearer
# with AZURE_STORAGE_CONNECTION_STRING of the server in the environment, PAGEVAULT_PREMIUM for its account that has tiers and
# immutable storage, PAGEVAULT_SLOW_SOURCE to copy from, and PAGEVAULT_BEARER for bearer.
import os
import sys

from blob import page_blob
from blocks import block_work
from clients import Clients
from container import container_work
from copies import copies
from delegation import delegation
from kept import kept_blobs, kept_containers
from premium import protection, tiers
from steps import quiet, step

CREDENTIAL, NAME = sys.argv[1:3]


def main():
    clients = Clients(os.environ["AZURE_STORAGE_CONNECTION_STRING"], CREDENTIAL, NAME)
    blob = clients.blob
    if clients.service is not None:
        step("container create", quiet(clients.container.create_container))
    old = page_blob(clients)
    if clients.container is not None:
        block_work(clients.container)
        copies(clients, old)
        container_work(clients)
    if CREDENTIAL == "bearer":
        delegation(clients)
    step("delete with snapshots", quiet(blob.delete_blob))
    step("delete snapshot", quiet(old.delete_blob))
    step("delete", quiet(blob.delete_blob))
    step("delete again", quiet(blob.delete_blob))
    step("gone", quiet(blob.get_blob_properties))
    kept_blobs(clients)
    if clients.service is not None:
        kept_containers(clients.service, NAME + "-kept")
    clients.owner.delete_container(NAME)

    premium = Clients(os.environ["PAGEVAULT_PREMIUM"], CREDENTIAL, NAME)
    if premium.service is not None:
        step("premium container create", quiet(premium.container.create_container))
    tiers(premium)
    protection(premium)
    print("end")


main()
