"""A rate that many share: one that floods leaves room for others, and takes nothing from them."""

from p2ptui.bounded.rates import ONE_OF_ALL, SITE_OF_ALL, FairBucket

RATE = 20.0


def passed(bucket: FairBucket, source: str | None, site: str | None, times: int, now: float) -> int:
    return sum(bucket.take(source, site, now) for _ in range(times))


def test_one_source_has_all_at_once_and_a_part_of_it_for_ever():
    bucket = FairBucket(RATE, 0.0)
    assert passed(bucket, "loud", None, 100, 0.0) == RATE
    rest = sum(passed(bucket, "loud", None, 100, float(second)) for second in range(1, 101))
    assert rest == 100 * ONE_OF_ALL * RATE


def test_a_site_has_its_part_however_many_sources_it_has():
    bucket = FairBucket(RATE, 0.0)
    passed(bucket, "first", "site", 100, 0.0)
    rest = sum(
        passed(bucket, f"{second} {number}", "site", 1, float(second))
        for second in range(1, 101)
        for number in range(100)
    )
    assert rest == 100 * SITE_OF_ALL * RATE


def test_one_that_is_refused_during_the_flood_of_others_has_lost_nothing():
    bucket = FairBucket(RATE, 0.0)
    assert passed(bucket, "loud", "there", 100, 0.0) == RATE
    assert passed(bucket, "quiet", "here", 20, 0.0) == 0
    assert passed(bucket, "quiet", "here", 100, 1.0) == RATE


def test_what_comes_from_nobody_takes_nothing_from_anybody():
    bucket = FairBucket(RATE, 0.0)
    assert passed(bucket, None, None, 1_000, 0.0) == RATE
    assert passed(bucket, "quiet", "here", 100, 0.0) == RATE
