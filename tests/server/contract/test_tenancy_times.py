"""No route shows by its time whether another user's resource exists."""

from statistics import median

import pytest

from server.accounts.repository import KEY_PREFIX
from tests.server.contract.tenancy import calls, private, unknown_ids
from tests.server.signing import bearer
from tests.server.uploads.mutations import DEEP

pytestmark = pytest.mark.deep

PAIRS, BOUND = (200, 0.05) if DEEP else (40, 0.10)
ROUNDS = 10  # a busy machine disturbs one; what the code makes stays, however much is measured


@pytest.fixture
def compare(direct, subtests):
    """Fail a subtest if one of two requests takes longer than the other, by the medians of all rounds."""

    def check(name, one, other):
        ratios, times_s = [], ([], [])
        with subtests.test(name):
            while len(ratios) < ROUNDS:
                for all_s, more_s in zip(times_s, direct.times(one, other, PAIRS), strict=True):
                    all_s.extend(more_s)
                ratios.append(median(times_s[0]) / median(times_s[1]))
                if abs(ratios[-1] - 1) <= BOUND:
                    break
            print(f"\n{name}: {', '.join(f'{ratio:.3f}' for ratio in ratios)}")  # noqa: T201  # for `make test-deep`
            assert abs(ratios[-1] - 1) <= BOUND, ratios

    return check


def with_ids(api):
    """Return the private endpoints with an id in the path."""
    return [endpoint for endpoint in private(api.client.app) if endpoint.parameters]


class TestTimes:
    def test_what_is_another_s(self, api, tenant, stranger, compare):
        """A 404 takes as long for another user's id as for one that never existed."""
        for endpoint in with_ids(api):
            cases, variants = list(tenant.cases(endpoint)), calls(endpoint)
            for call in variants if DEEP else variants[:1]:
                for ids in cases if DEEP else cases[:1]:
                    one, other = (call.request(which, stranger.headers) for which in (ids, unknown_ids()))
                    compare(f"{endpoint} {dict(call.query)} {dict(call.headers)}", one, other)

    def test_a_bad_token(self, api, tenant, refused_tokens, compare):
        """A 401 takes as long for an id that exists as for one that never did."""
        found = with_ids(api)
        for endpoint in found if DEEP else found[:1]:
            call, ids = calls(endpoint)[0], next(tenant.cases(endpoint))
            for kind, (token, _) in refused_tokens.items():
                one, other = (call.request(which, token) for which in (ids, unknown_ids()))
                compare(f"{endpoint}, {kind}", one, other)

    def test_a_key_of_the_past(self, api, refused_tokens, compare):
        """A 401 takes as long for a key that was revoked, or is a deleted user's, as for an unknown one."""
        never = bearer(KEY_PREFIX + "A" * 43)
        call, ids = calls(private(api.client.app)[0])[0], unknown_ids()
        for kind in ("revoked key", "key of a deleted user"):
            one, other = (call.request(ids, token) for token in (refused_tokens[kind][0], never))
            compare(f"{kind} and unknown key", one, other)
