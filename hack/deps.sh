#!/bin/sh
# Sees that this machine has what proa's build, node and tests need beyond Go,
# and installs what is missing with apt-get, naming it.
#
#   hack/deps.sh build    compiler and libraries, and the programs a node uses
#   hack/deps.sh test     that, and what the tests use
set -eu

need=${1:?usage: deps.sh build|test}

# Go first: without it nothing else matters.
want=1.26
if ! command -v go >/dev/null; then
	echo "Go $want or newer is needed: see https://go.dev/doc/install" >&2
	exit 1
fi
have=$(go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
oldest=$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -1)
if [ "$oldest" != "$want" ]; then
	echo "Go $want or newer is needed, this is Go $have: see https://go.dev/doc/install" >&2
	exit 1
fi

missing=
# lacks PACKAGE TEST...: notes the package unless the test succeeds.
lacks() {
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}
have() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1"; }
links() { echo 'int main(void){return 0;}' | gcc -x c -static -o /dev/null - "$@"; }

lacks gcc have gcc
lacks libc6-dev links                  # static: runc and pause
lacks libseccomp-dev links -lseccomp   # seccomp profiles in runc
lacks nftables have nft                # the node's service rules
lacks iproute2 have ip                 # named in messages; network namespaces in tests
lacks busybox-static test -x /bin/busybox # the toolbox image
if [ "$need" = test ]; then
	lacks git have git
	lacks util-linux have nsenter
	lacks bzip2 have bzip2 # the source of busybox
fi

[ -n "$missing" ] || exit 0
# gcc and the header tests fail together on a bare machine: name each once.
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')

if ! command -v apt-get >/dev/null; then
	echo "please install what these Debian packages hold: $missing" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "please install as root: apt-get install $missing" >&2
		exit 1
	fi
	sudo=sudo
fi
echo "  apt    $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The first try spares the update where the lists are fresh.
if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >"$log" 2>&1; then
	if ! { $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
		cat "$log" >&2
		echo "apt-get could not install: $missing" >&2
		exit 1
	fi
fi
