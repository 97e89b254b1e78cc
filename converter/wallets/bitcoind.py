"""A wallet inside a node of the Core family (BTC, LTC, DOGE, BCH, RVN), spoken to over JSON-RPC.

The inputs of the signed transaction are the fencing token: each is spent once, whatever is repeated. `prepare` has the
node choose inputs and set them aside (`lockUnspents`), change and fee, has it sign, and checks the result; nothing
leaves. The raw transaction and its id are stored before the first broadcast; every repeat sends the same bytes.
`sendtoaddress` is never used: its answer lost and its call repeated, it pays twice.

Facts: the `help` of Bitcoin Core 0.18 to 27; rawtransaction.cpp of Dogecoin and Ravencoin (outputs as one object,
amounts as text); seen on Litecoin Core 0.21 in regtest, and on no other real node. Forks differ in what they lack, so a
missing method is met where it is called: `signrawtransaction` in place of `signrawtransactionwithwallet`, no
`testmempoolaccept` (DOGE, RVN). The fee is the node's own, and bounded.

A memo is one OP_RETURN output; then the change goes to the address of input 0, where refunds of such payments come.

* Coins set aside are forgotten when the node restarts, and stay set aside when the answer to the funding call is lost.
  In the first case another payment may spend them: then one of the two is never mined, and `observe` never calls it
  sent. In the second an operator frees them (`lockunspent true`).
* Others can change the signature of an old input (DOGE, RVN): the payment is then mined under another id and ours
  counts as replaced, which goes to a person.
* An encrypted wallet must be unlocked by its operator; until then payments are refused.
* A refund to an address outside of the node's wallet is seen only with `txindex`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import unquote, urlsplit

from converter.domain.coins import Asset
from converter.domain.errors import OutcomeUnknown, ServiceError, ServiceUnavailable
from converter.domain.money import to_units
from converter.domain.orders import Refund
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.ports import Deadline
from converter.wallets.bitcoin_tx import MEMO_BYTES
from converter.wallets.bitcoind_node import CoreNode
from converter.wallets.bitcoind_signing import Signed, Signing
from converter.wallets.rpc import NodeRefused

MISSING_INPUTS, ALREADY_MINED = -25, -27

_KNOWN = re.compile(r"txn-already-(in-mempool|known)|txn-same-nonwitness-data-in-mempool")
_TXID = re.compile(r"[0-9a-f]{64}")


class BitcoindWallet:
    """See the module. `login` is `user:password`; the wallet is the one in the URL (`/wallet/NAME`) or the node's own.
    `confirmations` is the depth that counts as confirmed, `most_fee` the most that one payment may cost."""

    pays_itself = True

    def __init__(
        self, rpc_url: str, login: str, coin: str, confirmations: int = 6, most_fee: Decimal | None = None
    ) -> None:
        self._node = CoreNode(coin, rpc_url, login)
        self._signing = Signing(self._node, most_fee)
        named = re.search(r"/wallet/([^/]+)/?$", urlsplit(rpc_url).path)
        self._account = unquote(named[1]) if named else "default"
        self._chain, self._coin = f"utxo:{coin}", coin
        self._confirmations = confirmations

    def holds(self, asset: Asset) -> bool:
        """The chain's own coin."""
        return asset.coin == asset.network == self._coin

    def account(self, deadline: Deadline) -> tuple[str, str, int]:  # noqa: ARG002
        """Chain and wallet. The ledger numbers its payments; the chain knows no such number."""
        return self._chain, self._account, 0

    def prepare(self, payment: Payment, deadline: Deadline) -> Signed:
        """A signed transaction, its coins set aside. Raises ServiceRejected when funds are short or the transaction is
        not what was asked for, ServiceUnavailable when the node does not say; its coins are free again then."""
        if not self.holds(payment.asset):
            raise self._node.rejected(f"{payment.asset} is not in this wallet")
        if len(payment.memo.encode()) > MEMO_BYTES:
            raise self._node.rejected(f"the memo is longer than {MEMO_BYTES} bytes")
        try:
            to_units(payment.amount, payment.asset.decimals)
        except ValueError as error:
            raise self._node.rejected(str(error)) from error
        self._node.check(deadline)
        return self._signing.signed(payment, deadline)

    def sign(self, payment: Payment, nonce: int, prepared: Signed) -> Transfer:
        """The transfer of what `prepare` signed."""
        place = self._chain, self._account, nonce
        return Transfer(*place, prepared.raw, prepared.txid, payment.address, payment.amount)

    def release(self, prepared: Signed, deadline: Deadline) -> None:
        """Free the coins that were set aside."""
        self._signing.free(prepared.coins, deadline)

    def broadcast(self, transfer: Transfer, deadline: Deadline) -> None:
        """Hand the stored bytes to the node. Repeating is harmless. Raises OutcomeUnknown for any refusal that does not
        say "known already", and for any answer but the transaction's own id."""
        if deadline.expired:
            raise ServiceUnavailable(self._node.name, "broadcast", detail="too late to send")
        try:
            named = self._node.send("sendrawtransaction", [transfer.raw])
        except NodeRefused as error:
            if error.code == ALREADY_MINED or _KNOWN.search(error.message):
                return
            if error.code == MISSING_INPUTS and self._is_sent(transfer, deadline):
                return  # it was mined, and spent its inputs itself
            raise self._doubt(error.message[:100], str(error.code)) from error
        if named != transfer.txid:
            raise self._doubt("the node names another transaction")

    def observe(self, transfer: Transfer, deadline: Deadline) -> Sighting:
        """What the chain knows of the transaction. One that left the mempool, or was abandoned, is unknown again."""
        known = self._node.look(transfer.txid, deadline)
        if known is None:
            return Sighting.UNKNOWN
        depth = known.confirmations
        if depth > 0:
            return Sighting.CONFIRMED if depth >= self._confirmations else Sighting.PENDING
        if depth < 0:  # so deep lies another transaction that spends its inputs
            return Sighting.REPLACED if -depth >= self._confirmations else Sighting.UNKNOWN
        if self._node.found("getmempoolentry", transfer.txid, deadline=deadline) is not None:
            return Sighting.PENDING
        # It may have left the mempool into a block between the two questions: ask once more.
        again = self._node.look(transfer.txid, deadline)
        return Sighting.PENDING if again is not None and again.confirmations > 0 else Sighting.UNKNOWN

    def received(self, asset: Asset, refund: Refund, deadline: Deadline) -> Decimal | None:
        """What the refund's transaction paid to its address, 0 if that is nothing; None while it is not confirmed."""
        txid = refund.txid.lower()
        if not self.holds(asset) or not _TXID.fullmatch(txid):
            return None
        self._node.check(deadline)
        known = self._node.look(txid, deadline)
        if known is None or known.confirmations < self._confirmations:
            return None
        if known.ours:
            return Decimal(0)  # a payment of our own brings nothing back, not even its change
        return known.transaction.paid_to(self._node.script(refund.address, deadline))

    def _is_sent(self, transfer: Transfer, deadline: Deadline) -> bool:
        try:
            return self.observe(transfer, deadline) in (Sighting.PENDING, Sighting.CONFIRMED)
        except ServiceError as error:
            raise self._doubt("its inputs are spent") from error

    def _doubt(self, why: str, code: str = "") -> OutcomeUnknown:
        return OutcomeUnknown(self._node.name, "broadcast", code=code, detail=why)
