# Needs Go, git and make. The first build downloads the libraries of go.mod.

GO       ?= go
FUZZTIME ?= 10000x
SEEDS    ?= 10000
CUTS     ?= 2000
SIZING_SECONDS ?= 20
FROM     ?= 1
LDFLAGS  := -X main.release=$(VERSION)

# The third-party tools are pinned in go.mod and run by "go tool".

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/balhost and the example plugins in bin/examples/
	@mkdir -p bin/examples
	$(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/balhost ./host
	$(GO) build -trimpath -o bin/examples/ ./examples/...

.PHONY: run
run: build ## host, simulator, example plugins and virtual devices in this terminal
	@mkdir -p bin/dropped # what came from here; a file of your own is left as it is
	@for example in bin/examples/*; do name=$${example##*/}; \
		if [ ! -e plugins/$$name ] || cmp -s plugins/$$name bin/dropped/$$name || cmp -s plugins/$$name $$example; then cp $$example plugins/ && cp $$example bin/dropped/; \
		else echo "plugins/$$name is your own and stays; without it the example comes back"; fi; \
	done
	bin/balhost dev

.PHONY: test
test: ## all tests; needs Go alone, and those of the other languages run when make sdk-LANGUAGE was there before
	$(GO) test -shuffle=on -timeout 40m ./...

.PHONY: deb
deb: build ## bin/balhost.deb, the Debian package of the last commit; needs dpkg-deb
	examples/deploy/deb/make.sh bin/balhost bin/balhost.deb $(VERSION)

.PHONY: check-deploy
check-deploy: build ## the unit, the package and the recipe of the image, in a root that is thrown away; needs Linux, root, systemd-analyze and curl
	examples/deploy/check.sh bin/balhost

.PHONY: web
web: ## examples/devices/web: balhost.js from balhost.ts, and the tests in Node and Chromium, of the page too; needs node, npm and chromium
	cd examples/devices/web && npm ci --no-audit --no-fund && npm run build
	cd host/testdata/web && npm ci --no-audit --no-fund
	BALHOST_WEB=required $(GO) test -count=1 -run '^TestWeb' ./host

.PHONY: test-sdks
test-sdks: sdk-python sdk-node sdk-java ## the SDKs of the other languages: their own tests, and their examples in the real host
	BALHOST_SDKS=required $(GO) test -count=1 -run '^TestLanguage' -skip '/^go' -timeout 30m ./host

# Each installs what its lock files name, runs the SDK's tests, and makes the examples'
# plugin folders: bin/plugins/LANGUAGE/NAME.

.PHONY: sdk-python
sdk-python: ## sdk/python: its tests, and its examples in bin/plugins/python; needs Python 3.10
	sdk/python/make.sh $(CURDIR)/bin/plugins/python

.PHONY: sdk-node
sdk-node: ## sdk/node: its tests, and its examples in bin/plugins/node; needs Node 20 and npm
	sdk/node/make.sh $(CURDIR)/bin/plugins/node

.PHONY: sdk-java
sdk-java: ## sdk/java: its tests, and its examples in bin/plugins/java; needs JDK 17 and Maven
	sdk/java/make.sh $(CURDIR)/bin/plugins/java

.PHONY: race
race: ## all tests but those with real processes, under the race detector; needs gcc
	CGO_ENABLED=1 $(GO) test -race -short -shuffle=on -timeout 20m ./...

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@unformatted=$$(gofmt -l host sdk examples); test -z "$$unformatted" || { echo "not gofmt'ed:" $$unformatted; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# Runs, not seconds: at a -fuzztime in seconds Go 1.26 can end with "context
# deadline exceeded" and no finding (go.dev/issue/75804).
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10000x)
	@set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' host sdk examples); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "$$file $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./$$(dirname $$file); \
		done; \
	done

.PHONY: generate
generate: ## protobuf code from sdk/wire/balhost/plugin/v1/plugin.proto
	$(GO) generate ./...

.PHONY: check-generated
check-generated: generate ## fails when the generated code in git is not what generate makes
	@git diff --exit-code --stat -- '*.pb.go' || { echo "generated code is stale: run make generate and commit it"; exit 1; }

.PHONY: cross
cross: ## compile for the other platforms: linux/arm64, darwin/arm64
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) vet ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build ./...

.PHONY: bench
bench: build ## messages/s, latency, CPU and memory, beside the disk's and the simulator's own limits
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 20m ./host

.PHONY: sizing
sizing: ## what loads from 20 to 30,000 upstreams/s need: the table of examples/deploy, in Markdown; SIZING_SECONDS=20 a load, some eight minutes
	SIZING_SECONDS=$(SIZING_SECONDS) $(GO) test -run '^$$' -bench '^BenchmarkSizing$$' -benchtime 1x -timeout 60m ./host

# The test's program itself, not "go test": that would leave it behind at a SIGTERM.
.PHONY: bench-compare
bench-compare: ## this tree against BASE (a commit), in turn: BASE=d90f67a ROUNDS=5 LOAD=15s; figures also in bin/compare.json
	@mkdir -p bin
	@test -n "$(BASE)" || { echo "make bench-compare BASE=COMMIT"; exit 2; }
	$(GO) test -c -o bin/compare.test ./host
	cd host && BENCH_BASE=$(BASE) BENCH_ROUNDS=$(ROUNDS) BENCH_LOAD=$(LOAD) BENCH_OUT=$(CURDIR)/bin/compare.json \
		exec ../bin/compare.test -test.run '^$$' -test.bench '^BenchmarkCompare$$' -test.benchtime 1x -test.timeout 12h

.PHONY: drill
drill: ## ten troubles of an operator, each made and solved from the shell: host/testdata/script/drill_*.txtar
	$(GO) test -count=1 -run '^TestScript$$/^drill_' -v ./host

.PHONY: crash
crash: ## the kill -9 tests, many times
	BALHOST_CRASH=long $(GO) test -count=1 -run Crash -timeout 60m -v ./host

.PHONY: clock
clock: ## clocks of host, plugin and simulator that are set, at rest and under load, by every step
	BALHOST_CLOCK=long $(GO) test -count=1 -run '^TestClock' -timeout 60m -v ./host

.PHONY: powercut
powercut: ## the power of ledgers at work cut CUTS times (2,000); and of ledgers with a fault, until it is found
	$(GO) test -count=1 -run '^(TestPowercut|TestTeeth)$$' -timeout 3h -v ./host/internal/powercut -cuts $(CUTS) -teeth

.PHONY: soak
soak: ## a plugin replaced 1,000 times: memory, file descriptors, processes and files stay flat
	BALHOST_SOAK=1000 $(GO) test -count=1 -run '^TestSoak$$' -timeout 60m -v ./host

.PHONY: sim
sim: ## the simulation for SEEDS seeds (10,000) from FROM on; a quarter of an hour on two cores
	@mkdir -p bin
	$(GO) test -c -o bin/sim.test ./host/internal/hosttest
	bin/sim.test -test.run '^TestSimulation$$' -test.timeout 3h -sim.from $(FROM) -sim.seeds $(SEEDS)

.PHONY: clean
clean: ## remove what build made; data/ holds messages and stays
	rm -rf bin
