# The images that the conformance tests ask for, under the names and tags of
# test/utils/image/manifest.go in the k8s.io/kubernetes module. No registry is
# asked: programs are built here or come from Debian's packages.
CONFORMANCE_IMAGES := agnhost agnhost-prev kitten nautilus busybox nonroot nginx nginx-new nonewprivs pause sample-apiserver etcd

CONF     := bin/conformance
CONF_IMG := bin/images/conformance
CONF_SRC := test/conformance/images
E2E_REPO := registry.k8s.io/e2e-test-images
conformance-images: $(CONFORMANCE_IMAGES:%=$(CONF_IMG)/%.tar)

# --- programs
conformance-build = CGO_ENABLED=0 $(GO) -C test/conformance build $(GO_FLAGS) -trimpath
$(CONF)/programs/agnhost: test/conformance/go.mod
	@echo "  build  agnhost (upstream, about a minute the first time)"
	@$(conformance-build) -ldflags "-s -w -X main.Version=2.63.0" -o $(CURDIR)/$@ k8s.io/kubernetes/test/images/agnhost

$(CONF)/programs/sample-apiserver: test/conformance/go.mod
	@echo "  build  sample-apiserver (upstream)"
	@$(conformance-build) -ldflags "-s -w" -o $(CURDIR)/$@ k8s.io/sample-apiserver

$(CONF)/programs/nonewprivs: $(CONF_SRC)/nonewprivs/main.go
	@$(conformance-build) -ldflags "-s -w" -o $(CURDIR)/$@ ./images/nonewprivs
	@chmod u+s $@

$(CONF)/programs/busybox: $(CONF_SRC)/busybox/build.sh
	@echo "  build  busybox (from Debian's source package)"
	@$< $(CONF)/busybox $@

# --- folders of Debian packages
$(CONF)/roots/%.done:
	@echo "  unpack Debian packages for $*"
	@hack/debroot.sh $(CONF)/debs $(CONF)/roots/$* $(packages-$*)
	@touch $@
packages-tools := bind9-dnsutils curl netcat-openbsd iproute2 bash libc-bin
packages-nginx := nginx libc-bin

# --- images
CONF_PATH := -env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Every applet of busybox as a link; what follows in the list replaces them.
CONF_BUSYBOX := $(CONF)/programs/busybox
applets = $(CONF_BUSYBOX)=/bin/busybox $$($(CONF_BUSYBOX) --list | grep -vx busybox | sed 's,.*,link:/bin/busybox=/bin/&,') \
	dir:1777=/tmp dir:700=/root dir:755=/home dir:755=/etc dir:755=/var

AGNHOST_FILES = $(applets) tree:$(CONF)/roots/tools=/ link:/bin/nc.openbsd=/bin/nc dir:1777=/tmp dir:1777=/uploads \
	dir:755=/home/user-defined-in-image \
	$(CONF)/programs/agnhost=/agnhost link:agnhost=/agnhost-2 \
	$(kubernetes-source)/test/images/agnhost/porter/localhost.crt=/localhost.crt \
	$(kubernetes-source)/test/images/agnhost/porter/localhost.key=/localhost.key \
	$(CONF_SRC)/agnhost/passwd=/etc/passwd $(CONF_SRC)/agnhost/group=/etc/group $(CONF_SRC)/agnhost/nsswitch.conf=/etc/nsswitch.conf
AGNHOST_DEPS := $(CONF)/programs/agnhost $(CONF)/roots/tools.done $(CONF_BUSYBOX) $(wildcard $(CONF_SRC)/agnhost/*)
kubernetes-source = $(shell $(GO) -C test/conformance list -m -f '{{.Dir}}' k8s.io/kubernetes)

$(CONF_IMG)/agnhost.tar: REFS := $(E2E_REPO)/agnhost:2.63.0 $(E2E_REPO)/glibc-dns-testing:2.0.0
$(CONF_IMG)/agnhost-prev.tar: REFS := $(E2E_REPO)/agnhost:2.55
$(CONF_IMG)/agnhost-prev.tar: MORE := -env PREVIOUS=2.55
$(CONF_IMG)/agnhost.tar $(CONF_IMG)/agnhost-prev.tar: $(AGNHOST_DEPS)
	$(conformance-image) $(CONF_PATH) $(MORE) -entrypoint /agnhost -cmd pause $(AGNHOST_FILES)

$(CONF_IMG)/kitten.tar $(CONF_IMG)/nautilus.tar: $(CONF_IMG)/%.tar: $(CONF)/programs/agnhost $(CONF_BUSYBOX) $(CONF_SRC)/kitten/os-release
	$(conformance-image) $(CONF_PATH) -entrypoint /agnhost -cmd test-webserver $(applets) $<=/agnhost \
		$(foreach file,$*.jpg data.json,$(kubernetes-source)/test/images/$*/html/$(file)=/$(file)) \
		$(CONF_SRC)/kitten/os-release=/etc/os-release
