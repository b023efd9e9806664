# What the scripts of az have in common. All commands are run in one process, as to start az anew for each takes longer than
# all of them. A step is a command that is run once, and said in a line: "command: result" or "command! what az said of it".
import contextlib
import hashlib
import io
import logging
import re

from azure.cli.core import get_default_cli

A, B = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
FOREVER = "2100-01-01T00:00Z"


class Refused(Exception):
    def __init__(self, code, error, said):
        super().__init__(said)
        text = f"{error or ''} {said}"
        m = re.search(r"ErrorCode:\s*(\w+)", text) or re.search(r"<Code>(\w+)</Code>", text)
        if m:
            self.told = m.group(1)
        else:
            self.told = f"exit {code}" if code == 3 else f"exit {code} {text.strip()}"


def run(*args, cli=None):
    """Runs a command of az and returns its result; raises Refused."""
    cli = cli or run.cli
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        logging.disable(logging.CRITICAL)
        try:
            code = cli.invoke([*args, "--only-show-errors"], out_file=io.StringIO())
        except SystemExit as err:
            code = err.code
    if code:
        error = cli.result.error if cli.result is not None else None
        raise Refused(code, error, said.getvalue())
    return cli.result.result


run.cli = get_default_cli()


def login(identity):
    """Logs in as az does on a machine that has an identity of its own, in a cloud that is this identity's endpoint alone."""
    at = ["--endpoint-active-directory", identity, "--endpoint-management", identity, "--endpoint-resource-manager", identity]
    run("cloud", "register", "--name", "tests", *at, "--endpoint-active-directory-resource-id", "https://management.azure.com/",
        "--endpoint-active-directory-graph-resource-id", "https://graph.windows.net/", "--endpoint-gallery", identity)
    run("cloud", "set", "--name", "tests")
    run.cli = get_default_cli()
    run("login", "--identity", "--allow-no-subscriptions")


class Account:
    """An account, asked with a credential."""

    def __init__(self, connection, credential):
        fields = dict(f.split("=", 1) for f in connection.strip(";").split(";"))
        self.url, self.name = fields["BlobEndpoint"], fields["AccountName"]
        self.by, self.sas, self.login = ["--connection-string", connection], "", credential == "bearer"
        if credential == "account-sas":
            self.sas = run("storage", "account", "generate-sas", "--expiry", FOREVER, "--permissions", "rwdlactfi", "--resource-types", "sco",
                      "--services", "b", *self.by)
            self.by = ["--connection-string", f"BlobEndpoint={self.url};SharedAccessSignature={self.sas}"]
        elif self.login:
            self.by = ["--auth-mode", "login", "--account-name", self.name, "--blob-endpoint", self.url]

    def az(self, *args):
        """Runs a command of az storage on the account."""
        return run("storage", *args, *self.by)

    def source(self, container, blob, snapshot=""):
        """Returns the URL of a blob or a snapshot, with the token, if there is one, that it takes to read it."""
        query = "&".join(filter(None, [f"snapshot={snapshot}" if snapshot else "", self.sas]))
        return f"{self.url.rstrip('/')}/{container}/{blob}" + ("?" + query if query else "")

    def step(self, what, *args, show=None):
        """Runs a command of az storage and says what came of it."""
        return step(what, lambda: self.az(*args), show)


def step(what, call, show=None):
    try:
        result = call()
    except Refused as err:
        print(f"{what}! {err.told}")
        return None
    print(f"{what}: {show(result) if show else 'ok'}")
    return result


def digest(file):
    with open(file, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:16]
