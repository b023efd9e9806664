# Everything that is done to this repository, by name. `make` alone lists it. All that is made lands in build/.

GO       ?= go
BUILD    := build
BINARY   := $(BUILD)/pagevault
# test builds check our own promises (internal/invariant) and panic when one is broken
TAGS     := invariants
# the tests with real clients, processes and file systems: their own package, their own tag
E2E      := ./internal/testkit/e2e
ARGS     ?=
# packages whose tests are run with the race detector in CI: all that share state between goroutines
RACE     ?= ./replication/... ./pagestore/... ./blobstore/... ./server/... ./bench/... ./internal/testkit/conform/...
# tests that do many things one at a time: they share nothing between goroutines that others do not, and would take half of
# the time of the race detector's run
ALONE    := ^Test((Upgrade|Arrange|Rebuild)Crash|SameHistory|SpaceComesBack(ByItself)?|IncrementalModel|SoftDeleteMany|CutOffAnywhere|Fold|CheckFlips|CheckKinds|IncrementalFromServerModel|(Nobody|Who)GetsThrough|(Index|SummaryFile)Damaged|SmallWriteCost|IdleRests|DiffWindows|List(Cost|WhileChanging)|(Cut|Flip)OnOneMember|FlipOnAllMembers|BlocksModel|ManyBlocks|UploadCrash)$$
FUZZTIME ?= 30s
MODEL_OPS ?= 100000
STATES ?= 100000
CI_FUZZTIME ?= 3s
LONG_FUZZTIME ?= 10m
# where the disk images are, or are made, on which space is measured
DIR ?= $(BUILD)/corpus
# what make tools uses: small files, MiB of the large file beside them, MiB of each large blob
TOOL_FILES ?= 10000
TOOL_LARGE ?= 2048
TOOL_SDK ?= 1024
# what make results measures
RESULTS ?= put-4m-new,put-4m-dup,put-4k-random,get-4m,get-4k-random,restore-*
# 850 GB at 4 KiB
SCALE_CHUNKS ?= 207520000

