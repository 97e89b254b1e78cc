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
EVM_WALLET_ADDRESS = "0xa8049bB68181799124F98E467DD749e120abFA64"
