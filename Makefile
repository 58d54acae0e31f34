# make hello runs the first example, make test the tests, make check the gate
# that every change passes. The first time, each installs what the host lacks
# (hack/setup says what, and why); afterwards that costs nothing.

.DEFAULT_GOAL := help

# Containers need root. As a plain user everything is compiled by you and in
# your caches; only what it makes, the example or the test binary, runs as root.
ifneq ($(shell id -u),0)
AS_ROOT = -exec "sudo env PATH=$(PATH) GOMODCACHE=$(shell go env GOMODCACHE) GOFLAGS=-buildvcs=false"
endif

# -count=1: a test's result depends on the kernel, runc and what an earlier run
# left behind, and Go's test cache sees none of them: a cached "ok" says nothing.
# -timeout: what takes longer hangs, and then go test prints every goroutine.
TEST = go test $(AS_ROOT) -count=1 -timeout 5m
RACE = go test $(AS_ROOT) -count=1 -timeout 10m -race

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s%s\n", $$1, $$2 }' Makefile

.PHONY: hello
hello: ## run the first example, with a registry of its own for Docker Hub
	@hack/setup run
	go test $(AS_ROOT) -count=1 -v -run '^TestHelloWorld$$' ./examples/hello

# The program that runs containers with libcontainer. Programs find it beside
# themselves or on PATH; without it they run containers too, with runc, slower.
# It is executed again as each container's first process: linked statically,
# and with a runtime that does not read its own cgroup, that takes a millisecond
# less. Where the C library has no static form: make shim STATIC=
STATIC := -linkmode=external -extldflags=-static

.PHONY: shim
shim: ## build the fast shim, bin/containerd-shim-ctor-v2
	@hack/setup shim
	cd cmd/containerd-shim-ctor-v2 && go build -tags seccomp,netgo,osusergo -trimpath -ldflags '-s -w $(STATIC)' -o $(CURDIR)/bin/ .

# What containers' processes are forked from is C, and comes with the library as
# bytes: whoever changes internal/shim/native/forker/c runs this, and commits both.
.PHONY: forker
forker: ## compile the forker, for each processor
	@hack/setup forker
	hack/forker

.PHONY: test
test: ## vet, and run all tests: with the runc command, and with the fast shim
	@hack/setup test
	go vet ./...
	@$(MAKE) --no-print-directory images
	$(TEST) ./...
	@$(MAKE) --no-print-directory testshim database imagetool runner conformance dockerfile

# Tests run Debian's own Redis, PostgreSQL and nginx. Whichever test comes first
# makes the images; here none has to wait for it.
.PHONY: images
images: ## make the images of real servers, once a machine (part of test)
	@hack/setup test
	$(TEST) -timeout 10m -run '^TestSharedBase$$' ./internal/fixture

# What users have without root: of many users, and of one.
.PHONY: userns
userns: ## run tests in a user namespace, as an ordinary user (needs root)
	@hack/setup test
	hack/userns ./container ./image ./network ./volume -- -test.short
	hack/userns -single ./container ./image ./network ./volume -- -test.short

# Each test waits for a server of its own, so there can be many at a time.
.PHONY: database
database: ## run the example with 40 databases (part of test)
	@hack/setup test
	cd examples/database && $(TEST) -parallel 20 .

.PHONY: imagetool
imagetool: ## test the example that handles images (part of test)
	@hack/setup test
	cd examples/imagetool && $(TEST) .

.PHONY: runner
runner: ## test the example that runs code which it is sent (part of test)
	cd examples/runner && $(TEST) -short .

# The OCI's own suite, compiled from its module; some ten seconds.
.PHONY: conformance
conformance: ## run the conformance suite of registries against ours (part of test)
	cd hack/conformance && $(TEST) .

# BuildKit takes a minute to compile, once.
.PHONY: dockerfile
dockerfile: ## test builds from Dockerfiles (part of test)
	@hack/setup test
	cd build && $(TEST) ./...
	cd examples/build && $(TEST) ./...

# Engines find the shim on PATH, as users' do. So what runs containers is tested
# once more, as it is: without one the test binary is its own shim.
.PHONY: testshim
testshim: export PATH := $(CURDIR)/bin:$(PATH)
testshim: shim ## test the fast shim: its own tests, and what runs containers with it (part of test)
	@hack/setup test
	cd cmd/containerd-shim-ctor-v2 && $(TEST) -tags seccomp ./...
	$(TEST) . ./internal/whole ./container/... ./image ./examples/...

# The inner loop takes results from the cache, and tests skip what is slow.
.PHONY: short
short: ## run the fast tests, cached where nothing changed
	go test $(AS_ROOT) -short ./...

# The one gate, cheapest first. What each line refuses:
#   gofmt        other formatting
#   vet, static  likely mistakes (staticcheck.conf)
#   imports      broken rules of the module's shape, with their reasons
#   tidy         go.mod or go.sum that do not match the code
#   CGO_ENABLED  a core that needs a C compiler
#   race         failing tests, data races
.PHONY: check
check: ## the gate: formatting, mistakes, imports, go.mod, data races
	@hack/setup check
	@bad=$$(gofmt -l .); test -z "$$bad" || { echo "gofmt -l: $$bad" >&2; exit 1; }
	go vet ./...
	go test ./internal/imports
	go tool staticcheck ./...
	go mod tidy -diff
	CGO_ENABLED=0 go build ./...
	@$(MAKE) --no-print-directory nested images
	$(RACE) ./...
	@$(MAKE) --no-print-directory testshim database imagetool runner conformance dockerfile

# Times mean nothing on a machine that is busy with something else. BENCH is
# for flags: make bench BENCH='-rounds 10 -only life'.
.PHONY: bench
bench: shim ## measure ctor beside bwrap, runc, containerd and docker
	@hack/setup bench
	cd bench && go run $(AS_ROOT) . $(BENCH)

# What the test machine is not: cgroup v2, systemd. Hours, for the processor is
# emulated; hack/guest says how to run a part. Needs root.
.PHONY: guest
guest: ## run the tests in a virtual machine with cgroup v2
	@hack/setup guest
	hack/guest bare
	hack/guest systemd

# Modules of their own (the libcontainer shim, build, bench) are invisible to
# ./... here. Fixtures in testdata are nobody's modules.
.PHONY: nested
nested: ## vet and tidy the nested modules (part of check)
	@find . -mindepth 2 -name go.mod -not -path '*/testdata/*' | sort | while read -r mod; do \
		dir=$$(dirname "$$mod"); \
		echo "in $$dir: go vet, go mod tidy -diff"; \
		(cd "$$dir" && go vet -tags seccomp ./... && go mod tidy -diff) || exit 1; \
	done