.DEFAULT_GOAL := help
.PHONY: help build run deps test unit race fuzz fuzz-long crash disks disks-bench states states-long model conform e2e tools crowd check lint generated tidy bench bench-azurite bench-regress results corpus space scale wide cover generate rewrite clean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z][a-z0-9-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build/pagevault, the one binary
	$(GO) build -trimpath -o $(BINARY) ./cmd/pagevault

run: build ## build, then serve on 127.0.0.1:10000 with data in ./pagevault-data; ARGS="--memory" and the like are passed on
	$(BINARY) serve $(ARGS)

deps: ## install what the tests need and is missing: Debian packages, and npm packages below build/
	@.ci/deps

test: ## all tests, which is all that CI runs besides `make check`; installs what they need
	@FUZZTIME=$(CI_FUZZTIME) .ci/steps deps unit model states race e2e crash disks fuzz

unit: ## tests of all packages, with our own promises checked
	$(GO) test -tags $(TAGS) ./...

model: ## random operations on blobs against plain byte slices, at CI's size (MODEL_OPS)
	PAGEVAULT_MODEL_OPS=$(MODEL_OPS) PAGESTORE_MODEL_OPS=$(MODEL_OPS) PAGEVAULT_BLOCKS_OPS=$$(($(MODEL_OPS) / 50)) \
		$(GO) test -tags $(TAGS) -count=1 -v -timeout 20m -run '^Test(Blocks)?Model$$' ./blobstore ./pagestore

race: ## tests with the race detector (needs a C compiler), but for those that do many things one at a time, which unit runs
	PAGEVAULT_CRASH_STATES=400 $(GO) test -race -timeout 40m -skip '$(ALONE)' $(RACE)

conform: ## every row of the operation table that says done, through Azure's Go SDK: in the test process, then the real one
	$(GO) test -tags $(TAGS) -count=1 ./internal/testkit/conform/...
	$(GO) test -tags $(TAGS),e2e -count=1 -v -run '^TestConform' $(E2E)

e2e: deps ## a real disk image and every operation through Azure's clients (az, Go, JavaScript, Python); tools; conformance of the real process
	$(GO) test -tags $(TAGS),e2e -count=1 -v -timeout 20m -run '^Test(Image|Readme|Conform|Client|Tokens|Crowd|Tool)' $(E2E)

tools: deps ## rclone, restic, duplicity, az and the Go SDK with 10,000 files and blobs of gigabytes: some twenty minutes, 20 GB in TMPDIR; e2e has them smaller
	PAGEVAULT_TOOL_FILES=$(TOOL_FILES) PAGEVAULT_TOOL_LARGE=$(TOOL_LARGE) PAGEVAULT_TOOL_SDK=$(TOOL_SDK) \
		$(GO) test -tags e2e -count=1 -v -timeout 3h -run '^TestTool' $(E2E)

crowd: ## the real process among 10,000 idle connections and 1,000 slow clients: latency and memory with and without them
	PAGEVAULT_CROWD_IDLE=10000 PAGEVAULT_CROWD_SLOW=1000 $(GO) test -tags e2e -count=1 -v -timeout 10m -run '^TestCrowd$$' $(E2E)

crash: deps ## kill -9 and power cuts under concurrent writers, on the real process
	$(GO) test -tags $(TAGS),e2e -count=1 -v -timeout 20m -run '^Test(Kill|PowerCut)' $(E2E)

disks: deps ## a disk fails under load, in every way; kill -9 while members are hurt; shards: on the real process, needs root
	$(GO) test -tags $(TAGS),e2e -count=1 -v -timeout 30m -run '^Test(Disk|TwoDisks|BelowMinimum|KillDisks|Shards)' $(E2E)

disks-bench: ## a log of three members beside three plain files, and with a scrub beside it, on the disk of build/, in one run
	@mkdir -p $(BUILD)
	PAGEVAULT_BENCH_DIR=$(abspath $(BUILD)) $(GO) test -count=1 -run '^$$' -bench '^BenchmarkBeside(Raw|Scrub)$$' -benchtime 10x ./replication

states: ## STATES crashes of the store, in memory, at every sync, rename and removal of a file (100,000; about 3 minutes)
	PAGESTORE_CRASH_STATES=$(STATES) $(GO) test -tags $(TAGS) -count=1 -v -timeout 8h -run '^TestCrashAnywhere$$' ./pagestore

states-long: ## a million crashes of the store (about half an hour)
	@$(MAKE) --no-print-directory states STATES=1000000

fuzz: ## each fuzzer for FUZZTIME (30s)
	@.ci/fuzz $(FUZZTIME)

fuzz-long: ## each fuzzer for LONG_FUZZTIME (10m), some six hours in all: before a release, and where a parser has changed
	@.ci/fuzz $(LONG_FUZZTIME)

check: lint generated tidy ## what needs no running: gofmt, vet, staticcheck, the import map, generated files, go.mod
	$(GO) test ./internal/archtest/...

lint:
	@echo "gofmt"; bad=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
		if [ -n "$$bad" ]; then echo "not formatted:"; echo "$$bad"; exit 1; fi
	$(GO) vet -tags $(TAGS),e2e ./...
	$(GO) vet ./...
	$(GO) tool staticcheck -tags $(TAGS),e2e ./...

generated:
	@.ci/unchanged "generated files are not up to date: run make generate" $(GO) generate ./...

tidy:
	$(GO) mod tidy -diff

generate: ## write the generated files (docs/protocol-coverage.md, the assembly of internal/digest/lanes)
	$(GO) generate ./...

rewrite: ## write transcripts and goldens anew from what the code does; read the diff
	PAGEVAULT_REWRITE=1 $(GO) test -tags $(TAGS) -count=1 ./...
	$(GO) test -tags $(TAGS) -count=1 $$(git grep -l cockroachdb/datadriven -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|') -args -rewrite

bench: build ## speed beside a null server and the raw disk in one run (docs/benchmarks.md); ARGS="--quick" and the like are passed on
	$(BINARY) bench --dir $(BUILD) $(ARGS)

# exactly this one, so that figures of different days are of the same
AZURITE ?= azurite@3.37.0

bench-azurite: build ## the same with Azurite beside, which npm installs into build/azurite; needs node and npm
	@test -e $(BUILD)/azurite/node_modules/.bin/azurite-blob || \
		npm --prefix $(BUILD)/azurite install $(AZURITE) --ignore-scripts --no-audit --no-fund
	$(BINARY) bench --dir $(BUILD) --compare pagevault,memory,azurite,null $(ARGS)

results: ## the figures of docs/benchmarks.md anew, into bench/results: an idle machine, npm, fifteen minutes
	@mkdir -p $(BUILD)
	@$(MAKE) --no-print-directory bench-azurite ARGS="--list" >$(BUILD)/results.log
	@at=bench/results/$$(date -u +%Y-%m-%d)-$$(git rev-parse --short=7 HEAD); \
		$(BINARY) bench --dir $(BUILD) --compare pagevault,null,disk,azurite --connections 1,16,64 --rounds 5 \
			--workload '$(RESULTS)' --json $$at.json --html $$at.html

bench-regress: ## benchmarks of hash, index, commit and read at OLD=commit beside NEW=commit (HEAD), in turns, by benchstat; COUNT, BENCHTIME, ONLY
	@DIR=$(abspath $(BUILD))/regress bench/regress $(OLD) $(NEW)

corpus: ## five disk images in DIR (build/corpus) to measure space on; needs root, 4 GiB, two minutes
	@bench/make-corpus $(DIR)

space: build corpus ## what the images in DIR take, beside borg and restic, in about fifteen minutes (docs/space.md)
	@.ci/deps borg:borgbackup restic:restic
	$(BINARY) bench space --images $(DIR) --with restic,borg --dir $(BUILD) $(ARGS)

wide: ## a blob of 1 TiB in 10^6 regions, its snapshots and differences, and lists of 10^6 page blobs and block blobs: some ten minutes (docs/scale.md)
	PAGEVAULT_WIDE_REGIONS=1000000 PAGEVAULT_WIDE_BLOBS=1000000 PAGEVAULT_WIDE_BLOCK_BLOBS=1000000 \
		PAGEVAULT_WIDE_DIR=$(abspath $(BUILD))/wide \
		$(GO) test -count=1 -v -timeout 60m -run '^TestWide$$' ./bench

scale: ## a store of 850 GB in 4 KiB chunks, as its index tells, beside an empty one: 10 GB in build/scale, ten minutes (docs/scale.md)
	PAGEVAULT_SCALE_CHUNKS=$(SCALE_CHUNKS) PAGEVAULT_SCALE_DIR=$(abspath $(BUILD))/scale \
		$(GO) test -count=1 -p 1 -v -timeout 40m -run '^TestScale$$' ./pagestore ./bench

cover: ## which lines the tests reach: build/cover.html
	@mkdir -p $(BUILD)
	$(GO) test -tags $(TAGS) -coverpkg=./... -coverprofile=$(BUILD)/cover.out ./...
	$(GO) tool cover -html=$(BUILD)/cover.out -o $(BUILD)/cover.html
	@$(GO) tool cover -func=$(BUILD)/cover.out | tail -1

clean: ## remove build/
	rm -rf $(BUILD)
