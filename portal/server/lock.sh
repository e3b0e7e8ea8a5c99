#!/bin/sh
# Rewrites the lists of exact versions with the hash of every file that the package index has for them, so that pip
# installs those files and no others. Change a version in a list, then run `make lock`.
# Usage: lock.sh UV LIST...
uv=$1
shift
for list; do
    scratch=$(mktemp)
    grep -E '^(#|-r )' "$list" >"$scratch"
    grep -vE '^(#|-r |    --hash)' "$list" | sed 's/ \\$//' |
        "$uv" pip compile --no-deps --generate-hashes --universal --python-version 3.11 --no-header --no-annotate \
            --quiet - >>"$scratch" || exit 1
    cat "$scratch" >"$list"
    rm "$scratch"
done
