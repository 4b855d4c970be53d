"""Reading a corpus: folders of Markdown, text, HTML and PDF, rows; what is refused and what is left out by name."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.retrieval import CorpusError, Document, corpus, load_corpus, read_corpus
from workbench.retrieval.html_text import html_text


def pdf(*pages: str, password: str | None = None) -> bytes:
    """A PDF by hand: each page one line of Helvetica; an empty one holds no text, as a scan does."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        drawn = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else "0 0 m 9 9 l S"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
        ]
    blob, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(blob))
        blob += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size, begin = len(objects) + 1, len(blob)
    blob += (
        f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{begin}\n%%EOF"
    ).encode()
    if password is None:
        return blob
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(blob))
    writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_a_folder_is_read_sorted_with_hidden_files_left_out(tmp_path: Path) -> None:
    for name, text in {
        "b.md": b"B",
        "a/z.txt": b"\xef\xbb\xbfZ",
        "p.HTM": b"<title>P</title><p>page",
        "scan/q.pdf": pdf("A pump"),
        ".git/config": b"no",
        "a/.DS_Store": b"no",
        "c.md": b" \n",
        "empty.txt": b"",
        "logo.png": b"\x89PNG",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text)
    found = read_corpus(tmp_path)
    assert found.documents == load_corpus(tmp_path)
    assert found.documents == [
        Document("a/z.txt", "Z"),
        Document("b.md", "B"),
        Document("p.HTM", "# P\n\npage"),
        Document("scan/q.pdf", "A pump"),
    ]
    assert found.skipped == {
        "c.md": "no text in it",
        "empty.txt": "no text in it",
        "logo.png": "only .md, .markdown, .txt, .html, .htm, .pdf files are read",
    }


def test_links_and_odd_files_are_left_out_by_name(tmp_path: Path) -> None:
    inside, outside = tmp_path / "docs", tmp_path / "secret.md"
    inside.mkdir()
    outside.write_text("secret")
    (inside / "a.md").write_text("A")
    (inside / "link.md").symlink_to(outside)
    (inside / "gone.md").symlink_to(tmp_path / "nowhere")
    (inside / "up").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(inside / "pipe.md")
    found = read_corpus(inside)
    assert found.documents == [Document("a.md", "A")]
    assert set(found.skipped) == {"link.md", "gone.md", "up", "pipe.md"}
    assert "links are not followed" in found.skipped["up"]


