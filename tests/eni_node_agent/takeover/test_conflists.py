from pathlib import Path

from eni_node_agent.takeover import conflists


def counted(folder: Path) -> list[str]:
    """Returns what a runtime reads, the first that sorts first."""
    return sorted(path.name for path in folder.iterdir() if path.suffix in {".conflist", ".conf", ".json"})


def test_theirs_is_set_aside_and_put_back_with_one_conflist_in_force_all_the_while(tmp_path: Path) -> None:
    (tmp_path / "10-aws.conflist").write_text("theirs")
    assert conflists.is_in_force(tmp_path)
    (tmp_path / "10-eni.conflist").write_text("ours")
    assert counted(tmp_path)[0] == "10-aws.conflist"
    assert conflists.set_aside(tmp_path)
    assert counted(tmp_path) == ["10-eni.conflist"]
    assert not conflists.is_in_force(tmp_path)
    assert conflists.restore(tmp_path)
    assert counted(tmp_path)[0] == "10-aws.conflist"
    assert (tmp_path / "10-aws.conflist").read_text() == "theirs"


def test_where_there_is_nothing_to_move_nothing_is_done(tmp_path: Path) -> None:
    assert not conflists.set_aside(tmp_path)
    assert not conflists.restore(tmp_path)


def test_one_that_was_written_again_is_newer_than_the_one_set_aside(tmp_path: Path) -> None:
    (tmp_path / conflists.ASIDE).write_text("old")
    (tmp_path / conflists.THEIRS).write_text("new")
    assert not conflists.restore(tmp_path)
    assert (tmp_path / conflists.THEIRS).read_text() == "new"
    assert conflists.set_aside(tmp_path)
    assert (tmp_path / conflists.ASIDE).read_text() == "new"
