"""The node wallet on a real node: Litecoin Core in regtest, where `litecoind` is installed (Debian has it)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from converter.domain.coins import asset
from converter.domain.errors import ConverterError, OutcomeUnknown, ServiceRejected
from converter.domain.orders import Refund
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.wallets.bitcoin_tx import memo_script, read_transaction
from converter.wallets.bitcoind import BitcoindWallet
from converter.wallets.rpc import Node, NodeRefused
from tests.wallets.contract import eventually, soon

LITECOIND = shutil.which("litecoind")
pytestmark = pytest.mark.skipif(LITECOIND is None and "CI" not in os.environ, reason="litecoind is not installed")

LOGIN = "tester:regtest-password"
LTC = asset("LTC")
MEMO = "=:ETH.ETH:0x86d526d6624AbC0178cF7296cD538Ecc080A95F1:0/1/0"
HELD = 5
"""Mature block rewards in the wallet, of 50 LTC each, all to one address."""


class Real:
    """A node with a wallet of its own, and the wallet that is tested."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/wallet/hot"
        self.node = Node("real", url, LOGIN)
        self.purse = Node("real", self.url, LOGIN)
        self.elsewhere = Node("real", f"{url}/wallet/elsewhere", LOGIN)
        self.wallet = BitcoindWallet(self.url, LOGIN, "LTC", 1)

    def start(self) -> None:
        eventually(self.ready, 60)
        for name in ("hot", "elsewhere"):
            self.call(self.node, "createwallet", name)
        self.home = self.call(self.purse, "getnewaddress")
        self.payee = self.call(self.elsewhere, "getnewaddress")
        self.call(self.node, "generatetoaddress", HELD, self.home)
        self.call(self.node, "generatetoaddress", 100 + HELD, self.payee)

    def ready(self) -> bool:
        try:
            return bool(self.call(self.node, "getblockchaininfo"))
        except (ConverterError, NodeRefused):
            time.sleep(0.1)
            return False

    def call(self, node: Node, method: str, *params: Any) -> Any:
        return node.read(method, list(params), soon())

    def mine(self) -> None:
        self.call(self.node, "generatetoaddress", 1, self.payee)

    def locked(self) -> list[Any]:
        return list(self.call(self.purse, "listlockunspent"))

    def signed(self, payment: Payment) -> Transfer:
        return self.wallet.sign(payment, 0, self.wallet.prepare(payment, soon()))

    def payment(self, amount: str = "1.50000001", memo: str = "") -> Payment:
        return Payment(LTC, self.payee, Decimal(amount), memo)

    def arrived(self, txid: str) -> Decimal:
        return Decimal(self.call(self.elsewhere, "gettransaction", txid)["amount"])


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    user, _, password = LOGIN.partition(":")
    options = [f"-datadir={tmp_path}", "-regtest", f"-rpcport={port}", f"-rpcuser={user}", f"-rpcpassword={password}"]
    options += ["-listen=0", "-fallbackfee=0.0001", "-txindex=1", "-addresstype=bech32", "-printtoconsole=0"]
    process = subprocess.Popen([str(LITECOIND), *options])
    try:
        running = Real(f"http://127.0.0.1:{port}")
        running.start()
        yield running
    finally:
        process.kill()  # an orderly end would wait for our idle connections
        process.wait(30)


def test_a_payment_is_prepared_sent_repeated_mined_and_dropped_from_its_block(real: Real) -> None:
    wallet, payment = real.wallet, real.payment()
    transfer = real.signed(payment)
    assert wallet.observe(transfer, soon()) is Sighting.UNKNOWN
    assert real.call(real.node, "getrawmempool") == []
    assert len(real.locked()) == 1
    for _ in range(3):
        wallet.broadcast(transfer, soon())
    assert wallet.observe(transfer, soon()) is Sighting.PENDING
    real.mine()
    assert wallet.observe(transfer, soon()) is Sighting.CONFIRMED
    wallet.broadcast(transfer, soon())
    assert real.arrived(transfer.txid) == payment.amount
    real.call(real.node, "invalidateblock", real.call(real.node, "getbestblockhash"))
    eventually(lambda: wallet.observe(transfer, soon()) is Sighting.PENDING)
    wallet.broadcast(transfer, soon())
    real.call(real.node, "generatetoaddress", 1, real.home)  # another block than the one that was dropped
    assert wallet.observe(transfer, soon()) is Sighting.CONFIRMED


def test_a_memo_payment_brings_its_change_back_to_its_first_input(real: Real) -> None:
    transfer = real.signed(real.payment("120", MEMO))
    transaction = read_transaction(transfer.raw)
    script = real.call(real.node, "validateaddress", real.home)["scriptPubKey"]
    assert [output.script for output in transaction.outputs[1:]] == [script, memo_script(MEMO)]
    assert len(transaction.inputs) == 3
    real.wallet.broadcast(transfer, soon())
    real.mine()
    assert real.wallet.observe(transfer, soon()) is Sighting.CONFIRMED
    assert real.arrived(transfer.txid) == Decimal(120)


def test_short_funds_and_bad_amounts_are_refused_and_nothing_stays_set_aside(real: Real) -> None:
    for amount in ("250", "1000000", "0.00000001"):
        for memo in ("", MEMO):
            with pytest.raises(ServiceRejected):
                real.wallet.prepare(real.payment(amount, memo), soon())
            assert real.locked() == []
    prepared = real.wallet.prepare(real.payment("240", MEMO), soon())
    assert len(real.locked()) == HELD
    with pytest.raises(ServiceRejected, match=r"[Ii]nsufficient funds"):
        real.wallet.prepare(real.payment(), soon())
    real.wallet.release(prepared, soon())
    assert real.locked() == []


def test_of_two_payments_of_the_same_coins_only_the_mined_one_is_ever_taken_for_sent(real: Real) -> None:
    wallet = real.wallet
    prepared = wallet.prepare(real.payment("240"), soon())
    first = wallet.sign(real.payment("240"), 0, prepared)
    wallet.release(prepared, soon())
    second = real.signed(real.payment("230"))
    wallet.broadcast(second, soon())
    with pytest.raises(OutcomeUnknown):
        wallet.broadcast(first, soon())
    assert wallet.observe(first, soon()) is Sighting.UNKNOWN
    real.mine()
    with pytest.raises(OutcomeUnknown):
        wallet.broadcast(first, soon())
    assert wallet.observe(first, soon()) is Sighting.UNKNOWN
    assert wallet.observe(second, soon()) is Sighting.CONFIRMED


def test_a_refund_counts_when_it_is_mined_and_our_own_payment_is_none(real: Real) -> None:
    wallet = real.wallet
    txid = real.call(real.elsewhere, "sendtoaddress", real.home, "0.75")
    refund = Refund(real.home, None, txid)
    assert wallet.received(LTC, refund, soon()) is None
    real.mine()
    assert wallet.received(LTC, refund, soon()) == Decimal("0.75")
    transfer = real.signed(real.payment())
    wallet.broadcast(transfer, soon())
    real.mine()
    assert wallet.received(LTC, Refund(real.payee, None, transfer.txid), soon()) == Decimal(0)
    strangers = Refund(real.payee, None, real.call(real.elsewhere, "sendtoaddress", real.payee, "0.5"))
    real.mine()
    seen: Callable[[], Decimal | None] = lambda: wallet.received(LTC, strangers, soon())  # noqa: E731
    assert eventually(seen) >= Decimal("0.5")
