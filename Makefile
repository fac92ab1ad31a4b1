# `make run` starts a cluster, `make test` proves it, `make help` lists the rest.
# Outputs go to bin/ and nodeagent/runtime/bundle/, both ignored by git. The Go
# build cache is never cleaned.

GO       ?= go
# Flags for every compilation, e.g. GO_FLAGS="-p 2" to share the machine.
GO_FLAGS ?=
# Where `make run` keeps the cluster, and further flags for `proa server`.
DATA_DIR ?= /var/lib/proa
ARGS     ?=

BUNDLE_OUT := bin/bundle
BUNDLE     := nodeagent/runtime/bundle/bundle.tar.zst
IMAGES     := webapp toolbox

# The Kubernetes version that proa implements, and the commit it is built from.
KUBE_VERSION := 1.37.2
COMMIT       := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
TREE_STATE   := $(shell test -z "$$(git status --porcelain 2>/dev/null)" && echo clean || echo dirty)
COMMIT_DATE  := $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || echo 1970-01-01T00:00:00Z)
SHORT_COMMIT := $(shell echo $(COMMIT) | cut -c1-10)
stamp         = -X k8s.io/component-base/version.$(1)=$(2) -X k8s.io/client-go/pkg/version.$(1)=$(2)
STAMPS       := $(call stamp,gitVersion,v$(KUBE_VERSION)+proa.$(SHORT_COMMIT)) \
	$(call stamp,gitMajor,$(word 1,$(subst ., ,$(KUBE_VERSION)))) \
	$(call stamp,gitMinor,$(word 2,$(subst ., ,$(KUBE_VERSION)))) \
	$(call stamp,gitCommit,$(COMMIT)) $(call stamp,gitTreeState,$(TREE_STATE)) $(call stamp,buildDate,$(COMMIT_DATE))

.DEFAULT_GOAL := help
.PHONY: help run build assets bundle images deps test-deps test unit roottest e2e parity differential bench verify fmt vet lint generate tools upstream clean

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  \1\t/' | expand -t 14

run: build images ## Build, and start a cluster on this machine (as root)
	@test "$$(id -u)" = 0 || { echo "proa runs containers: start it as root, e.g. sudo -E make run"; exit 1; }
	@mkdir -p $(DATA_DIR)/images && cp -u $(IMAGES:%=bin/images/%.tar) $(DATA_DIR)/images/
	@bin/proa server --data-dir $(DATA_DIR) $(ARGS)

# No -trimpath here: tests, vet and this build then share one build cache.
build: deps bundle ## Build bin/proa with the container runtime in it
	@echo "  build  bin/proa"
	@$(GO) build $(GO_FLAGS) -tags bundle -ldflags "-s -w $(STAMPS)" -o bin/proa ./cmd/proa

# The names under which the binary is that program; envtest wants such a folder:
# KUBEBUILDER_ASSETS=bin/assets.
ASSETS := kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy etcd kubectl
assets: build ## Link bin/assets/{kube-apiserver,etcd,kubectl,...} to bin/proa
	@mkdir -p bin/assets && for name in $(ASSETS); do ln -sf ../proa bin/assets/$$name; done

deps: ## Install what the build and the node need beyond Go
	@hack/deps.sh build

# --- tests ---------------------------------------------------------------------
test: vet unit roottest e2e ## Everything: vet, unit tests, end-to-end tests

vet:
	@echo "  vet    ./..."
	@$(GO) vet $(GO_FLAGS) ./...

unit: ## Unit tests of all packages (no root, no bundle)
	@echo "  test   ./..."
	@$(GO) test $(GO_FLAGS) ./...
	@$(GO) -C test/conformance test $(GO_FLAGS) ./...

# Tests that make network namespaces and nftables rules of their own.
roottest: test-deps
	@echo "  test   -tags roottest ./nodeagent/proxy"
	@$(GO) test $(GO_FLAGS) -count=1 -tags roottest ./nodeagent/proxy

