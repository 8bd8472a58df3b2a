#!/usr/bin/env bash
# Runs once, when the database is new: the shop and its data.
set -euo pipefail

run() { psql -X -q -v ON_ERROR_STOP=1 -U postgres -d shop "$@"; }

for migration in /shop/migrations/*.sql; do
    run -1 -f "$migration"
done
run -1 -v products="$SHOP_PRODUCTS" -v orders="$SHOP_ORDERS" -f /shop/shop-data.sql >/dev/null
run -c 'VACUUM ANALYZE'
