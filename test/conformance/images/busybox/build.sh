#!/bin/sh
# Builds a static busybox from the source of Debian's package, without Debian's
# patches and with the project's default configuration: what the suite's busybox
# image holds. The packaged binary differs where tests look: its shell runs
# applets before what PATH has and keeps variables such as "data-1" from children.
#
#   build.sh FOLDER PROGRAM
set -eu

folder=${1:?usage: build.sh FOLDER PROGRAM}
program=${2:?usage: build.sh FOLDER PROGRAM}
mkdir -p "$folder/lists/partial" "$folder/parts" "$(dirname "$program")"
folder=$(cd "$folder" && pwd)
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
log=$folder/log

# This machine's package sources, of source packages.
: >"$folder/sources.list"
[ ! -f /etc/apt/sources.list ] || sed -n 's/^deb\(-src\)\? /deb-src /p' /etc/apt/sources.list | sort -u >"$folder/sources.list"
for part in /etc/apt/sources.list.d/*; do
	case $part in
	*.sources) sed 's/^Types:.*/Types: deb-src/' "$part" >"$folder/parts/$(basename "$part")" ;;
	*.list) sed -n 's/^deb\(-src\)\? /deb-src /p' "$part" | sort -u >"$folder/parts/$(basename "$part")" ;;
	esac
done
apt() {
	apt-get -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts="$folder/parts" \
		-o Dir::State::Lists="$folder/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
		-o Debug::NoLocking=1 -o APT::Sandbox::User=root "$@"
}
{
	cd "$folder"
	ls busybox_*.orig.tar.* || { apt update && apt source --download-only busybox; }
	rm -rf src
	mkdir src
	tar -xf busybox_*.orig.tar.* -C src --strip-components=1
	cd src
	make defconfig
	sed -i 's/^# CONFIG_STATIC is not set/CONFIG_STATIC=y/' .config
	make -j2 busybox
} >"$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }
cp "$folder/src/busybox" "$program"
