#!/bin/sh
# Unpacks Debian packages and all they depend on into a folder, for an image to
# be made of; nothing is installed on this machine, no package's script is run.
#
#   hack/debroot.sh CACHE FOLDER PACKAGE...
set -eu

cache=${1:?usage: debroot.sh CACHE FOLDER PACKAGE...}
folder=${2:?usage: debroot.sh CACHE FOLDER PACKAGE...}
shift 2

for program in apt-get dpkg-deb; do
	if ! command -v $program >/dev/null; then
		echo "$program is needed: this image is made of Debian packages" >&2
		exit 1
	fi
done

mkdir -p "$cache/partial"
cache=$(cd "$cache" && pwd)
: >"$cache/status" # as if nothing were installed: apt names every dependency
apt() {
	apt-get -o Dir::State::status="$cache/status" -o Dir::Cache::archives="$cache" \
		-o Debug::NoLocking=1 -o APT::Sandbox::User=root --no-install-recommends -y "$@"
}
# The first try spares the update where the lists are fresh.
if ! apt --download-only install "$@" >"$cache/log" 2>&1; then
	if ! { apt-get update && apt --download-only install "$@"; } >"$cache/log" 2>&1; then
		cat "$cache/log" >&2
		exit 1
	fi
fi

rm -rf "$folder" "$folder.tmp"
mkdir -p "$folder.tmp"
# All names of the closure; --print-uris leaves out what is in the cache already.
apt -o Dir::Cache::archives=/nonexistent --print-uris install "$@" |
	sed -n "s/^'[^']*' \([^ ]*\) .*/\1/p" | while read -r deb; do
	dpkg-deb -x "$cache/$deb" "$folder.tmp"
done
rm -rf "$folder.tmp/usr/share/doc" "$folder.tmp/usr/share/man" "$folder.tmp/usr/share/locale" "$folder.tmp/usr/share/lintian"
mv "$folder.tmp" "$folder"
