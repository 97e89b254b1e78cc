#!/bin/sh
# One conversion over HTTP with curl alone: ask for it, wait for its end, print it.
#
#   make up                                          # in another terminal, or: converter up --sandbox --api-port 8080
#   sh examples/convert.sh ETH BTC 1.5 bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh payout-4711
#
# CONVERTER_URL says where the API is, CONVERTER_TOKEN is shown to one that asks for it.
set -eu
[ $# -eq 5 ] || { echo "usage: $0 FROM TO AMOUNT ADDRESS KEY" >&2; exit 2; }
place="${CONVERTER_URL:-http://127.0.0.1:8080}/api/v1/conversions"

# Headers come from standard input: a token on a command line could be read by every user of this machine.
ask() { printf 'Authorization: Bearer %s\n' "${CONVERTER_TOKEN:-none}" | curl -sS --max-time 30 -H @- "$@"; }

field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

# The key makes it safe to ask again, whatever became of the first time: it is the same conversion.
body="{\"fromCoin\":\"$1\",\"toCoin\":\"$2\",\"amount\":\"$3\",\"address\":\"$4\"}"
answer="$(ask --retry 5 --retry-connrefused -H 'Content-Type: application/json' -H "Idempotency-Key: \"$5\"" \
  -d "$body" "$place")"
id="$(printf '%s' "$answer" | field id)"
[ -n "$id" ] || { echo "refused: $answer" >&2; exit 2; }
echo "accepted as $id"

while :; do
  conversion="$(ask --retry 5 --retry-connrefused "$place/$id")"
  state="$(printf '%s' "$conversion" | field state)"
  case "$state" in
    COMPLETED)
      delivered="$(printf '%s' "$conversion" | field delivered)"
      echo "$3 $1 -> ${delivered:-?} $2 via $(printf '%s' "$conversion" | field service)," \
        "transaction $(printf '%s' "$conversion" | field txid)"
      exit 0 ;;
    FAILED | CANCELLED | EXPIRED | NEEDS_REVIEW)
      echo "$id is $state: $(printf '%s' "$conversion" | field reason)" >&2
      exit 1 ;;
  esac
  sleep 1
done
