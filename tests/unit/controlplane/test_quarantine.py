"""Whose fault is a refusal?  What one proxy says counts for itself, until others agree."""

from dataclasses import replace

from mutua.api.destination import DestinationRule
from mutua.api.object import DESTINATION_RULES, PEER_AUTHENTICATIONS, Key
from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.controlplane.quarantine import Quarantine, Refusal, RuleSet
from mutua.xds.compile.stage import PolicySet

GOOD = DestinationRule(namespace="shop", name="good", created="1", host="a")
OLD = DestinationRule(namespace="shop", name="bad", created="2", host="b")
BAD = replace(OLD, host="c")
POLICY = PeerAuthentication(namespace="shop", name="all", created="1", mode=MutualTlsMode.STRICT)

OF_GOOD = Key(DESTINATION_RULES, "shop", "good")
OF_BAD = Key(DESTINATION_RULES, "shop", "bad")
OF_POLICY = Key(PEER_AUTHENTICATIONS, "shop", "all")

ALL = frozenset({"a", "b", "c"})


class Mesh:
    """A quarantine in which each state is published at once, to a, b and c."""

    def __init__(self) -> None:
        self.quarantine = Quarantine()
        self.generation = 0

    def give(self, rules: RuleSet, policies: PolicySet = ()) -> tuple[PolicySet, RuleSet]:
        given = self.quarantine.admit(policies, rules)
        self.generation += 1
        self.quarantine.published(self.generation, *given)
        return given

    def refuse(
        self, uid: str, *origins: Key, identity: str = "", for_files: bool = False
    ) -> Key | None:
        refusal = Refusal(f"{uid}.shop", identity or uid, "cluster", "no", self.generation)
        blamed = self.quarantine.refused(uid, refusal, origins, for_files=for_files)
        for key in self.quarantine.unexamined():
            self.quarantine.examine(key, ALL)
        return blamed

    def judge(self, waited: frozenset[str] = ALL) -> list[Key]:
        return self.quarantine.judge(waited, self.generation)


def test_nothing_held_back_is_the_very_same_tuple() -> None:
    rules, policies = (GOOD, OLD), (POLICY,)
    found = Quarantine().admit(policies, rules)
    assert found[0] is policies
    assert found[1] is rules


def test_what_changed_last_is_blamed() -> None:
    mesh = Mesh()
    mesh.give((GOOD, OLD))
    mesh.give((GOOD, BAD))
    assert mesh.refuse("a", OF_GOOD, OF_BAD) == OF_BAD


def test_of_what_changed_at_once_the_youngest_is_blamed() -> None:
    mesh = Mesh()
    mesh.give((GOOD, OLD), (POLICY,))
    assert mesh.refuse("a", OF_BAD, OF_GOOD, OF_POLICY) == OF_BAD


def test_one_word_is_not_enough_while_others_have_not_answered() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    mesh.refuse("a", OF_BAD)
    assert mesh.judge() == []
    assert mesh.quarantine.open_to(ALL) == {"b", "c"}


def test_two_identities_are_enough() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    mesh.refuse("a", OF_BAD)
    mesh.refuse("b", OF_BAD)
    assert mesh.judge() == [OF_BAD]
    assert mesh.give((OLD,)) == ((), ())


def test_two_pods_of_one_identity_are_not() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    mesh.refuse("a", OF_BAD, identity="same")
    mesh.refuse("b", OF_BAD, identity="same")
    assert mesh.judge() == []


def test_everybody_concerned_is_enough_and_who_is_not_waited_for_does_not_count() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    mesh.refuse("a", OF_BAD)
    assert mesh.judge(frozenset({"a"})) == [OF_BAD]


def test_what_somebody_took_up_is_not_held_back() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    mesh.refuse("a", OF_BAD)
    assert not mesh.quarantine.confirmed("b", mesh.generation, ())
    mesh.refuse("c", OF_BAD)
    assert mesh.judge() == []


def test_the_state_before_takes_its_place_and_others_flow() -> None:
    mesh = Mesh()
    mesh.give((GOOD, OLD))
    mesh.give((GOOD, BAD))
    mesh.refuse("a", OF_BAD)
    mesh.refuse("b", OF_BAD)
    mesh.judge()
    assert mesh.give((GOOD, BAD))[1] == (GOOD, OLD)
    changed = replace(GOOD, host="d")
    assert mesh.give((changed, BAD))[1] == (changed, OLD)


