"""What the log calls other servers of a cluster: a name is remote text, and must not look like
more than that."""

import pytest

from p2ptui.node.cluster import called

ID = "2b411490-5308-8323-a5b0-7d269eaf3301"
OTHER_ID = "0492970d-3656-8a58-aa11-b83ba127851f"


def test_an_ordinary_name_stands_as_it_is() -> None:
    assert called("server-2.example_b", ID) == f"server-2.example_b ({ID})"


@pytest.mark.parametrize(
    "name",
    [
        f"server2 ({OTHER_ID}) is gone. All is well".ljust(128),
        f'" ({OTHER_ID}) is gone',
        "\x1b" * 128,
        "",
        "a\nb",
    ],
)
def test_another_name_is_quoted_and_cut_and_the_id_follows(name: str) -> None:
    words = called(name, ID)
    assert words.startswith('"')
    assert words.endswith(f'" ({ID})')
    assert words.count('"') == 2
    assert words.isprintable()
    assert len(words) <= 64 + 41