# End-to-end modules; each is a folder of test/ with a go.mod of its own.
E2E     ?= $(patsubst test/%/go.mod,%,$(wildcard test/e2e/go.mod test/integration/go.mod test/parity/go.mod test/differential/go.mod))
E2EARGS ?= -timeout 60m
e2e: test-deps build images tools bin/tools/kube-apiserver ## End-to-end tests through the real binary (as root)
	@test "$$(id -u)" = 0 || { echo "the end-to-end tests run containers: start them as root"; exit 1; }
	@for module in $(E2E); do \
		echo "  test   test/$$module"; \
		PROA_BIN=$(CURDIR)/bin $(GO) -C test/$$module test $(GO_FLAGS) $(E2EARGS) -count=1 ./... || exit 1; \
	done

parity: build bin/tools/kube-apiserver bin/tools/etcd bin/tools/kubectl ## Compare with upstream's kube-apiserver: discovery, OpenAPI, tables, etcd
	@PROA_BIN=$(CURDIR)/bin $(GO) -C test/parity test $(GO_FLAGS) -count=1 -v ./...

# SEED chooses the cases and N how many; KIND=pods asks for one kind only.
SEED ?= 1
N    ?= 20000
differential: build bin/tools/etcd bin/tools/kube-apiserver ## Compare answers with upstream's kube-apiserver
	@PROA_BIN=$(CURDIR)/bin $(GO) -C test/differential run $(GO_FLAGS) . -seed $(SEED) -n $(N) -kind "$(KIND)" -out $(CURDIR)/bin/differential

bench: test-deps build images tools ## Print the performance table
	@PROA_BIN=$(CURDIR)/bin $(GO) -C test/bench run $(GO_FLAGS) . $(ARGS)

test-deps:
	@hack/deps.sh test

# --- other people's programs that the tests run -----------------------------------
TOOLS := kubectl helm3 helm4 etcd
tools: $(TOOLS:%=bin/tools/%) ## Build the programs the tests run: kubectl, Helm, etcd

# Upstream's counterparts, for comparison only; the first takes eight minutes.
UPSTREAM := kube-apiserver kube-controller-manager kube-scheduler kubelet
upstream: $(UPSTREAM:%=bin/tools/%) ## Build upstream's programs for comparisons

kubernetes-version = $(shell $(GO) -C test/conformance list -m -f '{{.Version}}' k8s.io/kubernetes)
bin/tools/kubectl $(UPSTREAM:%=bin/tools/%): bin/tools/%: test/conformance/go.mod
	@echo "  build  $* (upstream)"
	@CGO_ENABLED=0 $(GO) -C test/conformance build $(GO_FLAGS) -trimpath \
		-ldflags "-s -w $(call stamp,gitVersion,$(kubernetes-version)) $(call stamp,gitMajor,1) $(call stamp,gitMinor,36)" \
		-o $(CURDIR)/$@ k8s.io/kubernetes/cmd/$*

bin/tools/helm3: test/tools/helm3/go.mod
	@echo "  build  helm 3"
	@CGO_ENABLED=0 $(GO) -C test/tools/helm3 build $(GO_FLAGS) -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ helm.sh/helm/v3/cmd/helm

bin/tools/helm4: test/tools/helm4/go.mod
	@echo "  build  helm 4"
	@CGO_ENABLED=0 $(GO) -C test/tools/helm4 build $(GO_FLAGS) -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ helm.sh/helm/v4/cmd/helm

bin/tools/etcd: go.mod
	@echo "  build  etcd"
	@CGO_ENABLED=0 $(GO) build $(GO_FLAGS) -ldflags "-s -w" -o $@ go.etcd.io/etcd/server/v3

bin/tools/golangci-lint: test/tools/lint/go.mod
	@echo "  build  golangci-lint"
	@$(GO) -C test/tools/lint build $(GO_FLAGS) -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# --- the tree itself ----------------------------------------------------------------
verify: fmt vet lint ## Formatting, vet, import rules, generated code
	@echo "  verify generated code"
	@hack/verify-generated.sh

fmt:
	@echo "  gofmt"
	@unformatted=$$(git ls-files -z '*.go' | xargs -0 -r ls 2>/dev/null | xargs -r gofmt -l); \
		test -z "$$unformatted" || { echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; }