def test_a_change_is_another_chance() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    mesh.give((BAD,))
    mesh.refuse("a", OF_BAD)
    mesh.refuse("b", OF_BAD)
    mesh.judge()
    mesh.give((BAD,))
    mended = replace(BAD, host="e")
    assert mesh.give((mended,))[1] == (mended,)
    mesh.refuse("a", OF_BAD)
    mesh.refuse("b", OF_BAD)
    mesh.judge()
    assert mesh.give((mended,))[1] == (OLD,)  # not the one that was refused


def test_equal_content_is_the_same_object() -> None:
    mesh = Mesh()
    mesh.give((GOOD, BAD))
    mesh.refuse("a", OF_BAD)
    mesh.refuse("b", OF_BAD)
    mesh.judge()
    first = mesh.give((GOOD, BAD))[1]
    assert mesh.give((GOOD, BAD))[1] is first


def test_a_late_confirmation_of_what_was_held_back_frees_it_for_good() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    held = mesh.generation
    mesh.refuse("a", OF_BAD)
    mesh.refuse("b", OF_BAD)
    mesh.judge()
    mesh.give((OLD,))
    assert not mesh.quarantine.confirmed("b", mesh.generation, ())  # that one is without it
    assert mesh.quarantine.confirmed("c", held, ())
    assert mesh.give((OLD,))[1] == (OLD,)
    mesh.refuse("a", OF_BAD)
    mesh.refuse("b", OF_BAD)
    assert mesh.judge() == []


def test_who_is_sent_the_good_state_again_has_not_taken_up_the_bad_one() -> None:
    """It confirms the bad generation late, when it no longer has anything to refuse."""
    mesh = Mesh()
    mesh.give((OLD,))
    bad = mesh.generation
    mesh.refuse("a", OF_BAD)
    assert mesh.judge(frozenset({"a"})) == [OF_BAD]
    mesh.give((OLD,))
    assert not mesh.quarantine.confirmed("a", bad, ())
    assert mesh.give((OLD,)) == ((), ())


def test_who_refused_and_takes_it_up_later_has_taken_it_up() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    mesh.refuse("a", OF_BAD)
    mesh.give((OLD, GOOD))
    mesh.quarantine.confirmed("a", mesh.generation, ())
    mesh.refuse("b", OF_BAD)
    mesh.refuse("c", OF_BAD)
    assert mesh.judge() == []


def test_what_a_proxy_refused_it_is_blamed_for_again() -> None:
    """Else one that refuses its listener for ever would blame every later change."""
    mesh = Mesh()
    mesh.give((GOOD, OLD))
    assert mesh.refuse("a", OF_GOOD, OF_BAD) == OF_BAD
    mesh.give((replace(GOOD, host="f"), OLD))
    assert mesh.refuse("a", OF_GOOD, OF_BAD) == OF_BAD


def test_a_proxy_that_is_gone_has_no_say() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    mesh.refuse("a", OF_BAD)
    mesh.quarantine.gone("a")
    assert mesh.judge(frozenset()) == []


def test_a_refusal_of_what_no_policy_shaped_blames_nobody() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    assert mesh.refuse("a") is None
    assert mesh.refuse("a", Key(DESTINATION_RULES, "shop", "gone")) is None


def test_what_somebody_refuses_for_its_files_is_not_held_back() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    assert mesh.refuse("a", OF_BAD, for_files=True) == OF_BAD
    mesh.refuse("b", OF_BAD)
    assert mesh.judge() == []
    assert mesh.give((OLD,))[1] == (OLD,)


def test_other_files_are_another_chance_for_those_that_have_them() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    mesh.refuse("a", OF_BAD)
    assert mesh.judge(frozenset({"a"})) == [OF_BAD]
    mesh.quarantine.files_changed({"b"})
    assert mesh.give((OLD,))[1] == ()

    mesh.quarantine.files_changed({"a"})

    assert mesh.judge() == []
    assert mesh.give((OLD,))[1] == (OLD,)
    mesh.refuse("a", OF_BAD)
    assert mesh.judge(frozenset({"a"})) == [OF_BAD]


def test_other_files_of_one_do_not_free_what_several_refused() -> None:
    mesh = Mesh()
    mesh.give((OLD,))
    for uid in ALL:
        mesh.refuse(uid, OF_BAD)
    mesh.judge()

    mesh.quarantine.files_changed({"a"})

    assert mesh.judge() == [OF_BAD]
    assert mesh.give((OLD,))[1] == ()
