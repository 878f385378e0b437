"""Looks from inside of each container at what it may do, reach and know."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from scripts.containers.stack import Stack, expect, until

RUNNING: Final = {"postgres": 999, "redis": 998, "api": 10001, "worker": 10001}
"""The services that run, and the users of all their processes."""

SECRETS: Final = {
    "postgres": ["postgres_password"],
    "redis": ["redis_password"],
    "api": ["database_password", "redis_password"],
    "worker": ["database_password", "redis_password"],
}
WRITABLE: Final = {
    "postgres": ["/tmp", "/var/lib/postgresql"],  # noqa: S108  # in the container
    "redis": ["/data", "/tmp"],  # noqa: S108  # as above
    "api": ["/data", "/tmp"],  # noqa: S108  # as above
    "worker": ["/data", "/tmp"],  # noqa: S108  # as above
}
"""What the users of the services can write to, apart from what the kernel and podman mount in memory."""

_OF_THE_ENGINE: Final = ("/dev/", "/proc/", "/sys/", "/run/", "/var/tmp")  # noqa: S108  # in the container

OUTSIDE: Final = "203.0.113.2"
"""Stands for the Internet: it has no route to the containers' own addresses. Source: RFC 5737."""

_PROCESSES: Final = """
import json, pathlib
found = []
for status in pathlib.Path('/proc').glob('[0-9]*/status'):
    try:
        fields = dict(line.split(':\t', 1) for line in status.read_text().splitlines() if ':\t' in line)
    except OSError:
        continue
    names = ('CapEff', 'CapBnd', 'NoNewPrivs')
    found.append([fields['Name'], fields['Uid'].split(), *(fields[name] for name in names)])
print(json.dumps(found))
"""
_FILES: Final = """
import errno, json, os
try:
    os.close(os.open('/proof', os.O_CREAT | os.O_WRONLY))
    error = None
except OSError as refused:
    error = errno.errorcode[refused.errno]
mounts = [line.split() for line in open('/proc/self/mounts')]
writable = sorted(each[1] for each in mounts if 'rw' in each[3].split(',') and os.access(each[1], os.W_OK))
print(json.dumps([error, writable, sorted(os.listdir('/run/secrets'))]))
"""
_ROLE: Final = (
    "from server.settings import Settings; from server.db.engine import open_engine; "
    "print(*open_engine(Settings.from_environment().database.url).connect().exec_driver_sql("
    "'SELECT rolname, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles '"
    "'WHERE rolname = current_user').one())"
)
_LISTENS: Final = """
import pathlib
rows = [line.split() for kind in ('tcp', 'tcp6') for line in pathlib.Path('/proc/net', kind).open()]
print([row[1] for row in rows if row[3] == '0A' and not row[1].startswith('0100007F:')])
"""
_REACHES: Final = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
    print('reached')
except OSError:
    print('not reached')
"""


def check(stack: Stack) -> None:
    """Check the containers that run, and those that run once.

    Raises:
        click.ClickException: one may do, reach or know too much, or too little.

    """
    for service, user in RUNNING.items():
        check_processes(stack, service, user)
        check_files(stack, service)
        check_limits(stack, service)
    click.echo("No process is root or has a capability, no root can be written, and all limits are set.")
    for service in ("api", "worker"):
        role = stack.inside(service, "python3", "-c", _ROLE).strip()
        expect(role, "avatar_server False False False", f"the role of {service}")
    click.echo("The API and the worker are no superuser of PostgreSQL.")
    with internet(stack):
        check_networks(stack)
    check_torch(stack)


def check_processes(stack: Stack, service: str, user: int) -> None:
    """Check that no process of a service has a capability, could gain one, or is another user."""
    for name, users, *capabilities in json.loads(stack.inside(service, "python3", "-c", _PROCESSES)):
        expect(users, [str(user)] * 4, f"the users of {name} in {service}")
        expect(capabilities, ["0" * 16, "0" * 16, "1"], f"CapEff, CapBnd, NoNewPrivs of {name} in {service}")


def check_files(stack: Stack, service: str) -> None:
    """Check that a service's root is read-only, and that it has only its own secrets."""
    error, writable, known = json.loads(stack.inside(service, "python3", "-c", _FILES))
    expect(error, "EROFS", f"a write to / in {service}")
    kept = [path for path in writable if not path.startswith(_OF_THE_ENGINE)]
    expect(kept, WRITABLE[service], f"the folders that {service} can write to")
    expect(known, SECRETS[service], f"the secrets of {service}")


