from types import SimpleNamespace

import pytest
import torch

from inference.local import this_machine
from inference.local.cards import CONTEXT_BYTES
from inference.local.this_machine import card_of, host_of

GIB = 2**30


class TestCard:
    @pytest.mark.parametrize(("free_gib", "memory_bytes"), [(23.9, 24 * GIB), (20, 20 * GIB + CONTEXT_BYTES)])
    def test_what_others_have_taken_is_not_there(self, monkeypatch, free_gib, memory_bytes):
        """A card has what is free and this process's own context, at most all of its memory."""
        properties = SimpleNamespace(name="NVIDIA H100", major=9, minor=0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free_gib * GIB), 24 * GIB))
        card = card_of(torch.device("cuda"))
        assert (card.name, card.memory_bytes, card.capability) == ("NVIDIA H100", memory_bytes, (9, 0))
        assert card.copy_bytes_per_s == 55e9


class TestHost:
    @pytest.fixture
    def machine(self, tmp_path, monkeypatch):
        """A function that gives the machine 64 GiB, and its container a limit of which 12 GiB are used."""

        def give(limit):
            (tmp_path / "meminfo").write_text(
                f"MemTotal: 9 kB\nMemAvailable: {64 * 2**20} kB\nHugePages: 0\n"
            )
            monkeypatch.setattr(this_machine, "_MEMINFO", tmp_path / "meminfo")
            monkeypatch.setattr(this_machine, "_CGROUP", tmp_path)
            if limit is not None:
                (tmp_path / "memory.max").write_text(f"{limit}\n")
                (tmp_path / "memory.current").write_text(f"{12 * GIB}\n")
                stat = f"anon {2 * GIB}\nactive_file {4 * GIB}\ninactive_file {6 * GIB}\n"
                (tmp_path / "memory.stat").write_text(stat)

        return give

    @pytest.mark.parametrize(
        ("limit", "free_gib"), [(None, 64), ("max", 64), (32 * GIB, 30), (GIB, 0), (200 * GIB, 64)]
    )
    def test_a_container_s_limit_counts(self, machine, limit, free_gib):
        """What is free is the least of the machine and of the container; cached files can be dropped."""
        machine(limit)
        assert host_of().memory_bytes == free_gib * GIB

    def test_workers_share_it(self, machine):
        """Each of four workers has a quarter."""
        machine(None)
        assert host_of(4).memory_bytes == 16 * GIB
