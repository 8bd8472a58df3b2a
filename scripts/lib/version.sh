# Which code is put to the test, for the ledgers.
#
# Source it after machine.sh.

# The last commit that changed one of these paths, and a digest of what was changed since, if anything was.
# What stands elsewhere changes nothing that is put to the test.
code_version() {
    local commit changes
    commit=$(git -C "$ROOT" log -1 --format=%h --abbrev=12 -- "$@" 2>/dev/null)
    [ -n "$commit" ] || { echo unversioned; return; }
    changes=$(git -C "$ROOT" diff HEAD -- "$@"; git -C "$ROOT" ls-files -o --exclude-standard -- "$@" | (cd "$ROOT" && xargs -r cat))
    [ -z "$changes" ] || commit=$commit+$(sha256sum <<<"$changes" | cut -c1-8)
    echo "$commit"
}
