"""The keys that the sandbox accepts. They open nothing outside it."""

from __future__ import annotations

CHANGENOW_API_KEY = "sandbox-changenow-public-key"
CHANGENOW_PRIVATE_KEY = "sandbox-changenow-private-key"
BINANCE_API_KEY = "sandboxBinanceKeyvmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6ut"
BINANCE_SECRET_KEY = "sandboxBinanceSecretNhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN"  # noqa: S105
BTCPAY_TOKEN = "sandbox-btcpay-token"  # noqa: S105
BTCPAY_STORE_ID = "9CiNzZDsNsTmSandboxStore"
EVM_WALLET_KEY = "0x" + "5a" * 32
EVM_CHAIN_ID = 1337
ETC_CHAIN_ID = 61
EVM_WALLET_ADDRESS = "0xa8049bB68181799124F98E467DD749e120abFA64"
SIMPLESWAP_API_KEY = "5a3dbe7c-0f5e-4c1a-9a52-c4a1d0b05117"
SIMPLESWAP_WEBHOOK_SECRET = "sandbox-simpleswap-webhook-secret"  # noqa: S105
COINPAYMENTS_CLIENT_ID = "cc7caaa431d54ad6accfd28b20170ee4"
COINPAYMENTS_CLIENT_SECRET = "dGVzdC1zZWNyZXQtZm9yLXNhbmRib3g="  # noqa: S105
COINGATE_TOKEN = "sandbox-coingate-token"  # noqa: S105
BITCOIND_USER = "sandbox"
BITCOIND_PASSWORD = "sandbox-node-password"  # noqa: S105
USDT_CONTRACT = "0xdAC17F958D2ee523a2206206994597C13D831ec7"
KRAKEN_API_KEY = "sandboxKrakenKey9yUXoxwqqE3WY1bDWQWHIHTkEyq6QbiXlWPvmWuiOI"
KRAKEN_PRIVATE_KEY = (
    "c2FuZGJveCBrcmFrZW4gcHJpdmF0ZSBrZXksIHNpeHR5LWZvdXIgYnl0ZXMgb2Ygd2hpY2ggbm90aGluZyBvcGVucyBhbnl0aGluZyE="
)