$(CONF_IMG)/kitten.tar: REFS := $(E2E_REPO)/kitten:1.8
$(CONF_IMG)/nautilus.tar: REFS := $(E2E_REPO)/nautilus:1.8

$(CONF_IMG)/busybox.tar: REFS := $(E2E_REPO)/busybox:1.37.0-1 $(E2E_REPO)/busybox:1.36.1-1
$(CONF_IMG)/nonroot.tar: REFS := $(E2E_REPO)/nonroot:1.5
$(CONF_IMG)/nonroot.tar: MORE := -user 1234
$(CONF_IMG)/busybox.tar $(CONF_IMG)/nonroot.tar: $(CONF_BUSYBOX) $(wildcard images/toolbox/*)
	$(conformance-image) $(CONF_PATH) $(MORE) -cmd sh $(applets) images/toolbox/passwd=/etc/passwd images/toolbox/group=/etc/group

$(CONF_IMG)/nginx.tar: REFS := $(E2E_REPO)/nginx:1.15-4
$(CONF_IMG)/nginx-new.tar: REFS := $(E2E_REPO)/nginx:1.27-0
$(CONF_IMG)/nginx-new.tar: MORE := -env NEW=1.27-0
$(CONF_IMG)/nginx.tar $(CONF_IMG)/nginx-new.tar: $(CONF)/roots/nginx.done $(CONF_BUSYBOX) $(CONF_SRC)/nginx/nginx.conf
	$(conformance-image) $(CONF_PATH) $(MORE) -cmd nginx $(applets) tree:$(CONF)/roots/nginx=/ dir:1777=/tmp \
		$(CONF_SRC)/nginx/nginx.conf=/etc/nginx/nginx.conf images/toolbox/passwd=/etc/passwd images/toolbox/group=/etc/group

$(CONF_IMG)/nonewprivs.tar: REFS := $(E2E_REPO)/nonewprivs:1.4
$(CONF_IMG)/nonewprivs.tar: $(CONF)/programs/nonewprivs $(CONF_BUSYBOX)
	$(conformance-image) $(CONF_PATH) -cmd nnp $(applets) $<=/usr/local/bin/nnp

$(CONF_IMG)/pause.tar: REFS := registry.k8s.io/pause:3.10.2
$(CONF_IMG)/pause.tar: bin/pause
	$(conformance-image) -user 65535:65535 -entrypoint /pause $<=/pause

$(CONF_IMG)/sample-apiserver.tar: REFS := $(E2E_REPO)/sample-apiserver:1.29.2
$(CONF_IMG)/sample-apiserver.tar: $(CONF)/programs/sample-apiserver
	$(conformance-image) -entrypoint /sample-apiserver dir:1777=/tmp $<=/sample-apiserver

$(CONF_IMG)/etcd.tar: REFS := registry.k8s.io/etcd:3.6.8-0
$(CONF_IMG)/etcd.tar: bin/tools/etcd
	$(conformance-image) $(CONF_PATH) -cmd etcd dir:1777=/tmp $<=/usr/local/bin/etcd

$(CONFORMANCE_IMAGES:%=$(CONF_IMG)/%.tar): test/conformance/images.mk $(MKIMAGE)
conformance-image = @echo "  image  $(REFS)"; mkdir -p $(@D); $(MKIMAGE) $(REFS:%=-ref %) -o $@

# --- the suite and what runs it
$(CONF)/e2e.test: test/conformance/go.mod
	@echo "  build  e2e.test (upstream, about four minutes the first time)"
	@CGO_ENABLED=0 $(GO) -C test/conformance test $(GO_FLAGS) -c -trimpath \
		-ldflags "-s -w $(call stamp,gitVersion,$(kubernetes-version))" -o $(CURDIR)/$@ k8s.io/kubernetes/test/e2e

$(CONF)/ginkgo: test/conformance/go.mod
	@echo "  build  ginkgo"
	@$(conformance-build) -ldflags "-s -w" -o $(CURDIR)/$@ github.com/onsi/ginkgo/v2/ginkgo

.PHONY: conformance conformance-images
FOCUS ?=
SKIP  ?=
PROCS ?= $(shell expr 2 '*' $$(nproc))
conformance: test-deps build conformance-images bin/tools/kubectl $(CONF)/e2e.test $(CONF)/ginkgo ## Upstream's conformance tests: FOCUS=, SKIP=, PROCS=
	@test "$$(id -u)" = 0 || { echo "the conformance tests run containers: start them as root"; exit 1; }
	@$(GO) -C test/conformance run $(GO_FLAGS) . -bin $(CURDIR)/bin -focus '$(FOCUS)' -skip '$(SKIP)' -procs $(PROCS) $(ARGS)
