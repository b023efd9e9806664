# What the scripts of the Python SDK have in common: a step is something done once, and said in a line: "name: result", or
# "name! status code" for an error.
import datetime
import hashlib

from azure.core.exceptions import HttpResponseError

KIB = 1024
NOW = datetime.datetime.now(datetime.timezone.utc)
EXPIRY = NOW + datetime.timedelta(hours=1)
OPTIONS = {"retry_total": 0}


def step(what, call):
    """Does something and says what came of it."""
    try:
        result = call()
    except HttpResponseError as err:
        code = err.response.headers.get("x-ms-error-code", "")  # error_code is not there for every operation
        print(f"{what}! {err.status_code} {code}")
        return None
    print(f"{what}: {'ok' if result is None else result}")
    return result


def quiet(call, *args, **kwargs):
    """A call whose result says nothing."""
    def run():
        call(*args, **kwargs)
    return run


def sha(data):
    return hashlib.sha256(data).hexdigest()[:16]


def ranges(pages):
    return ",".join(f"{p['start']}-{p['end']}" for p in pages)


def account(told):
    """What an account says that it is."""
    return f"{told['account_kind']} {told['sku_name']}"


def statuses(batch):
    """The status of each part of a batch."""
    return ",".join(str(r.status_code) for r in batch)
