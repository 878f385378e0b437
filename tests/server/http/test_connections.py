"""The places for connections: who has how many, and who has to go."""

import resource

import pytest

from server.http.connections import RESERVED_DESCRIPTORS, Connections, affordable


class Open:
    """A connection that notes that it was closed."""

    def __init__(self):
        self.dropped = False

    def drop(self):
        """Close it."""
        self.dropped = True


@pytest.fixture
def places():
    """Four places, two for one address, any number for a proxy."""
    return Connections(4, 2, ["10.0.0.0/8"])


def enter(places, host):
    """Return a connection that has a place, or the status of the refusal."""
    connection = Open()
    refusal = places.enter(connection, host)
    return connection if refusal is None else refusal.status


class TestPlaces:
    def test_an_address_has_its_share(self, places):
        """The third connection of one address is refused until one of the others is closed."""
        first, _ = enter(places, "192.0.2.1"), enter(places, "192.0.2.1")
        assert enter(places, "192.0.2.1") == 429
        places.leave(first)
        places.leave(first)
        assert isinstance(enter(places, "192.0.2.1"), Open)
        assert enter(places, "192.0.2.1") == 429

    def test_hosts_of_one_network_are_one_address(self, places):
        """Hosts of an IPv6 /64 share the places of one address, as do both spellings of an IPv4 address."""
        assert isinstance(enter(places, "2001:db8::1"), Open)
        assert isinstance(enter(places, "2001:db8::2"), Open)
        assert enter(places, "2001:db8::3") == 429
        enter(places, "::ffff:192.0.2.1")
        enter(places, "192.0.2.1")
        assert enter(places, "192.0.2.1") == 429

    def test_a_share_is_at_most_half(self):
        """One address never has more than half of the places, whatever the setting allows."""
        places = Connections(4, 100, [])
        assert [type(enter(places, "192.0.2.1")) for _ in range(3)] == [Open, Open, int]

    def test_a_proxy_brings_many_clients(self, places):
        """A trusted proxy may have all places."""
        assert all(isinstance(enter(places, "10.1.2.3"), Open) for _ in range(4))

    def test_who_waits_longest_makes_room(self, places):
        """When all places are taken, the connection goes that has been without a request for longest."""
        first, second, third, fourth = (enter(places, f"192.0.2.{number}") for number in range(4))
        places.works(first)
        places.works(second)
        places.waits(second)
        assert isinstance(enter(places, "192.0.2.9"), Open)
        assert [each.dropped for each in (first, second, third, fourth)] == [False, False, True, False]

    def test_who_works_keeps_the_place(self, places):
        """When all places are taken by requests, a new connection is refused."""
        for number in range(4):
            places.works(enter(places, f"192.0.2.{number}"))
        assert enter(places, "192.0.2.9") == 503

    def test_who_was_refused_has_nothing_to_give_back(self, places):
        """What a refused connection does changes nothing."""
        enter(places, "192.0.2.1")
        enter(places, "192.0.2.1")
        refused = Open()
        assert places.enter(refused, "192.0.2.1") is not None
        places.waits(refused)
        places.works(refused)
        places.leave(refused)
        assert enter(places, "192.0.2.1") == 429


class TestAffordable:
    def test_the_system_allows_fewer(self, monkeypatch):
        """Connections are as many as the system's hard limit leaves beside the reserve."""
        monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 256))
        set_to = []
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
        assert affordable(2000) == 256 - RESERVED_DESCRIPTORS
        assert set_to == [(256, 256)]

    def test_the_system_allows_enough(self, monkeypatch):
        """Where the soft limit is high enough, it stays."""
        monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
        monkeypatch.delattr(resource, "setrlimit")
        assert affordable(2000) == 2000

    def test_the_system_refuses(self, monkeypatch):
        """Where the soft limit cannot be raised, it bounds the connections."""

        def refuse(_resource, _limits):
            raise OSError

        monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
        monkeypatch.setattr(resource, "setrlimit", refuse)
        assert affordable(2000) == 256 - RESERVED_DESCRIPTORS
