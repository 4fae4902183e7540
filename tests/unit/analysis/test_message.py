"""How a finding is printed, for people and for programs."""

from mutua.analysis.codes import CODES, CONFLICT, NOT_INJECTED
from mutua.analysis.message import Level, Message, Origin, origin_of
from mutua.analysis.wording import listed

MESSAGE = Message(code=NOT_INJECTED, origin=Origin("Namespace", "", "default"), text="says nothing")
POLICY = Origin("PeerAuthentication", "shop", "web")


def test_a_line_for_people() -> None:
    assert MESSAGE.line() == "Info [IST0102] (Namespace default) says nothing"
    assert Message(code=CONFLICT, origin=POLICY, text="no").line("web.yaml:3") == (
        "Error [IST0113] (PeerAuthentication shop/web web.yaml:3) no"
    )


def test_a_document_for_programs_has_istioctls_keys() -> None:
    assert MESSAGE.document("ns.yaml:1") == {
        "code": "IST0102",
        "level": "Info",
        "origin": "Namespace default",
        "message": "says nothing",
        "documentationUrl": "https://istio.io/latest/docs/reference/config/analysis/ist0102/",
        "reference": "ns.yaml:1",
    }
    assert "reference" not in MESSAGE.document()


def test_codes_that_istio_does_not_have_are_documented_here() -> None:
    own = {one.code for one in CODES.values() if one.documentation.startswith("docs/reference/")}

    assert own == {code for code in CODES if code.startswith("MUT")} | {"IST0113"}


def test_the_origin_of_an_object_is_its_address_whatever_its_version() -> None:
    meta = {"name": "web", "namespace": "shop"}

    assert origin_of({"apiVersion": "v1", "kind": "Namespace", "metadata": meta}).namespace == ""
    for version in ("v1", "v1beta1"):
        obj = {
            "apiVersion": f"security.istio.io/{version}",
            "kind": "PeerAuthentication",
            "metadata": meta,
        }
        assert origin_of(obj) == POLICY
    assert origin_of({}) == Origin("", "", "")


def test_levels_compare() -> None:
    assert Level.INFO < Level.WARNING < Level.ERROR
    assert [str(one) for one in Level] == ["Info", "Warning", "Error"]


def test_several_names_read_like_a_sentence() -> None:
    assert [listed(list(names)) for names in ("", "a", "ab", "abc", "abcdefg")] == [
        "", "a", "a and b", "a, b and c", "a, b, c, d and 3 more",
    ]  # fmt: skip
