"""A process that has a provider draw once, then gets each flood, and prints what its memory did."""

import json
import resource
import sys
from pathlib import Path

from catalog.entries import shipped_entries
from catalog.orders import Order
from inference.hosted.backend import HostedBackend, HostedConfig
from inference.hosted.errors import ProviderError
from outbound.addresses import AddressPolicy
from tests.inference.hosted import floods
from tests.inference.hosted.box import KEY

FLOODS = {
    "gzip bomb": (floods.gzip_bomb, "hf-inference"),
    "gzip bomb as JSON": (floods.gzip_bomb, "replicate"),
    "gzip bomb as a file": (floods.image_behind(floods.gzip_bomb), "fal-ai"),
    "endless answer": (floods.pour, "hf-inference"),
    "endless file": (floods.image_behind(floods.pour), "replicate"),
    "endless error": (floods.pour_an_error, "fal-ai"),
    "many values": (floods.many_values, "fal-ai"),
    "many pixels": (floods.many_pixels, "hf-inference"),
    "much data": (floods.much_data, "replicate"),
}
"""Each flood, and the provider that sends it. The box is told before this process starts."""


def peak_mib() -> float:
    """Return the most memory that this process has had."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    # On Linux `ru_maxrss` begins with what the parent had.
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in each)
    return int(line.split()[1]) / 2**10


def main(gateway: str) -> None:
    """Draw, then take the floods in their order."""
    order = Order.of_entry(shipped_entries()[0], "a fox", seed=7)
    grown_mib = {}
    for name, (_, provider) in FLOODS.items():
        config = HostedConfig(
            KEY, (provider,), timeout_s=60, gateway=gateway, policy=AddressPolicy.of(["127.0.0.1"])
        )
        backend = HostedBackend(config, sleep=lambda _: sys.exit("a flood is asked for again"))
        before_mib = peak_mib()
        try:
            backend.generate(order, lambda _: None)
        except ProviderError:
            grown_mib[name] = round(peak_mib() - before_mib, 1)
        backend.close()
    print(json.dumps([grown_mib, peak_mib()]))  # noqa: T201 - read by the test


if __name__ == "__main__":
    main(sys.argv[1])
