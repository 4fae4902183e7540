from mutua.xds.resource import Changes, Layer, Resource, ResourceSet, resource

A, B, NEWER_A = resource("a", b"1"), resource("b", b"1"), resource("a", b"2")


def test_equal_bodies_have_equal_versions() -> None:
    assert resource("a", b"1") == A
    assert A.version == B.version != NEWER_A.version


def test_a_set_is_the_union_of_its_layers() -> None:
    found = ResourceSet(Layer([A]), Layer([B]))

    assert dict(found) == {"a": A, "b": B}
    assert len(found) == 2


def test_changes_name_what_is_new_what_differs_and_what_is_gone() -> None:
    before, after = Layer([A, B]), Layer([NEWER_A, resource("c", b"1")])

    assert after.changes(before) == Changes((NEWER_A, resource("c", b"1")), ("b",))
    assert not after.changes(after)


def test_an_equal_resource_made_again_is_no_change() -> None:
    again = Resource(A.name, A.version, bytes(bytearray(A.body)))

    assert not Layer([again]).changes(Layer([A]))


def test_a_name_that_moves_between_layers_is_not_removed() -> None:
    before = ResourceSet(Layer([A]), Layer([B]))
    after = ResourceSet(Layer([]), Layer([A, B]))

    assert after.changes(before).removed == ()


def test_sets_of_different_depth_can_be_compared() -> None:
    before, after = ResourceSet(), ResourceSet(Layer([A]), Layer([B]))

    assert after.changes(before) == Changes((A, B), ())


def test_a_comparison_is_remembered_without_keeping_the_past_alive() -> None:
    before, after = Layer([A]), Layer([NEWER_A])

    first = after.changes(before)

    assert after.changes(before) is first
    del before
    assert after.changes(Layer([NEWER_A])) == Changes()