def test_a_file_name_that_is_no_text_does_no_harm(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md")).write_text("A")
    except OSError:
        pytest.skip("this disk takes no such name")
    (found,) = load_corpus(tmp_path)
    assert found.name.endswith(".md") and found.name.encode("utf-8")


def test_rows_are_documents(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text(
        '{"id": 7, "text": "x"}\n{"text": "y", "id": null}\n{"text": "  "}\n'
        '{"id": "z", "title": "Of\\nz", "text": "zz"}\n'
    )
    found = read_corpus(tmp_path / "docs.jsonl")
    assert found.documents == [Document("7", "x"), Document("line 2", "y"), Document("z", "# Of z\n\nzz")]
    assert found.skipped == {"line 3": "no text in it"}


def test_a_single_document_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "all.md").write_text("# Title\n\ntext")
    assert load_corpus(tmp_path / "all.md") == [Document("all.md", "# Title\n\ntext")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (None, b"", "no such corpus"),
        ("docs/", b"", "no document with text"),
        ("docs/blank.md", b" \n\n", "no document with text.*blank.md: no text in it"),
        ("docs/sheet.xlsx", b"x", r"no document with text.*sheet.xlsx: only \.md"),
        ("docs/image.md", b"\xff\xfe\x00", "image.md: not UTF-8 text"),
        ("docs/latin.txt", "caf\xe9".encode("latin1"), r"latin.txt: not UTF-8 text \(byte 3\).*iconv"),
        ("docs/nul.txt", b"a\x00b", "nul.txt: binary data"),
        ("docs/odd.html", b"<meta charset=klingon>\xff", "odd.html: declares the encoding 'klingon'"),
        ("docs/scan.pdf", pdf("", ""), "scan.pdf: none of its 2 pages holds text: it is scanned.*ocrmypdf"),
        ("docs/locked.pdf", pdf("text", password="x"), "locked.pdf: the PDF asks for a password"),
        ("docs/cut.pdf", pdf("text")[:80], "cut.pdf: a PDF that cannot be read"),
        ("docs/not.pdf", os.urandom(5000), "not.pdf: a PDF that cannot be read"),
        ("docs/vast.txt", b"x" * 1001, "vast.txt: 0 MB, over 0"),
        ("docs.jsonl", b"", "no rows"),
        ("docs.jsonl", b'{"text": "a"}\n{"text": }\n', "docs.jsonl:2"),
        ("docs.jsonl", b'{"text": "a"}\n{"body": "b"}\n', "docs.jsonl:2: .* needs the key text"),
        (
            "docs.jsonl",
            b'{"text": "a", "id": 7}\n{"text": "b", "id": "7"}\n',
            "docs.jsonl:2: the id '7' is that of line 1",
        ),
        ("docs.jsonl", b'{"text": 5}\n', "docs.jsonl:1: .* needs the key text"),
        ("docs.jsonl", b'["a"]\n', "docs.jsonl:1"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_refused_by_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, content: bytes, words: str
) -> None:
    if "vast" in (name or ""):
        monkeypatch.setattr(corpus, "MAX_BYTES", 1000)
    place = tmp_path / (name or "nothing")
    if name and name.endswith("/"):
        place.mkdir()
    elif name:
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
    with pytest.raises(CorpusError, match=words):
        load_corpus(tmp_path / (name or "nothing").split("/")[0])


def test_all_files_at_fault_are_named_at_once(tmp_path: Path) -> None:
    for name in ("a.md", "b.txt"):
        (tmp_path / name).write_bytes(b"\xff")
    (tmp_path / "good.md").write_text("text")
    with pytest.raises(CorpusError, match=r"(?s)a.md: not UTF-8.*b.txt: not UTF-8"):
        load_corpus(tmp_path)


def test_a_pdf_is_its_pages(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf("The pump", "", "The tank"))
    (tmp_path / "open.pdf").write_bytes(pdf("free", password=""))
    assert [d.text.split() for d in load_corpus(tmp_path)] == [["The", "pump", "The", "tank"], ["free"]]


# -- html ----------------------------------------------------------------------------------------

PAGE = """<!doctype html><html><head><title>Site | Pump</title><style>p {}</style>
<script>if (a < b) document.write("<p>no</p>")</script></head>
<body><nav><a href=x>Home</a></nav><h1>The
  pump</h1><p>It is <b>cold</b> &amp; si&shy;lent.<br>Second line<h2>Parts</h2>
<ul><li>one<li><p>two</p></ul><pre>  a
    b</pre><table><tr><th>n<th>x<tr><td>1<td>2</table><template><p>no</p></template></body>"""


def test_a_page_keeps_its_structure() -> None:
    assert html_text(PAGE).split("\n\n") == [
        "# The pump",
        "Home",
        "It is cold & si\xadlent.\nSecond line",
        "## Parts",
        "- one\n- two",
        "a\n    b",
        "n | x\n1 | 2",
    ]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("<p>a<p>b", "a\n\nb"),
        ("plain", "plain"),
        ("<title>T</title>", "# T"),
        ("<title>T</title><h2>S</h2>x", "# T\n\n## S\n\nx"),
        ("<![if !IE]><p>a<![endif]>", "a"),
        ("</div></p></script>a<", "a<"),
        ("<script>never closed <p>b", ""),
        ("a<!-- b -->c", "ac"),
        ("<div>" * 3000 + "deep" + "</div>" * 3000 + "<p>after", "deep\n\nafter"),
        ("<a " * 100_000, ""),  # no parser may take its square
    ],
)
def test_odd_pages(html: str, text: str) -> None:
    assert html_text(html) == text


@settings(max_examples=150)
@given(parts=st.lists(st.sampled_from(["<p>", "</p>", "<li>", "<h1>", "</h1>", "<pre>", "<td>", "<!", "<![x", "&#x;",
                                       "</pre>", "<title>", "<tr>", "w1", " w2 ", "\n", "<", ">", '"']), max_size=25))  # fmt: skip
def test_any_markup_is_read(parts: list[str]) -> None:
    assert isinstance(html_text("".join(parts)), str)


def test_a_page_may_declare_its_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes('<meta charset="iso-8859-1"><p>caf\xe9'.encode("latin1"))
    (tmp_path / "b.html").write_bytes('<meta charset="iso-8859-1"><p>café'.encode())
    assert [d.text for d in load_corpus(tmp_path)] == ["café", "café"]