def check_limits(stack: Stack, service: str) -> None:
    """Check that podman holds a service to its memory and its processes."""
    limits: dict[str, Any] = stack.inspected(service)["HostConfig"]
    named = stack.resolved()["services"][service]
    expect(limits["Memory"], int(named["mem_limit"]), f"the memory of {service}")
    expect(limits["PidsLimit"], named["pids_limit"], f"the processes of {service}")
    expect(str(limits["ReadonlyRootfs"]), "True", f"whether the root of {service} is read-only")


def check_networks(stack: Stack) -> None:
    """Check that only what has to fetch gets an answer from outside, and that `front` leads nowhere."""
    inside = {each: stack.inside(each, "python3", "-c", _REACHES, OUTSIDE, "80").strip() for each in RUNNING}
    expect(inside, dict.fromkeys(RUNNING, "not reached"), "the outside, from inside")
    for service in ("hosted", "weights"):
        expect(stack.once(service, _REACHES, OUTSIDE, "80"), "reached", f"the outside, from {service}")
    click.echo("Hosted workers and downloads reach the outside; the API, the worker and the database do not.")
    for service, port in (("postgres", "5432"), ("redis", "6379")):
        address = stack.address(service, "data")
        found = stack.inside("api", "python3", "-c", _REACHES, address, port).strip()
        expect(found, "reached", f"{service} from the API")
        found = stack.once("weights", _REACHES, address, port)
        expect(found, "not reached", f"{service} from `outside`")
        found = stack.engine.run(
            *("podman", "run", "--rm", "--network", "avatar-creator_front", "--entrypoint", "python3"),
            *("localhost/api", "-c", _REACHES, address, port),
        ).strip()
        expect(found, "not reached", f"{service} from `front`")
    expect(stack.inside("worker", "python3", "-c", _LISTENS).strip(), "[]", "where the worker listens")
    expect(stack.once("bench", _REACHES, OUTSIDE, "80"), "not reached", "the outside, from bench")
    click.echo("The database and Redis are reached from no other network, and the worker listens nowhere.")


def check_torch(stack: Stack) -> None:
    """Check that torch is not loaded where it is not needed."""
    maps = "any('libtorch' in m.read_text() for m in pathlib.Path('/proc').glob('[0-9]*/maps'))"
    expect(stack.inside("api", "python3", "-c", f"import pathlib; print({maps})").strip(), "False")
    code = "import inference.hosted.client, sys; print('torch' in sys.modules)"
    expect(stack.once("hosted", code), "False")


@contextmanager
def internet(stack: Stack) -> Iterator[None]:
    """Put a host with a web server beside this machine's network, in a network namespace of its own.

    podman does not know Docker's option that takes masquerading from `front`, so that is done here.
    """
    run = stack.engine.run
    server = (sys.executable, "-m", "http.server", "80", "--directory", str(stack.folder / "server"))
    command = ("unshare", "--net", *server)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as host:  # noqa: S603
        inside = ("nsenter", f"--net=/proc/{host.pid}/ns/net")
        try:
            until("the host has a network of its own", lambda: _is_apart(host.pid))
            run(*("ip", "link", "add", "outside0", "type", "veth", "peer", "name", "inside0"))
            run(*("ip", "link", "set", "inside0", "netns", str(host.pid)))
            run(*("ip", "address", "add", "203.0.113.1/24", "dev", "outside0"))
            run(*("ip", "link", "set", "outside0", "up"))
            run(*inside, "ip", "address", "add", f"{OUTSIDE}/24", "dev", "inside0")
            run(*inside, "ip", "link", "set", "inside0", "up")
            unmasked = ("-I", "POSTROUTING", "-s", _subnet(stack, "front"), "-j", "ACCEPT")
            run("iptables", "--table", "nat", *unmasked)
            yield
        finally:
            host.terminate()


def _subnet(stack: Stack, network: str) -> str:
    found = json.loads(stack.engine.run("podman", "network", "inspect", f"avatar-creator_{network}"))
    return str(found[0]["subnets"][0]["subnet"])


def _is_apart(pid: int) -> bool:
    ours, theirs = (Path(f"/proc/{each}/ns/net").readlink() for each in ("self", pid))
    return ours != theirs
