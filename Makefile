# Everything a person types here starts with `make run`, `make test` or
# `make help`. Outputs go to bin/ and nodeagent/runtime/bundle/, both ignored
# by git. The Go build cache is never cleaned.

GO       ?= go
# Flags for every compilation, e.g. GO_FLAGS="-p 2" to share the machine.
GO_FLAGS ?=
BUNDLE_OUT := bin/bundle
BUNDLE     := nodeagent/runtime/bundle/bundle.tar.zst

# --- the bundled container runtime -------------------------------------------
CONTAINERD_TAGS := urfave_cli_no_docs,osusergo,netgo,static_build,no_btrfs,no_zfs,no_devmapper,no_tracing,no_systemd
RUNC_TAGS       := seccomp,netgo,osusergo
CNI_PLUGINS     := bridge host-local portmap
cni-pkg/bridge     := github.com/containernetworking/plugins/plugins/main/bridge
cni-pkg/host-local := github.com/containernetworking/plugins/plugins/ipam/host-local
cni-pkg/portmap    := github.com/containernetworking/plugins/plugins/meta/portmap

module-version = $(shell $(GO) -C bundle/$(1) list -m -f '{{.Version}}' $(2))

$(BUNDLE_OUT)/bin/containerd: bundle/containerd/go.mod bundle/containerd/go.sum bundle/containerd/main.go
	@echo "  build  containerd, ctr (about three minutes the first time)"
	@CGO_ENABLED=0 $(GO) -C bundle/containerd build $(GO_FLAGS) -trimpath -tags $(CONTAINERD_TAGS) \
		-ldflags "-s -w -X github.com/containerd/containerd/v2/version.Version=$(call module-version,containerd,github.com/containerd/containerd/v2)" \
		-o $(CURDIR)/$@ .

$(BUNDLE_OUT)/bin/containerd-shim-runc-v2: bundle/containerd/go.mod bundle/containerd/go.sum
	@echo "  build  containerd-shim-runc-v2"
	@CGO_ENABLED=0 $(GO) -C bundle/containerd build $(GO_FLAGS) -trimpath -tags $(CONTAINERD_TAGS),no_grpc \
		-ldflags "-s -w -X github.com/containerd/containerd/v2/version.Version=$(call module-version,containerd,github.com/containerd/containerd/v2)" \
		-o $(CURDIR)/$@ github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2

$(BUNDLE_OUT)/bin/runc: bundle/runc/go.mod bundle/runc/go.sum
	@echo "  build  runc (static)"
	@CGO_ENABLED=1 $(GO) -C bundle/runc build $(GO_FLAGS) -trimpath -tags $(RUNC_TAGS) \
		-ldflags "-s -w -linkmode external -extldflags -static" \
		-o $(CURDIR)/$@ github.com/opencontainers/runc

$(CNI_PLUGINS:%=$(BUNDLE_OUT)/cni/%): $(BUNDLE_OUT)/cni/%: bundle/cni/go.mod bundle/cni/go.sum
	@echo "  build  CNI plugin $*"
	@CGO_ENABLED=0 $(GO) -C bundle/cni build $(GO_FLAGS) -trimpath \
		-ldflags "-s -w -X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=$(call module-version,cni,github.com/containernetworking/plugins)" \
		-o $(CURDIR)/$@ $(cni-pkg/$*)

$(BUNDLE_OUT)/bin/ctr: $(BUNDLE_OUT)/bin/containerd
	@ln -sf containerd $@

bin/pause: images/pause/pause.c
	@echo "  build  pause (static)"
	@mkdir -p $(@D)
	@gcc -Os -static -Wall -Wextra -Werror -s -o $@ $<

$(BUNDLE): $(addprefix $(BUNDLE_OUT)/,bin/containerd bin/ctr bin/containerd-shim-runc-v2 bin/runc $(CNI_PLUGINS:%=cni/%) images/pause.tar)
	@echo "  pack   $@"
	@$(GO) run $(GO_FLAGS) ./hack/mkbundle -dir $(BUNDLE_OUT) -o $@

bundle: $(BUNDLE) ## Build the container runtime that bin/proa carries

# --- images --------------------------------------------------------------------
IMAGES := webapp toolbox
MKIMAGE = $(GO) run $(GO_FLAGS) ./hack/mkimage

$(BUNDLE_OUT)/images/pause.tar: bin/pause $(wildcard hack/mkimage/*.go)
	@mkdir -p $(@D)
	@$(MKIMAGE) -ref proa.local/pause:1.0 -o $@ -user 65535:65535 -entrypoint /pause bin/pause=/pause

bin/images/programs/webapp: $(filter-out %_test.go,$(wildcard images/webapp/*.go))
	@CGO_ENABLED=0 $(GO) build $(GO_FLAGS) -trimpath -ldflags "-s -w" -o $@ ./images/webapp

bin/images/webapp.tar: bin/images/programs/webapp $(wildcard hack/mkimage/*.go)
	@echo "  image  proa.local/webapp:1.0"
	@$(MKIMAGE) -ref proa.local/webapp:1.0 -o $@ -user 65532:65532 -entrypoint /webapp $<=/webapp

BUSYBOX ?= /bin/busybox
bin/images/toolbox.tar: bin/images/programs/webapp $(BUSYBOX) $(wildcard hack/mkimage/*.go) $(wildcard images/toolbox/*)
	@echo "  image  proa.local/toolbox:1.0"
	@$(MKIMAGE) -ref proa.local/toolbox:1.0 -o $@ -env PATH=/bin -cmd /bin/sh \
		$<=/bin/webapp $(BUSYBOX)=/bin/busybox dir:1777=/tmp dir:700=/root \
		images/toolbox/passwd=/etc/passwd images/toolbox/group=/etc/group \
		$$($(BUSYBOX) --list | grep -vx busybox | sed 's,.*,link:busybox=/bin/&,')

images: $(IMAGES:%=bin/images/%.tar) ## Write our images to bin/images/
