"""What a client must know to use the sandbox: keys and options, by service."""

from __future__ import annotations

from converter.sandbox import credentials

KEYS = {
    ("binance", "api_key"): credentials.BINANCE_API_KEY,
    ("binance", "secret_key"): credentials.BINANCE_SECRET_KEY,
    ("btcpay_lightning", "token"): credentials.BTCPAY_TOKEN,
    ("changenow", "api_key"): credentials.CHANGENOW_API_KEY,
    ("changenow", "private_key"): credentials.CHANGENOW_PRIVATE_KEY,
    ("wallet", "ETH"): credentials.EVM_WALLET_KEY,
}
"""(service or `wallet`, name of the key) -> key."""

OPTIONS = {
    "btcpay_lightning": {"storeId": credentials.BTCPAY_STORE_ID},
    "changenow": {"refundAddress": credentials.EVM_WALLET_ADDRESS},
}
"""Service -> its options in a configuration."""
