#!/bin/sh
# Draws the passwords that docker-compose.yml reads as secrets, into deploy/secrets (or the folder that is named).
# What is there already is kept. Keys of services go into keys/, one file each: deploy/secrets/keys/changenow_api_key.
set -eu
folder="${1:-$(dirname "$0")/secrets}"
mkdir -p "$folder/keys"
chmod 700 "$folder"      # on this machine only its owner gets in ...
chmod 755 "$folder/keys"

draw() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# ... while in a container, where each file is mounted by itself, every user may read it: none runs as root there.
keep() {
  [ -e "$folder/$1" ] || printf '%s\n' "$2" >"$folder/$1"
  chmod 444 "$folder/$1"
}

keep redis_auth "requirepass $(draw)"
read -r _ password <"$folder/redis_auth"
keep redis_url "redis://:$password@redis:6379/0"

keep postgres_password "$(draw)"
read -r password <"$folder/postgres_password"
keep ledger_url "postgresql://converter:$password@postgres:5432/converter"

for name in api_token flower_password grafana_password; do
  keep "$name" "$(draw)"
done
echo "secrets are in $folder"