# The modules of our own: the product's, and those of the tests.
MODULES := . $(patsubst %/go.mod,%,$(wildcard test/e2e/go.mod test/integration/go.mod test/bench/go.mod test/parity/go.mod test/differential/go.mod test/conformance/go.mod))
lint: bin/tools/golangci-lint
	@for module in $(MODULES); do \
		echo "  lint   $$module"; \
		(cd $$module && $(CURDIR)/bin/tools/golangci-lint run --config $(CURDIR)/.golangci.yml ./...) || exit 1; \
	done

generate: ## Generate code anew
	@for script in hack/*-gen.sh; do echo "  run    $$script"; $$script || exit 1; done

clean: ## Remove build outputs; never Go's cache, never a cluster
	@rm -rf bin nodeagent/runtime/bundle

# --- the bundled container runtime -------------------------------------------
CONTAINERD_TAGS := urfave_cli_no_docs,osusergo,netgo,static_build,no_btrfs,no_zfs,no_devmapper,no_tracing,no_systemd
RUNC_TAGS       := seccomp,netgo,osusergo
CNI_PLUGINS     := bridge host-local portmap
cni-pkg/bridge     := github.com/containernetworking/plugins/plugins/main/bridge
cni-pkg/host-local := github.com/containernetworking/plugins/plugins/ipam/host-local
cni-pkg/portmap    := github.com/containernetworking/plugins/plugins/meta/portmap

.DELETE_ON_ERROR:
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

$(BUNDLE_OUT)/bin/runc: bundle/runc/go.mod bundle/runc/go.sum | deps
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

bin/pause: images/pause/pause.c | deps
	@echo "  build  pause (static)"
	@mkdir -p $(@D)
	@gcc -Os -static -Wall -Wextra -Werror -s -o $@ $<

$(BUNDLE): $(addprefix $(BUNDLE_OUT)/,bin/containerd bin/ctr bin/containerd-shim-runc-v2 bin/runc $(CNI_PLUGINS:%=cni/%) images/pause.tar)
	@echo "  pack   $@"
	@$(GO) run $(GO_FLAGS) ./hack/mkbundle -dir $(BUNDLE_OUT) -o $@

bundle: $(BUNDLE) ## Build the container runtime that bin/proa carries

# --- images --------------------------------------------------------------------
MKIMAGE := bin/mkimage
$(MKIMAGE): $(filter-out %_test.go,$(wildcard hack/mkimage/*.go))
	@$(GO) build $(GO_FLAGS) -o $@ ./hack/mkimage

$(BUNDLE_OUT)/images/pause.tar: bin/pause $(MKIMAGE)
	@mkdir -p $(@D)
	@$(MKIMAGE) -ref proa.local/pause:1.0 -o $@ -user 65535:65535 -entrypoint /pause bin/pause=/pause

bin/images/programs/webapp: $(filter-out %_test.go,$(wildcard images/webapp/*.go))
	@CGO_ENABLED=0 $(GO) build $(GO_FLAGS) -trimpath -ldflags "-s -w" -o $@ ./images/webapp

bin/images/webapp.tar: bin/images/programs/webapp $(MKIMAGE)
	@echo "  image  proa.local/webapp:1.0"
	@$(MKIMAGE) -ref proa.local/webapp:1.0 -o $@ -user 65532:65532 -entrypoint /webapp $<=/webapp

BUSYBOX ?= /bin/busybox
$(BUSYBOX): | deps
	@test -x $@

bin/images/toolbox.tar: bin/images/programs/webapp $(BUSYBOX) $(MKIMAGE) $(wildcard images/toolbox/*)
	@echo "  image  proa.local/toolbox:1.0"
	@$(MKIMAGE) -ref proa.local/toolbox:1.0 -o $@ -env PATH=/bin -cmd /bin/sh \
		$<=/bin/webapp $(BUSYBOX)=/bin/busybox dir:1777=/tmp dir:700=/root \
		images/toolbox/passwd=/etc/passwd images/toolbox/group=/etc/group \
		$$($(BUSYBOX) --list | grep -vx busybox | sed 's,.*,link:busybox=/bin/&,')

images: $(IMAGES:%=bin/images/%.tar) ## Write our images to bin/images/

# --- upstream's conformance tests ---------------------------------------------------
include test/conformance/images.mk
