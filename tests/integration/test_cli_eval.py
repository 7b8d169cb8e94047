"""`agentmem eval` as a user and as a script meet it; the model is a loopback server spoken to over HTTP."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agentmem.cli import cli
from agentmem.commands import evaluating
from agentmem.errors import InputError, SettingsError
from agentmem.evals import BASELINES, DATASETS
from agentmem.evals.config import read_config
from agentmem.evals.plot import check_plot
from agentmem.fusion import Weights
from docs.blocks import run_at_terminal
from tests.integration.support import environment

Run = Callable[..., Result]
SESSIONS = [
    [
        {"role": "user", "content": "I keep three goats behind the barn.", "has_answer": True},
        {"role": "assistant", "content": "Goats like company.", "has_answer": False},
    ],
    [
        {"role": "user", "content": "The barn needs a new roof.", "has_answer": False},
        {"role": "assistant", "content": "Slate lasts longest.", "has_answer": True},
    ],
]


def _instance(number: int, question: str, answer: str) -> dict[str, Any]:
    return {
        "question_id": f"q{number}",
        "question_type": "single-session-user",
        "question": question,
        "answer": answer,
        "question_date": "2023/06/01 (Thu) 00:58",
        "haystack_dates": ["2023/05/25 (Thu) 20:21", "2023/05/27 (Sat) 10:20"],
        "haystack_session_ids": ["s1", "s2"],
        "haystack_sessions": SESSIONS,
        "answer_session_ids": ["s1"],
    }


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.json"
    asked = ["How many goats do I keep?", "Which roof lasts longest?"]
    path.write_text(json.dumps([_instance(number, text, "three") for number, text in enumerate(asked)]))
    return path


@pytest.fixture
def run(sample: Path) -> Iterator[Run]:
    def call(*args: object) -> Result:
        return CliRunner().invoke(cli, ["eval", "longmemeval", str(sample), *map(str, args)])

    yield call
    logging.getLogger("agentmem").handlers = []


def _ok(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _failed(result: Result, code: int = 2) -> str:
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    (line,) = result.stderr.splitlines()
    return line


# -- what it prints ---------------------------------------------------------------------------------------------

INTERVAL = {"mean", "low", "high"}
FIGURES = {"recall", "all_evidence", "ndcg", "tokens", "mrr"}
SECTION = {"questions", "conversations", "intervals", "methods", "differences", "answers"}
HEAD = {"dataset", "embedder", "chunk_turns", "weights", "answering", "ms_embedding", "corrected"}
CONTEXT = {"asked", "answered", "unjudged", "f1", "exact", "right", "tokens", "errors", "judge_errors"}


def test_the_json_has_the_same_names_from_version_to_version(run: Run) -> None:
    result = _ok(run("--baseline", "dense", "--baseline", "bm25", "--baseline", "dense", "--json"))
    assert set(result) == SECTION | HEAD
    assert set(result["intervals"]) == {"level", "resampled", "draws", "seed"}
    assert list(result["methods"]) == ["agentmem", "dense", "bm25"]
    for method in result["methods"].values():
        assert set(method) == FIGURES | {"ms_per_query", "per_category", "curve"}
        assert set(method["recall"]) == set(method["tokens"]) == {"5", "10", "20"}
        assert set(method["recall"]["5"]) == set(method["mrr"]) == INTERVAL
        assert [point["k"] for point in method["curve"]] == list(range(1, 21))
        assert set(method["curve"][0]) == {"k", "tokens", "recall"}
        assert set(method["per_category"]["single-session-user"]) == {"questions", "recall"}
    assert all(set(difference) == FIGURES for difference in result["differences"].values())
    assert (result["answers"], result["answering"], result["corrected"]) == (None, None, None)


def test_a_pipe_gets_a_figure_a_line(run: Run) -> None:
    result = run("--baseline", "bm25")
    assert result.exit_code == 0
    cells = [line.split("\t") for line in result.stdout.splitlines()]
    assert {len(line) for line in cells} == {6}
    found = {(labels, what, which): mean for labels, what, which, mean, _, _ in cells}
    assert found["published", "agentmem", "recall@10"] == "1.0"
    assert ("published", "difference to bm25", "MRR") in found


def test_the_command_offers_what_the_library_has() -> None:
    assert (evaluating.DATASETS, evaluating.BASELINES) == (DATASETS, BASELINES)


@pytest.mark.slow
def test_a_terminal_gets_tables(sample: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agentmem", "eval", "longmemeval", str(sample), "--baseline", "hybrid"]
    code, shown = run_at_terminal(command, {**environment(tmp_path), "COLUMNS": "80"}, tmp_path)
    assert code == 0, shown
    assert "longmemeval: 2 questions on 2 conversations" in shown
    assert "difference to" in shown
    assert max(map(len, shown.splitlines())) <= 80


# -- a configuration to try -------------------------------------------------------------------------------------


def test_a_configuration_is_measured_in_place_of_the_shipped_one(run: Run, tmp_path: Path) -> None:
    trial = tmp_path / "trial.toml"
    trial.write_text("chunk_turns = 4\n[weights]\nmeaning = 0\nsession = 1.5\n")
    result = _ok(run("--config", trial, "--json"))
    assert result["chunk_turns"] == 4
    assert (result["weights"]["meaning"], result["weights"]["session"]) == (0.0, 1.5)
    assert result["weights"]["coverage"] == _ok(run("--json"))["weights"]["coverage"]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("[weights]\nmaening = 1", "unknown weight 'maening'"),
        ("[weights]\nmeaning = nan", "weight meaning in"),
        ("[weights]\nmeaning = inf", "is a finite number, not inf"),
        ("[weights]\nmeaning = -1.0", "weight meaning in"),
        ('[weights]\nmeaning = "much"', "is a finite number, not 'much'"),
        ("[weights]\nmeaning = true", "is a finite number, not True"),
        ("weights = 3", "is a table"),
        ("chunk_size = 3", "unknown setting 'chunk_size'"),
        ('store = "mine.db"', "unknown setting 'store'"),
        ("chunk_turns = 0", "setting chunk_turns as given"),
        ('chunk_turns = "four"', "setting chunk_turns as given"),
        ("chunk_turns =", "is not valid TOML"),
    ],
)
def test_an_impossible_configuration_is_one_clear_line(run: Run, tmp_path: Path, written: str, says: str) -> None:
    trial = tmp_path / "trial.toml"
    trial.write_text(written + "\n")
    line = _failed(run("--config", trial))
    assert says in line
    assert "trial.toml" in line


def test_no_weight_at_all_is_an_error(tmp_path: Path) -> None:
    trial = tmp_path / "trial.toml"
    trial.write_text("[weights]\n" + "".join(f"{weight.name} = 0\n" for weight in fields(Weights)))
    with pytest.raises(SettingsError, match="nothing would be found"):
        read_config(trial)


# -- the plot ---------------------------------------------------------------------------------------------------


def test_the_plot_is_a_picture(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    result = run("--baseline", "bm25", "--plot", picture, "--json")
    assert set(_ok(result)) == SECTION | HEAD
    drawn = picture.read_bytes()
    assert drawn[:8] == b"\x89PNG\r\n\x1a\n"
    assert drawn[-8:-4] == b"IEND"
    assert len(drawn) > 20_000


@pytest.mark.parametrize(
    ("name", "says"), [("curve.gif", "written as .png, .svg, .pdf"), ("nowhere/curve.png", "there is no folder")]
)
def test_a_plot_that_cannot_be_written_is_refused_before_the_work(
    run: Run, tmp_path: Path, name: str, says: str
) -> None:
    assert says in _failed(run("--plot", tmp_path / name))


def test_without_matplotlib_the_way_to_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"pip install 'agentmem\[plot\]'"):
        check_plot(tmp_path / "curve.png")


# -- answers over HTTP ------------------------------------------------------------------------------------------


@dataclass
class Server:
    """An OpenAI-compatible server on loopback: it answers "Three goats.", and judges by `verdict`; a status fails."""

    url: str = ""
    verdict: Any = "RIGHT"
    answer: Any = "Three."
    sent: list[dict[str, Any]] = field(default_factory=list)


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(200, {"object": "list", "data": [{"id": "small", "object": "model"}]})

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.sent.append(sent)
            said = server.verdict if len(sent["messages"]) == 1 else server.answer
            if isinstance(said, int):
                self.reply(said, {"error": {"message": "it broke"}})
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for delta, finish in (({"role": "assistant", "content": said}, None), ({}, "stop")):
                choice = {"index": 0, "delta": delta, "finish_reason": finish}
                piece = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
                self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def reply(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _handler(told))
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    told.url = f"http://localhost:{listening.server_address[1]}/v1"
    yield told
    listening.shutdown()
    listening.server_close()
    thread.join()


def test_a_server_answers_and_judges(run: Run, server: Server) -> None:
    result = _ok(run("--answers", "--base-url", server.url, "--json"))
    assert result["answering"]["model"] == "small"
    assert "Reply with one word: RIGHT or WRONG" in result["answering"]["judge_prompt"]
    contexts = result["answers"]["contexts"]
    assert set(contexts) == {"agentmem", "full_context", "no_memory"}
    for context in contexts.values():
        assert set(context) == CONTEXT
        assert (context["asked"], context["answered"], context["unjudged"]) == (2, 2, 0)
        assert context["exact"]["mean"] == context["right"]["mean"] == 1
    assert len(server.sent) == 12
    assert {sent["temperature"] for sent in server.sent} == {0}
    assert "three goats" in server.sent[0]["messages"][0]["content"]


def test_a_judge_that_babbles_leaves_answers_unjudged(run: Run, server: Server) -> None:
    server.verdict = "That depends."
    context = _ok(run("--answers", "--base-url", server.url, "--json"))["answers"]["contexts"]["agentmem"]
    assert (context["unjudged"], context["judge_errors"]) == (2, {})
    assert context["right"]["mean"] is None
    assert context["exact"]["mean"] == 1


def test_the_servers_failures_are_counted_and_shown(run: Run, server: Server) -> None:
    server.answer = 500
    context = _ok(run("--answers", "--base-url", server.url, "--json"))["answers"]["contexts"]["agentmem"]
    ((reason, times),) = context["errors"].items()
    assert times == 2
    assert "failed (status 500)" in reason
    assert (context["asked"], context["answered"], context["f1"]["mean"]) == (2, 0, None)
    printed = run("--answers", "--base-url", server.url).stdout.splitlines()
    assert ["published", "answers: no_memory", reason, "2", "", ""] in [line.split("\t") for line in printed]


def test_answers_need_a_model_before_any_work(run: Run) -> None:
    assert "no model server answers" in _failed(run("--answers", "--base-url", "http://127.0.0.1:9/v1"), 5)
