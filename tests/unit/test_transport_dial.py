"""Names and addresses: what is looked up when, and which address is tried beside which."""

from __future__ import annotations

import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any, TypeVar

import pytest

from pipeline.transport import Loop
from pipeline.transport.dial import Address, dial
from pipeline.transport.loop import Gate, Routine
from pipeline.transport.names import Host

Result = TypeVar("Result")


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def result_of(loop: Loop, coroutine: Coroutine[Gate, None, Result]) -> Result:
    """Return what a coroutine returns, or raise what it raises."""
    results: list[Result] = []
    Routine(coroutine, results.append).resume()
    give_up = monotonic() + 10
    while not results and monotonic() < give_up:
        loop.turn(1)
    return results[0]


def at(port: int, host: str = "127.0.0.1") -> Address:
    return socket.AF_INET, socket.SOCK_STREAM, 0, (host, port)


@pytest.fixture
def listening() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield at(server.getsockname()[1])


@pytest.fixture
def refusing() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return at(server.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[Address]:
    """The address of a server whose queue is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield at(server.getsockname()[1])


def test_an_address_that_refuses_lets_the_next_one_begin_at_once(
    loop: Loop, refusing: Address, listening: Address
) -> None:
    began = monotonic()
    with result_of(loop, dial(loop, [refusing, listening], began + 10)) as sock:
        assert sock.getpeername() == listening[3]
    assert monotonic() - began < 0.2


def test_an_address_that_is_silent_is_left_behind_after_a_quarter_of_a_second(
    loop: Loop, silent: Address, listening: Address
) -> None:
    began = monotonic()
    with result_of(loop, dial(loop, [silent, listening], began + 10)) as sock:
        assert sock.getpeername() == listening[3]
    assert 0.2 < monotonic() - began < 2


def test_a_silent_address_leaves_the_others_their_share_of_a_short_time(
    loop: Loop, silent: Address, listening: Address
) -> None:
    began = monotonic()
    with result_of(loop, dial(loop, [silent, listening], began + 0.2)):
        assert 0.05 < monotonic() - began < 0.19


def test_where_every_address_refuses_that_is_what_is_told(loop: Loop, refusing: Address) -> None:
    with pytest.raises(ConnectionRefusedError):
        result_of(loop, dial(loop, [refusing, refusing], monotonic() + 10))


def test_no_socket_is_left_open_but_the_one_that_is_connected(
    loop: Loop, silent: Address, listening: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []

    class Counted(socket.socket):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Counted)
    sock = result_of(loop, dial(loop, [silent, listening], monotonic() + 10))
    assert [one for one in made if one.fileno() >= 0] == [sock]
    sock.close()


class Resolver:
    """Stands in for the system's; `answers` are given in turn, the last one for ever."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, name: str, port: int, **options: Any) -> list[Any]:
        self.asked += 1
        self.threads.add(threading.current_thread().name)
        self.gate.wait(10)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        families = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(families[":" in one], socket.SOCK_STREAM, 6, "", (one, port)) for one in answer]


def places(addresses: list[Address]) -> list[str]:
    return [address[3][0] for address in addresses]


def test_one_lookup_in_a_thread_serves_all_that_wait_while_the_loop_goes_on(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(["192.0.2.1"])
    resolver.gate.clear()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    host, found, ticks = Host(loop, "endpoint.test", 80), list[list[Address]](), list[None]()
    for _ in range(100):
        Routine(host.addresses(), found.append).resume()
    loop.at(monotonic() + 0.05, lambda: ticks.append(None))
    loop.turn(1)
    assert ticks and not found
    resolver.gate.set()
    give_up = monotonic() + 10
    while len(found) < 100 and monotonic() < give_up:
        loop.turn(1)
    assert (len(found), resolver.asked, resolver.threads) == (100, 1, {"resolver"})
    result_of(loop, host.addresses())
    assert resolver.asked == 1
    host.forget()
    result_of(loop, host.addresses())
    assert resolver.asked == 2


def test_a_name_that_is_not_found_is_looked_up_again(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(socket.gaierror(socket.EAI_AGAIN, "try again"), ["192.0.2.1"])
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    host = Host(loop, "endpoint.test", 80)
    with pytest.raises(socket.gaierror):
        result_of(loop, host.addresses())
    assert places(result_of(loop, host.addresses())) == ["192.0.2.1"]


def test_families_alternate_and_the_addresses_of_each_take_turns(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["2001:db8::1", "2001:db8::2", "192.0.2.1"]))
    host = Host(loop, "endpoint.test", 80)
    assert places(result_of(loop, host.addresses())) == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]
    assert places(result_of(loop, host.addresses())) == ["2001:db8::2", "192.0.2.1", "2001:db8::1"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_needs_no_thread(loop: Loop, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver([address])
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    result_of(loop, Host(loop, address, 80).addresses())
    assert resolver.threads == {threading.current_thread().name}


def test_where_no_thread_can_be_had_the_name_is_looked_up_all_the_same(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["192.0.2.1"]))
    assert places(result_of(loop, Host(loop, "endpoint.test", 80).addresses())) == ["192.0.2.1"]
