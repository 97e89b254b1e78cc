"""The wallets' contract on the EVM chains: ETH, ETC, and USDT on ETH."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from converter.domain.coins import asset
from converter.domain.errors import ServiceRejected
from converter.sandbox.credentials import (
    ETC_CHAIN_ID,
    EVM_CHAIN_ID,
    EVM_WALLET_ADDRESS,
    EVM_WALLET_KEY,
    USDT_CONTRACT,
)
from converter.sandbox.rawtx import decode_transaction
from converter.sandbox.server import Sandbox
from converter.wallets.evm import EvmNetwork, EvmWallet
from tests.wallets.contract import WalletContract, soon


class EvmContract(WalletContract):
    payee = "0x52908400098527886E0F7030069857D2E4169EE7"
    stranger = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
    secret = "5a" * 8
    network = EvmNetwork("ETH", EVM_CHAIN_ID, tokens={"USDT": USDT_CONTRACT})

    def make(self, url: str, confirmations: int = 1) -> EvmWallet:
        given = self.network
        return EvmWallet(url, EVM_WALLET_KEY, EvmNetwork(given.network, given.chain_id, confirmations, given.tokens))

    def chain(self, world: Sandbox) -> Any:
        return world.chain

    def delivered(self, world: Sandbox, address: str) -> list[tuple[str, Decimal]]:
        return self.chain(world).received(address)  # type: ignore[no-any-return]

    def memos(self, world: Sandbox, address: str) -> list[bytes]:
        return [data for _, _, data in self.chain(world).received_with_data(address)]

    def pay_from_outside(self, world: Sandbox, address: str, amount: Decimal) -> str:
        return self.chain(world).pay(address, amount)  # type: ignore[no-any-return]

    def mine(self, world: Sandbox) -> None:
        chain = self.chain(world)
        with chain.lock:
            chain.height += 1
            chain._mine()

    def home(self, world: Sandbox) -> str:
        return EVM_WALLET_ADDRESS


class TestEth(EvmContract):
    asset, mount = asset("ETH"), "evm"
    too_much = Decimal(1_000_000)

    def test_a_transaction_offers_a_fee_and_a_tip(self, world: Sandbox) -> None:
        raw = self.signed(self.wallet(world)).raw
        assert decode_transaction(bytes.fromhex(raw[2:])).kind == 2


class TestEtc(EvmContract):
    asset, mount = asset("ETC"), "etc"
    too_much = Decimal(1_000_000)
    network = EvmNetwork("ETC", ETC_CHAIN_ID)

    def chain(self, world: Sandbox) -> Any:
        return world.etc

    def test_a_transaction_names_one_price_and_its_chain(self, world: Sandbox) -> None:
        read = decode_transaction(bytes.fromhex(self.signed(self.wallet(world)).raw[2:]))
        assert (read.kind, read.chain_id) == (0, ETC_CHAIN_ID)

    def test_the_node_of_the_other_chain_is_refused(self, world: Sandbox) -> None:
        with pytest.raises(ServiceRejected, match=f"on chain {EVM_CHAIN_ID}, not {ETC_CHAIN_ID}"):
            self.make(f"{world.url}/evm").prepare(self.payment(), soon())


class TestUsdt(EvmContract):
    asset, mount = asset("USDT", "ETH"), "evm"
    too_much = Decimal(1_000_000_001)
    carries_memo = False

    def delivered(self, world: Sandbox, address: str) -> list[tuple[str, Decimal]]:
        return world.chain.received_token(address)

    def pay_from_outside(self, world: Sandbox, address: str, amount: Decimal) -> str:
        return world.chain.pay_token(address, amount)

    def test_coins_of_the_chain_are_no_refund_of_a_token(self, still: Sandbox) -> None:
        txid = still.chain.pay(self.home(still), Decimal(2))
        self.mine(still)
        assert self.wallet(still).received(self.asset, self.refund(txid, self.home(still)), soon()) == Decimal(0)

    def test_a_token_whose_contract_counts_otherwise_is_refused(self, world: Sandbox) -> None:
        with pytest.raises(ServiceRejected, match="has 6 decimals, not 18"):
            self.wallet(world).prepare(
                type(self.payment())(type(self.asset)("USDT", "ETH", 18), self.payee, self.amount), soon()
            )
