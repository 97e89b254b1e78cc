"""The wallets' contract on the nodes of the Core family: BTC, LTC, DOGE, BCH, RVN."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from converter.domain.coins import asset
from converter.domain.transfers import Payment
from converter.sandbox.credentials import BITCOIND_PASSWORD, BITCOIND_USER
from converter.sandbox.server import Sandbox
from converter.sandbox.utxo_coins import address_of
from converter.sandbox.utxo_tx import decode
from converter.wallets.bitcoind import MISSING_INPUTS, BitcoindWallet
from converter.wallets.rpc import Node, NodeRefused
from tests.wallets.contract import WalletContract, soon

LOGIN = f"{BITCOIND_USER}:{BITCOIND_PASSWORD}"
MEMO = "=:ETH.ETH:0x86d526d6624AbC0178cF7296cD538Ecc080A95F1:0/1/0"


class CoreContract(WalletContract):
    secret = BITCOIND_PASSWORD
    too_much = Decimal(20_000_000_000)

    @property
    def ticker(self) -> str:
        return self.asset.coin

    def make(self, url: str, confirmations: int = 1) -> BitcoindWallet:
        return BitcoindWallet(url, LOGIN, self.ticker, confirmations)

    def chain(self, world: Sandbox) -> Any:
        return world.utxo[self.ticker]

    def delivered(self, world: Sandbox, address: str) -> list[tuple[str, Decimal]]:
        return self.chain(world).received(address)  # type: ignore[no-any-return]

    def memos(self, world: Sandbox, address: str) -> list[bytes]:
        return [data for _, _, data in self.chain(world).received_with_data(address)]

    def pay_from_outside(self, world: Sandbox, address: str, amount: Decimal) -> str:
        return self.chain(world).pay(address, amount)  # type: ignore[no-any-return]

    def mine(self, world: Sandbox) -> None:
        with self.chain(world).lock:
            self.chain(world).store.mine()

    def home(self, world: Sandbox) -> str:
        return self.chain(world).new_address("wallet")  # type: ignore[no-any-return]

    def set_aside(self, world: Sandbox) -> list[Any]:
        return sorted(world.mounts[self.mount]._wallet.locked)

    def test_the_account_is_the_wallet_of_the_node(self, world: Sandbox) -> None:
        assert self.wallet(world).account(soon()) == (f"utxo:{self.ticker}", "default", 0)
        named = self.make(f"{world.url}/{self.mount}/wallet/hot%20one/")
        assert named.account(soon()) == (f"utxo:{self.ticker}", "hot one", 0)
        assert named.prepare(self.payment(), soon()).coins

    def test_the_payment_comes_first_and_the_rest_goes_home(self, world: Sandbox) -> None:
        transaction = decode(bytes.fromhex(self.signed(self.wallet(world)).raw))
        chain = self.chain(world)
        assert transaction.outputs[0].value == int(self.amount * 10**8)
        assert address_of(chain.coin, transaction.outputs[0].script) == self.payee
        assert [chain.is_mine(output.script) for output in transaction.outputs[1:]] == [True]

    def test_beside_a_memo_the_change_goes_to_the_address_of_the_first_input(self, world: Sandbox) -> None:
        wallet, chain = self.wallet(world), self.chain(world)
        prepared = wallet.prepare(self.payment(memo=MEMO), soon())
        transaction = decode(bytes.fromhex(prepared.raw))
        paid, change, memo = transaction.outputs
        assert address_of(chain.coin, paid.script) == self.payee
        assert change.script == chain.store.output(transaction.inputs[0].outpoint).script
        assert (memo.data, memo.value) == (MEMO.encode(), 0)
        assert self.set_aside(world) == sorted(prepared.coins)
        wallet.release(prepared, soon())
        assert self.set_aside(world) == []

    def test_several_inputs_are_spent_where_one_does_not_suffice(self, world: Sandbox) -> None:
        wallet, coin = self.wallet(world), self.chain(world).coin
        payment = Payment(self.asset, self.payee, Decimal(coin.each * 3), MEMO)
        transfer = self.signed(wallet, payment)
        assert len(decode(bytes.fromhex(transfer.raw)).inputs) > 3
        wallet.broadcast(transfer, soon())
        self.confirmed(wallet, transfer)
        assert self.delivered(world, self.payee) == [(transfer.txid, Decimal(coin.each * 3))]

    def test_a_mined_payment_whose_outputs_are_all_spent_is_known_when_it_is_broadcast_again(
        self, world: Sandbox
    ) -> None:
        wallet = self.wallet(world)
        home = Payment(self.asset, self.home(world), self.amount)
        transfer = self.signed(wallet, home)
        wallet.broadcast(transfer, soon())
        self.confirmed(wallet, transfer)
        everything = Decimal(self.chain(world).coin.each * 200) - self.amount
        spending = self.signed(wallet, Payment(self.asset, self.payee, everything))
        wallet.broadcast(spending, soon())
        self.confirmed(wallet, spending)
        with pytest.raises(NodeRefused) as caught:
            Node("it", f"{world.url}/{self.mount}", LOGIN).send("sendrawtransaction", [transfer.raw])
        assert caught.value.code == MISSING_INPUTS
        wallet.broadcast(transfer, soon())


class TestBtc(CoreContract):
    asset, mount = asset("BTC"), "btc"
    payee, stranger = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"


class TestLtc(CoreContract):
    asset, mount = asset("LTC"), "ltc"
    payee, stranger = "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez", "M7wtsL7wSHDBJVMWWhtQfTMSYYkyooAAXM"


class TestDoge(CoreContract):
    asset, mount = asset("DOGE"), "doge"
    payee, stranger = "DBus3bamQjgJULBJtYXpEzDWQRwF5iwxgC", "9xzLEaWbi3eVzRzv6YdGcXbXQMHydntSq7"


class TestBch(CoreContract):
    asset, mount = asset("BCH"), "bch"
    payee = "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a"
    stranger = "bitcoincash:ppm2qsznhks23z7629mms6s4cwef74vcwvn0h829pq"


class TestRvn(CoreContract):
    asset, mount = asset("RVN"), "rvn"
    payee, stranger = "RKxTdfmtxtfLDKZBgx6SvNkBtNu9jRYnLh", "rEhmaoXxKDsTS9JiHqgBenLUvkv7oERtfi"
