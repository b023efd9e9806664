# Runs every command of az that is for page blobs or containers and goes to the storage account, once, as steps.py says it.
# What it has not got, or cannot do here, is in docs/clients.md.
#   python3 client.py CREDENTIAL CONTAINER FOLDER     CREDENTIAL is key, account-sas or bearer; FOLDER is for files
# with AZURE_STORAGE_CONNECTION_STRING of the server in the environment, PAGEVAULT_PREMIUM for its account that has tiers and
# immutable storage, PAGEVAULT_SLOW_SOURCE to copy from, AZURE_CONFIG_DIR, and for bearer PAGEVAULT_IDENTITY, from where az
# has its tokens, and MSI_ENDPOINT.
import datetime
import os
import sys

import blob
import container
import copies
import kept
import premium
from steps import Account, login

CREDENTIAL, NAME, FOLDER = sys.argv[1:4]


def main():
    connection, other = (os.environ.pop(name) for name in ("AZURE_STORAGE_CONNECTION_STRING", "PAGEVAULT_PREMIUM"))
    if CREDENTIAL == "bearer":
        login(os.environ["PAGEVAULT_IDENTITY"])
    owner, a = Account(connection, "key"), Account(connection, CREDENTIAL)
    files = blob.Files(FOLDER)

    container.container(a, NAME)
    at = blob.blob(a, NAME, files)
    copies.copies(a, NAME, files)
    if CREDENTIAL != "account-sas":
        tomorrow = (datetime.datetime.utcnow() + datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%MZ")
        container.tokens(a, NAME, tomorrow)
        blob.tokens(a, NAME, tomorrow, files)
    blob.delete(a, NAME, at)
    kept.blobs(owner, a, NAME, files)
    blob.batches(a, NAME, files)
    container.service(a)
    kept.containers(a, NAME + "-kept", files)
    a.step("container delete", "container", "delete", "--name", NAME, show=lambda r: r["deleted"])
    premium.premium(Account(other, CREDENTIAL), NAME, files)
    print("end")


main()
