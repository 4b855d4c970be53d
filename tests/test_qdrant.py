"""The contract of the two stores: Qdrant Edge in this process and a Qdrant server give the same results.

The server's side runs on qdrant-client's in-memory mode, on a loopback that speaks its protocol, and on a real server
where there is one (a program `qdrant` on PATH, or WORKBENCH_TEST_QDRANT).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from tests import qdrant_servers
from tests.test_retrieval import CHUNKS, RETRIEVERS, WordEmbedder, names, random_chunks
from workbench.retrieval import Chunk, RetrievalError, check_server, open_index
from workbench.retrieval.index import build_index
from workbench.retrieval.server import open_client
from workbench.sections import Retrieval


@pytest.fixture(
    params=[
        "memory",
        "loopback",
        pytest.param(
            "real",
            marks=pytest.mark.skipif(not qdrant_servers.there_is_one(), reason=qdrant_servers.NO_SERVER),
        ),
    ]
)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Clients of: qdrant-client's in-memory mode; it behind HTTP; a real server where there is one."""
    if request.param == "memory":
        yield QdrantClient(":memory:")
    elif request.param == "loopback":
        server = qdrant_servers.Loopback()
        yield open_client(server.address, "NO_SUCH_KEY")
        server.close()
    else:
        with qdrant_servers.real(tmp_path) as address:
            yield open_client(address, "QDRANT_API_KEY")


def collections(client: Any) -> list[str]:
    return [c.name for c in client.get_collections().collections if c.name.startswith("workbench-")]


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
class TestContract:
    @pytest.mark.parametrize("retriever", RETRIEVERS)
    def test_both_find_the_same_in_the_same_order(self, tmp_path: Path, client: Any, retriever: Any) -> None:
        chunks = random_chunks(300, 1)
        queries = [c.text for c in random_chunks(40, 2)] + ["", "elephant", "the of ?", "Pumps, TANKS!"]
        here = build_index(chunks, WordEmbedder(), tmp_path)
        there = build_index(chunks, WordEmbedder(), tmp_path, client=client)
        for a, b in zip(
            here.search(queries, 10, retriever), there.search(queries, 10, retriever), strict=True
        ):
            assert [p.document for p in a] == [p.document for p in b]
            assert [p.score for p in a] == [p.score for p in b]

    def test_ties_are_settled(self, tmp_path: Path, client: Any) -> None:
        chunks = [Chunk(f"d{n}", "pump" if n % 2 else "tank") for n in range(300)]
        there = build_index(chunks, WordEmbedder(), tmp_path, client=client)
        for retriever in RETRIEVERS:
            assert names(there, "pump", retriever) == ["d1", "d3", "d5", "d7", "d9"]

    def test_words_alone(self, tmp_path: Path, client: Any) -> None:
        assert names(build_index(CHUNKS, None, tmp_path, client=client), "silent pump", "bm25") == [
            "pump",
            "both",
        ]

    def test_a_collection_that_is_not_whole_is_filled(
        self, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chunks = random_chunks(90, 5)
        monkeypatch.setattr("workbench.retrieval.stores.UPSERTED", 40)
        upsert, sent = client.upsert, []

        def failing(name: str, points: Any, **kw: Any) -> Any:
            if len(sent) == 1:
                raise ValueError("the line broke")
            sent.append(len(points))
            return upsert(name, points, **kw)

        monkeypatch.setattr(client, "upsert", failing)
        with pytest.raises(RetrievalError, match="the line broke"):
            build_index(chunks, WordEmbedder(), tmp_path, client=client)
        monkeypatch.undo()
        there = build_index(chunks, WordEmbedder(), tmp_path, client=client)
        here = build_index(chunks, WordEmbedder(), tmp_path)
        assert names(there, "pump water", "hybrid") == names(here, "pump water", "hybrid")
        # A whole one is not filled again.
        monkeypatch.setattr(client, "upsert", lambda *_, **__: pytest.fail("filled again"))
        again = build_index(chunks, WordEmbedder(), tmp_path, client=client)
        assert names(again, "pump water", "hybrid") == names(here, "pump water", "hybrid")


def test_another_corpus_or_embedder_is_another_collection(tmp_path: Path) -> None:
    client = QdrantClient(":memory:")
    for chunks, embedder in ((CHUNKS, "words"), (CHUNKS, "other"), (CHUNKS[:2], "words"), (CHUNKS, "words")):
        build_index(chunks, WordEmbedder(embedder), tmp_path, client=client)
    assert len(collections(client)) == 3


def test_the_key_goes_to_the_server_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", "canary-9d2f")
    server = qdrant_servers.Loopback(key="canary-9d2f")
    how = Retrieval(qdrant=server.address, qdrant_api_key_env="MY_KEY")
    assert names(open_index(CHUNKS, WordEmbedder(), tmp_path, settings=how), "silent", "hybrid")[0] == "pump"
    assert server.asked[0] == ("GET", server.asked[0][1]) and "/exists" in server.asked[0][1]
    monkeypatch.setenv("MY_KEY", "canary-wrong")
    with pytest.raises(RetrievalError, match=r"(?s)127.0.0.1.*401.*qdrant_api_key_env") as refused:
        open_index(CHUNKS, WordEmbedder(), tmp_path, settings=how)
    server.close()
    told = str(refused.value) + "".join(capfd.readouterr()) + how.model_dump_json()
    told += "".join(p.read_text(errors="replace") for p in tmp_path.rglob("*") if p.is_file())
    assert "canary" not in told


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    how = Retrieval(qdrant="http://127.0.0.1:9")
    words = r"the Qdrant server http://127.0.0.1:9: .*leave `qdrant` out"
    with pytest.raises(RetrievalError, match=words):
        check_server(how)
    with pytest.raises(RetrievalError, match=words):
        open_index(CHUNKS, WordEmbedder(), tmp_path, settings=how)
    with pytest.raises(RetrievalError, match="--offline opens no connection"):
        check_server(how, offline=True)
    check_server(Retrieval(), offline=True)
