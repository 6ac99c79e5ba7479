"""Hub models by a stand-in on this machine: every answer that is none is one line, and says what to do."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from pathlib import Path

import pytest

from resurface.cli import main
from resurface.errors import UserError
from resurface.models import ModelConfig, resolve

SHA = "a" * 40


def tag(name: str) -> str:
    """The hub's name of a file's content."""
    return hashlib.sha1(name.encode()).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """Serves the files of a folder as the repository of any name; `fault` says what goes wrong."""

    daemon_threads = True
    fault: int | str = 0
    folder: Path
    asked: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        fault, path = self.server.fault, self.path.partition("?")[0]
        self.server.asked.append(path)
        if fault == "gone":
            return self.answer(
                404, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="Repository Not Found"
            )
        if fault == "private":
            return self.answer(401, b"{}", X_Error_Message="Invalid username or password.")
        if isinstance(fault, int) and fault:
            return self.answer(fault, b'{"error": "no"}')
        files = {f.name: f for f in self.server.folder.iterdir()}
        if path.startswith("/api/") and "/tree/" in path:
            rows = [
                {
                    "type": "file",
                    "path": n,
                    "size": f.stat().st_size,
                    "oid": hashlib.sha1(n.encode()).hexdigest(),
                }
                for n, f in files.items()
            ]
            return self.answer(200, json.dumps(rows).encode(), Content_Type="application/json")
        if path.startswith("/api/"):
            if "/revision/" in path and not path.endswith(("/main", SHA)):
                return self.answer(404, b"{}", X_Error_Code="RevisionNotFound")
            name = path.removeprefix("/api/models/").partition("/revision/")[0]
            info = {"id": name, "sha": SHA, "siblings": [{"rfilename": n} for n in files]}
            return self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        if fault == "gated":
            return self.answer(403, b"{}", X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
        file = files[path.rpartition("/")[2]]
        body = file.read_bytes()
        if fault == "cut" and file.suffix == ".safetensors" and self.command == "GET":
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return None
        return self.answer(200, body, ETag=f'"{tag(file.name)}"', X_Repo_Commit=SHA)


@pytest.fixture
def standin(tiny_model_dir, tmp_path, monkeypatch):
    from huggingface_hub import constants, file_download

    server = Hub(("127.0.0.1", 0), Handler)
    server.folder, server.asked = tiny_model_dir, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda s: None)  # the client waits between its tries
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["someone/model", "gpt2"])
def test_a_hub_model_is_downloaded_whole(standin, tiny_model_dir, name):
    ref = resolve(ModelConfig(id=name))
    assert ref.kind == "hub"
    assert ref.fingerprint == resolve(ModelConfig(id=str(tiny_model_dir))).fingerprint
    standin.fault = 503  # what is in its cache counts
    assert resolve(ModelConfig(id=name)) == ref


@pytest.mark.parametrize(
    ("fault", "said", "remedy"),
    [
        ("gone", "the hub has no model", "check the name"),
        ("private", r"refuses access .* \(HTTP status 401\)", "check the name"),
        ("gated", "is gated", "ask for access"),
        (403, r"refuses access .* \(HTTP status 403\)", "hf auth login"),
        (429, "asked too often", "wait some minutes"),
        (500, "HTTP status 500", "try again later"),
        (503, "HTTP status 503", "try again later"),
        ("cut", "broke off", "run the same command again"),
    ],
)
@pytest.mark.parametrize("name", ["someone/model", "gpt2"])
def test_what_the_hub_answers_is_reported(standin, fault, said, remedy, name):
    standin.fault = fault
    with pytest.raises(UserError, match=said) as e:
        resolve(ModelConfig(id=name))
    assert name in e.value.message and remedy in e.value.remedy
    assert "cache" not in e.value.message


def test_a_download_that_broke_off_goes_on(standin, tiny_model_dir):
    standin.fault = "cut"
    with pytest.raises(UserError, match="broke off"):
        resolve(ModelConfig(id="someone/model"))
    standin.fault, standin.asked = 0, []
    ref = resolve(ModelConfig(id="someone/model"))
    assert ref.fingerprint == resolve(ModelConfig(id=str(tiny_model_dir))).fingerprint


def test_an_unknown_revision_is_named(standin):
    with pytest.raises(UserError, match="no revision 'nope'"):
        resolve(ModelConfig(id="someone/model", revision="nope"))


@pytest.mark.parametrize("name", ["someone/model", "gpt2"])
def test_a_connection_that_fails_is_reported_and_leaves_json(standin, name, capsys):
    standin.shutdown()
    standin.server_close()
    with pytest.raises(UserError, match="cannot be reached") as e:
        resolve(ModelConfig(id=name))
    assert "smollm2-135m-instruct" in e.value.remedy
    assert main.main(["sample", name, "--json"]) == 2
    assert "cannot be reached" in json.loads(capsys.readouterr().out)["error"]


def test_a_hub_that_is_switched_off(standin, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        resolve(ModelConfig(id="someone/model"))
