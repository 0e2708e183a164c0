"""CIFAR-100's downloads, against a real HTTP server on this machine that cuts, stalls and lies."""

import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from test_cifar100 import assert_same_as, binary_files, expect, made_up_records, packed, picture_files

from mbv2_lib import cifar100
from mbv2_lib.files import UserError

RECORDS = made_up_records()
ARCHIVE = packed(binary_files(RECORDS))
HALF = len(ARCHIVE) // 2


class Request(BaseHTTPRequestHandler):
    """Answers with what the test put at the path: bytes, a status, or a function that misbehaves."""

    def do_GET(self):
        self.start = int(re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        self.server.asked.append((self.path, self.start))
        answers = self.server.answers.get(self.path, [404])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]  # the last answer is repeated
        if isinstance(answer, int):
            self.send_error(answer)
        elif callable(answer):
            answer(self)
        else:
            self.send_rest(answer)

    def send_rest(self, content, until=None):
        """The content from where the Range starts, up to `until`, under headers that promise all of it."""
        if self.start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if self.start else 200)
        if self.start:
            self.send_header("Content-Range", f"bytes {self.start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - self.start))
        self.end_headers()
        return self.wfile.write(content[self.start : until])

    def log_message(self, *_):
        pass


def cut_at(until):
    """An answer that promises the whole archive and closes the connection at `until`."""
    return lambda request: request.send_rest(ARCHIVE, until)


@pytest.fixture
def server(monkeypatch):
    expect(monkeypatch, RECORDS)
    monkeypatch.setattr(cifar100, "PAUSE", 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
    server.daemon_threads = True
    server.asked, server.answers, server.closing = [], {}, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(cifar100, "SOURCES", ((f"{server.url}/first.tgz", None), (f"{server.url}/second.tgz", None)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


def stall_at(until, closing):
    """An answer that sends up to `until` and then keeps the connection open and silent."""

    def answer(request):
        request.send_rest(ARCHIVE, until)
        request.wfile.flush()
        closing.wait(60)

    return answer


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_download_is_verified_and_kept_for_the_next_time(server, tmp_path, capsys):
    server.answers["/first.tgz"] = [ARCHIVE]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert f"from {server.url}/first.tgz" in capsys.readouterr().out
    assert files_in(tmp_path) == ["test.bin", "train.bin"]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert server.asked == [("/first.tgz", 0)]


def test_the_mirrors_tree_of_pictures_is_read_from_a_download(server, tmp_path):
    server.answers["/first.tgz"] = [packed(picture_files(RECORDS))]
    (images, labels), _ = cifar100.load(cache=tmp_path)
    assert cifar100.digest(images, labels) == cifar100.DIGESTS["train"]


def test_a_cut_download_is_resumed_where_it_stopped(server, tmp_path):
    server.answers["/first.tgz"] = [cut_at(HALF), ARCHIVE]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert server.asked == [("/first.tgz", 0), ("/first.tgz", HALF)]


def test_a_download_cut_again_and_again_goes_on_while_it_brings_enough(server, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar100, "ENOUGH", 50_000)
    stops = list(range(60_000, len(ARCHIVE), 60_000))
    assert len(stops) > 2 * cifar100.TRIES
    server.answers["/first.tgz"] = [*map(cut_at, stops), ARCHIVE]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert server.asked == [("/first.tgz", start) for start in (0, *stops)]


def test_a_download_is_resumed_by_the_next_run(server, tmp_path):
    server.answers["/first.tgz"] = [cut_at(HALF)]
    with pytest.raises(UserError):
        cifar100.load(cache=tmp_path)
    server.asked.clear()
    server.answers["/first.tgz"] = [ARCHIVE]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert server.asked == [("/first.tgz", HALF)]


def test_a_stalled_download_is_resumed_after_the_limit_of_silence(server, tmp_path):
    server.answers["/first.tgz"] = [stall_at(HALF, server.closing), ARCHIVE]
    began = time.monotonic()
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path, silence=0.5))
    assert 0.5 <= time.monotonic() - began < 10
    (_, first), (_, second) = server.asked
    assert first == 0 and HALF - (1 << 14) <= second <= HALF  # at most one chunk was still on its way


def test_a_server_that_accepts_and_says_nothing_is_left_for_the_next(server, tmp_path):
    server.answers["/first.tgz"] = [lambda request: server.closing.wait(60)]
    server.answers["/second.tgz"] = [ARCHIVE]
    began = time.monotonic()
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path, silence=0.3))
    assert time.monotonic() - began < 10
    assert [path for path, _ in server.asked] == ["/first.tgz"] * cifar100.TRIES + ["/second.tgz"]


def test_a_server_that_ignores_the_range_is_read_from_the_beginning(server, tmp_path):
    def all_of_it(request):
        request.start = 0
        request.send_rest(ARCHIVE)

    server.answers["/first.tgz"] = [cut_at(HALF), all_of_it]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert server.asked == [("/first.tgz", 0), ("/first.tgz", HALF)]


def part_file(cache, url):
    """Where a download that is under way is kept."""
    name = cifar100.pooch.utils.unique_file_name(url)
    cache.mkdir(exist_ok=True)
    return cache / f"{name}.part"


def test_a_part_that_is_already_whole_is_used(server, tmp_path):
    server.answers["/first.tgz"] = [ARCHIVE]
    part_file(tmp_path, f"{server.url}/first.tgz").write_bytes(ARCHIVE)
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert server.asked == [("/first.tgz", len(ARCHIVE))]


