#!/bin/sh
# Puts GeoLite2-City.mmdb into a directory: out of a package whose digest is known, with the package
# index's own client in an environment of its own.
set -eu
here=$(dirname "$0") dir=$1 work=$1.new
rm -rf "$work"
mkdir -p "$work"
python3 -m venv "$work/python"
"$work/python/bin/python" -m pip download --quiet --disable-pip-version-check --timeout 20 \
    --no-deps --no-binary maxminddb-geolite2 --require-hashes --requirement "$here/requirements.txt" --dest "$work"
tar -xzf "$work"/maxminddb-geolite2-*.tar.gz -C "$work" --strip-components 2 --wildcards '*/GeoLite2-City.mmdb'
rm -rf "$work/python" "$work"/*.tar.gz "$dir"
cp "$here/requirements.txt" "$work"
mv "$work" "$dir"
