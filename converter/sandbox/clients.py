"""What a client must know to use the sandbox: keys and options, by service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.sandbox import credentials

_NODE = f"{credentials.BITCOIND_USER}:{credentials.BITCOIND_PASSWORD}"

KEYS = {
    ("binance", "api_key"): credentials.BINANCE_API_KEY,
    ("binance", "secret_key"): credentials.BINANCE_SECRET_KEY,
    ("btcpay_lightning", "token"): credentials.BTCPAY_TOKEN,
    ("changenow", "api_key"): credentials.CHANGENOW_API_KEY,
    ("changenow", "private_key"): credentials.CHANGENOW_PRIVATE_KEY,
    ("coingate", "token"): credentials.COINGATE_TOKEN,
    ("coinpayments", "client_id"): credentials.COINPAYMENTS_CLIENT_ID,
    ("coinpayments", "client_secret"): credentials.COINPAYMENTS_CLIENT_SECRET,
    ("kraken", "api_key"): credentials.KRAKEN_API_KEY,
    ("kraken", "private_key"): credentials.KRAKEN_PRIVATE_KEY,
    ("simpleswap", "api_key"): credentials.SIMPLESWAP_API_KEY,
    ("simpleswap", "callback_secret"): credentials.SIMPLESWAP_WEBHOOK_SECRET,
    ("wallet", "BCH"): _NODE,
    ("wallet", "BTC"): _NODE,
    ("wallet", "DOGE"): _NODE,
    ("wallet", "ETC"): credentials.EVM_WALLET_KEY,
    ("wallet", "ETH"): credentials.EVM_WALLET_KEY,
    ("wallet", "LTC"): _NODE,
    ("wallet", "RVN"): _NODE,
}
"""(service or `wallet`, name of the key) -> key."""

OPTIONS = {
    "btcpay_lightning": {"storeId": credentials.BTCPAY_STORE_ID},
    "changenow": {"refundAddress": credentials.EVM_WALLET_ADDRESS},
    "coingate": {
        "companyName": "Sandbox Pool",
        "companyCode": "SANDBOX-1",
        "email": "payouts@pool.example",
        "country": "EST",
    },
    "simpleswap": {"refundAddress": credentials.EVM_WALLET_ADDRESS},
}
"""Service -> its options in a configuration."""

NODES = ("BCH", "BTC", "DOGE", "LTC", "RVN")
"""Coins whose node keeps the pool's wallet, at `/<coin>` in small letters."""

WALLETS: dict[str, dict[str, Any]] = {
    **{coin: {"kind": "bitcoind", "rpcUrl": f"{{sandbox}}/{coin.lower()}", "confirmations": 1} for coin in NODES},
    "ETC": {"kind": "evm", "rpcUrl": "{sandbox}/etc", "chainId": credentials.ETC_CHAIN_ID, "confirmations": 1},
    "ETH": {
        "kind": "evm",
        "rpcUrl": "{sandbox}/evm",
        "chainId": credentials.EVM_CHAIN_ID,
        "confirmations": 1,
        "tokens": {"USDT": credentials.USDT_CONTRACT},
    },
}
"""Network -> its wallet in a configuration; `{sandbox}` is the sandbox' address."""

ACCOUNTS: dict[str, dict[str, Any]] = {"kraken": {"nonce_window": 10_000_000}}
"""Service -> what the pool has set up in its account there: calls of several workers may overtake one another."""

REFUNDS = ("changenow", "simpleswap")
"""Services that want an address for refunds, one for each network."""


def saving(addresses: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Settings of the twins that pay BTC only to addresses that were saved there before, by service."""
    saved = {f"address-{number}": {"asset": "XBT", "address": one} for number, one in enumerate(addresses)}
    return {"kraken": {"withdraw_keys": saved}}


def plenty() -> dict[str, dict[str, Any]]:
    """Settings of the twins whose balances would not last for thousands of conversions, by service."""
    coins = ("BTC", "ETH", "LTC", "DOGE", "RVN")
    return {
        "coingate": {"balances": dict.fromkeys((coin for coin in coins if coin != "RVN"), "1000000000000")},
        "coinpayments": {"balances": dict.fromkeys(coins, "1000000000000")},
    }


def calling_back(api_url: str) -> dict[str, dict[str, Any]]:
    """Settings of the twins that call us at an address of their account, by service."""
    return {"simpleswap": {"callback_url": f"{api_url}/callbacks/simpleswap"}}
