#!/usr/bin/env bash
# Shows f2b at work on this directory: starts the server in the foreground, replays the sample log into the file that
# the jail follows, and ends one ban by hand. Needs Rust, and neither root nor fail2ban nor a network.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
jail=npm-general-forceful-browsing
log=$here/live/proxy-host-1_access.log
state=$(mktemp -d)

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
client() { "$bin/f2b-client" -c "$here" -s "$state/f2b.sock" "$@"; }

cargo build --release --quiet --manifest-path "$root/Cargo.toml" --bins
bin=$(cargo metadata --format-version 1 --no-deps --manifest-path "$root/Cargo.toml" |
      sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release

mkdir -p "$here/live"
: > "$log"
cleanup() {
    if [[ -n ${server:-} ]] && kill -0 "$server" 2>/dev/null; then kill "$server"; wait "$server" || true; fi
    rm -rf "$state" "$here/live"
}
trap cleanup EXIT

say "The server, on $here:"
"$bin/f2b-server" -c "$here" -s "$state/f2b.sock" -p "$state/f2b.pid" -f start &
server=$!
for _ in $(seq 200); do
    if client ping >/dev/null 2>&1 && client status "$jail" >/dev/null 2>&1; then break; fi
    kill -0 "$server" || exit 1
    sleep 0.05
done

say "Two minutes of requests, as if they came now:"
now=$(LC_ALL=C date '+%d/%b/%Y:%H:%M:%S %z')
sed "s|^\[[^]]*\]|[$now]|" "$here/proxy-host-1_access.log" >> "$log"
for _ in $(seq 100); do
    if [[ -f $here/live/banlist.txt && $(wc -l < "$here/live/banlist.txt") -ge 4 ]]; then break; fi
    sleep 0.05
done

say "f2b-client status $jail"
client status "$jail"
say "The ban list that the action keeps (address, container, user agent):"
cat "$here/live/banlist.txt"
say "f2b-client set $jail unbanip 203.0.113.7"
client set "$jail" unbanip 203.0.113.7
say "f2b-client stop"
client stop
wait "$server"

say "Try next:"
cat <<END
  # why a line matches, or does not
  $bin/f2b-regex $here/proxy-host-1_access.log $here/filter.d/$jail.conf --print-all-matched
  # what the configuration comes to
  $bin/f2b-client -c $here -d
  # your own configuration, unchanged, as root instead of fail2ban-server
  $bin/f2b-server -c /etc/fail2ban -f start
END
