"""The way out of the box: the names and addresses of who is told, their certificates, and whose fault a failure is."""

import errno
import socket
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import trio
import trio.testing

from appliance.config import Webhook
from appliance.gateway import target_refusal
from appliance.subscriptions import Subscriptions
from tests.certificates import Certified, certify
from tests.couriers import NO_NAME_SERVER, NO_SUCH_NAME, NOON, SECRET, Box, Names, open_box, resolve, served


@pytest.fixture
async def box(tmp_path) -> AsyncIterator[Box]:
    async with open_box(tmp_path) as box:
        yield box


async def test_a_box_without_name_servers_blames_nobody_and_goes_on_when_they_are_back(box, mock_clock):
    receiver = await box.receiver(host="crm.example")
    names = resolve(NO_NAME_SERVER)
    box.start()
    await box.put(1, 2)
    for _ in range(100):
        await trio.testing.wait_all_tasks_blocked(0.001)
        mock_clock.jump(30)
    assert await box.outbox.log(box.hooks[0]) == []
    names.answer = ["127.0.0.1"]
    mock_clock.jump(30)
    await box.settled(2)
    assert len(receiver.requests) == 2


async def test_a_box_without_a_route_blames_nobody(box, mock_clock):
    tried = trio.Event()

    class Unplugged(trio.socket.SocketType):
        def __init__(self):
            self._socket = socket.socket()

        def setsockopt(self, *args):
            pass

        async def connect(self, address):
            tried.set()
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

        def close(self):
            self._socket.close()

    class Factory(trio.abc.SocketFactory):
        def socket(self, *args):
            return Unplugged()

    receiver = await box.receiver()
    trio.socket.set_custom_socket_factory(Factory())
    box.start()
    await box.put(1)
    await tried.wait()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert await box.outbox.log(box.hooks[0]) == []
    trio.socket.set_custom_socket_factory(None)
    mock_clock.jump(30)
    await receiver.received(1)


@pytest.mark.parametrize("online", [True, False])
async def test_8_where_the_probe_host_does_not_answer_either_it_is_the_boxs_own_fault(box, mock_clock, online):
    receiver = await box.receiver()
    receiver.held = trio.Event()
    probe, url = await served(box)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = urlsplit(url).port if online else nobody.getsockname()[1]
        box.probe = ("127.0.0.1", port)
        box.start()
        await box.put(1)
        await receiver.received(1)
        mock_clock.jump(15)
        if online:
            (entry,) = await box.settled(1)
            assert entry.error == "no answer in 15 s"
            assert probe.connections == 1
            return
        receiver.held.set()
        while not (entries := await box.outbox.log(box.hooks[0])):
            await trio.testing.wait_all_tasks_blocked(0.05)
            mock_clock.jump(30)
        (entry,) = entries
    assert (entry.code, entry.attempt) == (200, 1)


async def test_a_name_that_does_not_exist_is_the_webhooks_own_fault(box):
    await box.receiver(host="crm.example")
    resolve(NO_SUCH_NAME)
    box.start()
    await box.put(1)
    (entry,) = await box.settled(1)
    assert "not known" in entry.error
    assert entry.next_at is not None


async def test_8_a_name_whose_own_servers_fail_is_to_blame_while_others_are_found(box):
    await box.receiver(host="good.example")
    bad = box.hooks[0].url.replace("good", "bad")
    box.hooks.append(Webhook.model_construct(url=bad, secret=SECRET, events=("*",), name=None))

    class Half(Names):
        async def getaddrinfo(self, host, *args, **more):
            if "bad" in str(host):
                await found.wait()
                raise NO_NAME_SERVER
            answer = await super().getaddrinfo(host, *args, **more)
            if "good" in str(host):
                trio.lowlevel.current_trio_token().run_sync_soon(found.set)
            return answer

    found = trio.Event()
    trio.socket.set_custom_hostname_resolver(Half(["127.0.0.1"]))
    box.start()
    await box.put(1)
    (entry,) = await box.settled(1, box.hooks[1])
    assert "Temporary failure" in entry.error


async def test_the_next_address_is_tried_when_one_refuses(box):
    receiver = await box.receiver(host="crm.example")
    # Nobody listens on the first.
    resolve(["127.9.9.9", "127.0.0.1"])
    box.start()
    await box.put(1)
    await receiver.received(1)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["192.168.1.9", "127.0.0.1"], ["169.254.169.254"]])
async def test_a_name_that_leads_where_no_event_may_go_is_refused_unconnected(box, addresses):
    receiver = await box.receiver(host="crm.example")
    resolve(addresses)
    box.start(allow_loopback=False)
    await box.put(1)
    (entry,) = await box.settled(1)
    assert "TargetRefused: crm.example: " in entry.error
    assert entry.next_at is not None
    assert receiver.connections == 0


async def test_8_a_name_that_leads_to_the_box_itself_later_is_refused_then(box):
    receiver, url = await served(box)
    names = resolve(["192.168.1.9"])
    url = url.replace("127.0.0.1", "crm.example")
    assert await target_refusal(url, allow_loopback=False) is None
    hook, _ = await Subscriptions(box.database, box.outbox.ring).create(1, url, at=NOON)
    names.answer = ["127.0.0.1"]
    assert "this box itself" in await target_refusal(url, allow_loopback=False)
    box.start(allow_loopback=False)
    await box.put(1, project=1)
    (entry,) = await box.settled(1, hook)
    assert "TargetRefused" in entry.error
    assert receiver.connections == 0


async def test_what_can_not_be_looked_up_is_not_refused_when_it_is_made():
    for answer in (NO_NAME_SERVER, NO_SUCH_NAME):
        resolve(answer)
        assert await target_refusal("https://crm.example/", allow_loopback=False) is None


@pytest.fixture(scope="module")
def certified(tmp_path_factory) -> Certified:
    """For crm.example alone."""
    return certify(tmp_path_factory.mktemp("tls"), "crm.example")


async def test_a_certificate_that_is_trusted_is_enough(box, certified):
    receiver = await box.receiver(tls=certified.server, host="crm.example")
    resolve(["127.0.0.1"])
    box.start(tls=ssl.create_default_context(cafile=certified.ca))
    await box.put(1)
    await receiver.received(1)
    (entry,) = await box.settled(1)
    assert entry.code == 200


@pytest.mark.parametrize(("host", "trusted"), [("crm.example", False), ("other.example", True)])
async def test_a_certificate_of_strangers_or_for_another_name_is_a_failure(box, certified, host, trusted):
    receiver = await box.receiver(tls=certified.server, host=host)
    resolve(["127.0.0.1"])
    box.start(tls=ssl.create_default_context(cafile=certified.ca) if trusted else None)
    await box.put(1)
    (entry,) = await box.settled(1)
    assert "certificate verify failed" in entry.error
    assert receiver.requests == []
