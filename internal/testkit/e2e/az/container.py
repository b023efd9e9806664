# Commands for a container and for the service that it is in.
from steps import A, B, FOREVER, run, step


def container(a, name):
    a.step("container create", "container", "create", "--name", name, "--metadata", "of=tests", show=lambda r: r["created"])
    a.step("container exists", "container", "exists", "--name", name, show=lambda r: r["exists"])
    a.step("container show", "container", "show", "--name", name, show=lambda r: r["metadata"] if isinstance(r, dict) else r.metadata)
    a.step("container metadata update", "container", "metadata", "update", "--name", name, "--metadata", "of=az")
    a.step("container metadata show", "container", "metadata", "show", "--name", name, show=lambda r: r)
    a.step("container list", "container", "list", "--prefix", name, show=lambda r: len(list(r)))
    a.step("container lease acquire", "container", "lease", "acquire", "--container-name", name, "--proposed-lease-id", A, "--lease-duration", "15", show=lambda r: r)
    a.step("container lease acquire again", "container", "lease", "acquire", "--container-name", name, "--proposed-lease-id", B)
    a.step("container lease renew", "container", "lease", "renew", "--container-name", name, "--lease-id", A)
    a.step("container lease change", "container", "lease", "change", "--container-name", name, "--lease-id", A, "--proposed-lease-id", B)
    a.step("container delete leased", "container", "delete", "--name", name)
    a.step("container lease release", "container", "lease", "release", "--container-name", name, "--lease-id", B)
    a.step("container lease acquire forever", "container", "lease", "acquire", "--container-name", name, "--proposed-lease-id", A)
    a.step("container lease break", "container", "lease", "break", "--container-name", name, "--lease-break-period", "0", show=lambda r: r)
    a.step("container policy create", "container", "policy", "create", "--container-name", name, "--name", "p", "--permissions", "rl", "--expiry", FOREVER)
    a.step("container policy list", "container", "policy", "list", "--container-name", name, show=lambda r: ",".join(sorted(r)))
    a.step("container policy update", "container", "policy", "update", "--container-name", name, "--name", "p", "--permissions", "r")
    a.step("container policy show", "container", "policy", "show", "--container-name", name, "--name", "p", show=lambda r: r.permission if hasattr(r, "permission") else r["permission"])
    a.step("container policy delete", "container", "policy", "delete", "--container-name", name, "--name", "p")
    a.step("container show-permission", "container", "show-permission", "--name", name, show=lambda r: r["publicAccess"])
    a.step("container set-permission", "container", "set-permission", "--name", name, "--public-access", "blob")


def service(a):
    a.step("service properties", "blob", "service-properties", "show", show=lambda r: type(r).__name__)
    a.step("static website refused", "blob", "service-properties", "update", "--static-website", "true")
    if a.login:  # which the commands below do not know
        return
    a.step("cors add", "cors", "add", "--services", "b", "--methods", "GET", "--origins", "http://example.org", "--max-age", "5")
    a.step("cors list", "cors", "list", "--services", "b", show=lambda r: ",".join(c["AllowedOrigins"] for c in r))
    a.step("cors clear", "cors", "clear", "--services", "b")
    a.step("logging show", "logging", "show", "--services", "b", show=lambda r: r["blob"]["read"])
    a.step("logging update refused", "logging", "update", "--services", "b", "--log", "rw", "--retention", "3")
    a.step("metrics show", "metrics", "show", "--services", "b", show=lambda r: r["blob"]["hour"]["enabled"])
    a.step("metrics update refused", "metrics", "update", "--services", "b", "--hour", "true", "--api", "true", "--retention", "3")


def tokens(a, name, at):
    """Makes a token for the container, with the key of the account or that of the user, and uses it."""
    by = ["--as-user"] if a.login else []
    token = a.az("container", "generate-sas", "--name", name, "--permissions", "rl", "--expiry", at, *by)
    with_token = ["--container-name", name, "--sas-token", token, "--account-name", a.name, "--blob-endpoint", a.url]
    step("container generate-sas", lambda: run("storage", "blob", "list", *with_token), show=lambda r: len(r))
    step("container generate-sas beyond", lambda: run("storage", "blob", "snapshot", "--name", "disk", *with_token))