def test_a_stale_part_longer_than_the_file_is_fetched_anew(server, tmp_path):
    server.answers["/first.tgz"] = [ARCHIVE]
    part_file(tmp_path, f"{server.url}/first.tgz").write_bytes(bytes(len(ARCHIVE) + 10))
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert server.asked == [("/first.tgz", len(ARCHIVE) + 10), ("/first.tgz", 0)]


def test_a_stale_part_of_another_file_does_not_harm_twice(server, tmp_path):
    server.answers["/first.tgz"] = [ARCHIVE]
    part_file(tmp_path, f"{server.url}/first.tgz").write_bytes(b"stale")
    with pytest.raises(UserError):
        cifar100.load(cache=tmp_path)
    assert files_in(tmp_path) == []
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_missing_file_is_sought_at_the_next_source_at_once(server, tmp_path, status, capsys):
    server.answers["/first.tgz"] = [status]
    server.answers["/second.tgz"] = [ARCHIVE]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert server.asked == [("/first.tgz", 0), ("/second.tgz", 0)]
    out = capsys.readouterr().out
    assert str(status) in out and out.index("first.tgz") < out.index("from " + server.url + "/second.tgz")


def test_a_host_that_is_not_there_is_followed_by_the_next_source(server, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar100, "SOURCES", (("http://127.0.0.1:9/a.tgz", None), cifar100.SOURCES[0]))
    server.answers["/first.tgz"] = [ARCHIVE]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))


WRONG = {
    "another data set": packed(binary_files({split: rows[:50] for split, rows in RECORDS.items()})),
    "a page that says sorry": b"<html>sorry</html>" * 1000,
    "a member outside": packed({"../train.bin": b""}),
}


@pytest.mark.parametrize("lie", WRONG)
def test_wrong_content_is_refused_removed_and_sought_at_the_next_source(server, tmp_path, lie):
    server.answers["/first.tgz"] = [WRONG[lie]]
    server.answers["/second.tgz"] = [ARCHIVE]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert [path for path, _ in server.asked] == ["/first.tgz", "/second.tgz"]
    assert files_in(tmp_path) == ["test.bin", "train.bin"]


def test_an_archive_whose_hash_is_known_is_not_even_opened_when_it_differs(server, tmp_path, monkeypatch):
    first, second = (url for url, _ in cifar100.SOURCES)
    monkeypatch.setattr(cifar100, "SOURCES", ((first, "0" * 64), (second, hashlib.sha256(ARCHIVE).hexdigest())))
    server.answers["/first.tgz"] = server.answers["/second.tgz"] = [ARCHIVE]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert [path for path, _ in server.asked] == ["/first.tgz", "/second.tgz"]


def test_when_every_source_fails_the_error_names_all_and_the_ways_out(server, tmp_path):
    server.answers["/first.tgz"] = [WRONG["another data set"]]
    with pytest.raises(UserError) as caught:
        cifar100.load(cache=tmp_path)
    text = str(caught.value)
    assert "\n" not in text and "first.tgz" in text and "second.tgz" in text and "404" in text
    assert "folder or an archive" in text and "shapes100" in text
    assert files_in(tmp_path) == []


def test_a_users_url_is_the_only_one_asked(server, tmp_path):
    server.answers["/mine.tgz"] = [WRONG["another data set"]]
    server.answers["/first.tgz"] = [ARCHIVE]
    with pytest.raises(UserError, match="50 images with digest"):
        cifar100.load(f"{server.url}/mine.tgz", cache=tmp_path)
    assert server.asked == [("/mine.tgz", 0)]
    server.answers["/mine.tgz"] = [ARCHIVE]
    assert_same_as(RECORDS, cifar100.load(f"{server.url}/mine.tgz", cache=tmp_path))


@pytest.mark.parametrize("says_its_length", [True, False])
def test_a_download_of_absurd_size_is_stopped(server, tmp_path, monkeypatch, says_its_length):
    def endless(request):
        request.send_response(200)
        if says_its_length:
            request.send_header("Content-Length", str(10**15))
        request.end_headers()
        try:
            while not server.closing.is_set():
                request.wfile.write(bytes(1 << 16))
        except OSError:
            pass  # the other side hung up

    monkeypatch.setattr(cifar100, "MOST_BYTES", 2_000_000)
    server.answers["/first.tgz"] = [endless]
    server.answers["/second.tgz"] = [ARCHIVE]
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert files_in(tmp_path) == ["test.bin", "train.bin"]


def test_a_damaged_cache_is_fetched_again(server, tmp_path):
    server.answers["/first.tgz"] = [ARCHIVE]
    cifar100.load(cache=tmp_path)
    saved = tmp_path / "cifar100" / "train.bin"
    saved.write_bytes(saved.read_bytes()[:-1])
    assert_same_as(RECORDS, cifar100.load(cache=tmp_path))
    assert len(server.asked) == 2


def test_a_cache_folder_that_can_not_be_written_is_an_error_of_one_line(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    server.answers["/first.tgz"] = [ARCHIVE]
    with pytest.raises(UserError, match="cache folder"):
        cifar100.load(cache=tmp_path / "file")


def test_progress_is_shown_in_plain_lines_where_there_is_no_terminal(server, tmp_path, capsys):
    server.answers["/first.tgz"] = [ARCHIVE]
    cifar100.load(cache=tmp_path)
    assert re.search(r"downloading: (\S+) of \1B, .*B/s, 00:00 left\n", capsys.readouterr().err)


@pytest.mark.parametrize("source", ["http://", "ftp://localhost/cifar100.tgz", "http://[::1"])
def test_an_address_that_is_none_is_answered_at_once(source, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar100.time, "sleep", lambda seconds: pytest.fail("asked again"))
    with pytest.raises(UserError, match="could not be fetched"):
        cifar100.load(source, cache=tmp_path)
