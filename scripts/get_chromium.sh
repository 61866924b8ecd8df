#!/bin/sh
# Sees to it that there is a Chromium for `make test-web`. Never fails: without one, everything else is tested.
found() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

[ -n "$UNDEGRADE_CHROMIUM" ] && exit 0
found && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    { apt-get update && apt-get install --yes --no-install-recommends chromium fonts-dejavu-core; } >"$log" 2>&1
    found && exit 0
    tail -n 5 "$log"
    echo "make test-web: apt-get could not install chromium; see above."
else
    echo "make test-web: no Chromium here, and only root can apt-get one: sudo apt-get install chromium"
fi
echo "make test-web: THE BROWSER TESTS ARE SKIPPED; everything that needs no browser is tested."
exit 0
