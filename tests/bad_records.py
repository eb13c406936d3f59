"""Generated records with mistakes, and files of text as accidents leave them."""

from bad_inputs import CODE, SCRIPT, plain
from hypothesis import strategies as st

from mlops_lib.params import TEMPLATES


def found(template):
    """Return the content of a record as its template writes it."""
    scored = {"test_accuracy": 0.75, "confusion_matrix": [[2, 1], [0, 1]], "correct": "0A==",
              "train_images": 400, "note": "x"}  # fmt: skip
    fitted = {"fit_seconds": 2.5, "best": {"C": 10.0, "degree": None, "gamma": "scale"}}
    trained = {"train_seconds": 2.5, "images_per_second": 160.0, "flops": 33_000_000,
               "peak_share": 0.25, "epochs": [{"train_loss": 0.5}]}  # fmt: skip
    return {
        "schema_version": 1,
        "template": template,
        "key": "0" * 64,
        "parameters": TEMPLATES[template](dataset="mnist").model_dump(mode="json"),
        "results": scored | (fitted if template == "q1b" else trained),
        "environment": {"device": "cpu", "device_name": "a CPU", "commit": None},
        "started_at": "2026-01-01T00:00:00Z",
        "duration_seconds": 3.5,
    }


ODD_JSON = [
    SCRIPT, f'"><{SCRIPT}', "", "x" * 10**4, "\ud800", "1e-3", "0A==", "_A==", "\n\n", *CODE,
    None, True, False, 0, 1, -1, 0.5, 2**63, 10**400, -0.0, 1e308, float("nan"), float("inf"),
    [], {}, [[]], [None], {"": None}, {"page": SCRIPT, "title": SCRIPT}, [[1, 2], [3]],
    [[2, 1], [0, 2]], [[4]], [[10**30]], "q2", "cuda", {"C": SCRIPT}, {"C": None},
]  # fmt: skip
NAMES = ["page", "title", "suite", "template", "best", "device", "epochs", "seed", "x", SCRIPT]


def deep(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


@st.composite
def records(draw):
    """Draw a record in which a key or two are dropped, renamed, added or given another value."""
    content = found(draw(st.sampled_from(sorted(TEMPLATES))))
    odd = st.sampled_from(ODD_JSON) | plain
    for _ in range(draw(st.integers(1, 2))):
        inside = draw(st.sampled_from(["", "parameters", "results", "environment"]))
        part = content.get(inside) if inside else content
        if not isinstance(part, dict) or not part:
            continue
        name = draw(st.sampled_from(sorted(part)))
        how = draw(st.sampled_from(["drop", "rename", "add", "replace", "nest"]))
        if how == "replace":
            part[name] = draw(odd)
        elif how == "add":
            part[draw(st.sampled_from(NAMES))] = draw(odd)
        elif how == "nest":
            part[name] = deep(draw(st.sampled_from([1, 100, 300, 900])))
        else:
            value = part.pop(name)
            if how == "rename":
                part[draw(st.sampled_from(NAMES))] = value
    return content


@st.composite
def damaged(draw, text):
    """Draw the bytes of a text file: whole, cut off, merged, an LFS pointer, re-encoded."""
    where = draw(st.integers(0, len(text)))
    return draw(
        st.sampled_from(
            [
                text,
                text,
                text,
                text[:where],
                f"{text[:where]}\n<<<<<<< HEAD\n{text[where:]}",
                "",
                "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
                f"\ufeff{text}",
                "[" * 5000,
            ]
        )
    ).encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-16"])), "surrogatepass")
