# The two commands of the README are `make run` and `make test`; the rest are their parts.
# Every target installs what it lacks (deploy/install-tools.sh) and fails when that can't be had.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
WEB := controlplane/web
BROWSER := tests/browser
# Seconds each fuzz target runs.
FUZZ_SECONDS ?= 20

# Network namespaces are made by root.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo --preserve-env=PATH,CI)

.PHONY: help run test test-full lint audit build programs unit web-test browser release bench bars beside fuzz \
	api decode stacks firefox shaped shaped-page simulations simulate soak tools-api tools-build tools-test tools-firefox tools-fuzz tools-media \
	tools-stacks tools-beside

help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: build ## Build what is missing and start a server on http://localhost:7880
	@[ -e kall.toml ] || $(TARGET)/debug/kall setup --yes
	@exec $(TARGET)/debug/kall dev

test: lint unit web-test browser ## Everything fast: lints, unit, integration and browser tests

test-full: fuzz decode stacks firefox shaped ## What takes longer: fuzzing, real decoders, other stacks and browsers, shaped links

release: tools-build $(WEB)/dist/index.html ## Optimised binaries in target/release
	cargo build --release --locked -p kall-controlplane -p kall-dataplane

bench: tools-build $(WEB)/dist/index.html ## Criterion benches of the parts; figures and chart in benches/README.md
	rm -rf $(TARGET)/criterion
	cargo bench --locked -p kall-benches
	cargo run --quiet --release --locked -p kall-benches --bin bench-page -- --criterion $(TARGET)/criterion

bars: tools-beside release ## Every bar of the data plane in one run on an idle machine; tables in benches/README.md
	cargo build --release --locked -p kall-benches --bins
	cargo bench --locked -p kall-benches --bench lane
	CARGO_TARGET_DIR=$(TARGET) benches/bars.sh benches/results/bars.jsonl
	$(TARGET)/release/bench-page --criterion $(TARGET)/criterion --bars benches/results/bars.jsonl

beside: tools-beside release ## kall and Janus, the same livestream on one core each
	cargo build --release --locked -p kall-benches --bin kall-load
	$(AS_ROOT) env CARGO_TARGET_DIR=$(TARGET) benches/side-by-side.sh

# --- parts of `make test` -----------------------------------------------------------------------

lint: tools-test $(WEB)/dist/index.html ## Formatting, clippy, licences, types of the web client
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo deny --log-level error check licenses bans sources
	npm --prefix $(WEB) run check

audit: tools-test ## Published advisories (needs the network)
	cargo deny check advisories

build: tools-build $(WEB)/dist/index.html
	cargo build --workspace --bin kall --bin kall-dataplane --locked

# One build for the programs and the tests, so that features are resolved once and nothing is compiled
# twice; the tests with real processes and browsers run the programs built here.
programs: tools-test $(WEB)/dist/index.html
	cargo build --workspace --bins --tests --locked

unit: programs ## Rust tests, those with real processes included; the control plane's on PostgreSQL, too
	cargo nextest run --workspace --locked
	deploy/with-postgres.sh cargo nextest run --workspace --locked \
		-E 'package(kall-controlplane) & kind(test) & not binary(crowd)'

web-test: tools-test $(WEB)/dist/index.html ## Tests of the web client's logic
	npm --prefix $(WEB) test

browser: programs $(BROWSER)/node_modules/.package-lock.json ## Tests in Chromium
	$(AS_ROOT) env KALL_BIN_DIR=$(TARGET)/debug npm --prefix $(BROWSER) test

firefox: tools-firefox programs $(BROWSER)/node_modules/.package-lock.json ## The same tests with Firefox in them
	$(AS_ROOT) env KALL_BIN_DIR=$(TARGET)/debug npm --prefix $(BROWSER) run firefox

decode: tools-media programs ## Forwarded VP8, VP9, AV1 and H264 in ffmpeg's decoders, through layer switches
	cargo nextest run --workspace --profile decode --locked

stacks: tools-stacks programs ## GStreamer, aiortc and others through WHIP and WHEP; the table is STACKS.md
	cargo nextest run --workspace --profile stacks --locked
	cp artifacts/stacks/matrix.md STACKS.md
	@cat STACKS.md

api: tools-api programs ## schemathesis against /openapi.json, and TURN credentials against a real coturn
	deploy/fuzz-api.sh $(TARGET)/debug/kall
	cargo nextest run --workspace --profile api --locked

shaped: tools-media programs $(BROWSER)/node_modules/.package-lock.json ## A browser behind a shaped path; figures in artifacts/shaped/
	$(AS_ROOT) env KALL_BIN_DIR=$(TARGET)/debug npm --prefix $(BROWSER) run shaped

shaped-page: shaped ## The same, and its figures as the page SHAPED.md
	cp artifacts/shaped/figures.md SHAPED.md

# Optimised: a call is simulated some hundred times as fast as it lasts.
SIMULATE := cargo run --quiet --profile simulation --locked -p kall-simulation --bin simulate --

simulations: tools-build ## Every simulated call; the table is SIMULATIONS.md
	$(SIMULATE) report SIMULATIONS.md

simulate: tools-build ## One simulated call with its time line: SCENARIO=name SEED=n
	@$(SIMULATE) replay $(or $(SCENARIO),$(error SCENARIO=name of a file in tests/simulation/scenarios)) $(or $(SEED),1)

soak: tools-build ## Simulated calls from SEEDS new seeds; one of them with SCENARIO=name, again with FIRST=seed
	$(SIMULATE) soak $(or $(SEEDS),1000) $(addprefix --scenario ,$(SCENARIO)) $(addprefix --first ,$(FIRST))

fuzz: tools-fuzz ## Every fuzz target for FUZZ_SECONDS
	dataplane/fuzz/run.sh $(FUZZ_SECONDS)

# --- files --------------------------------------------------------------------------------------

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	npm --prefix $(WEB) ci --no-audit --no-fund
	@touch $@

$(BROWSER)/node_modules/.package-lock.json: $(BROWSER)/package-lock.json
	npm --prefix $(BROWSER) ci --no-audit --no-fund
	@touch $@

$(WEB)/dist/index.html: $(WEB)/node_modules/.package-lock.json $(shell find $(WEB)/src $(WEB)/public \
		$(WEB)/index.html $(WEB)/vite.config.ts $(WEB)/tsconfig.json -type f 2>/dev/null)
	npm --prefix $(WEB) run build
	@touch $@

tools-build:
	@deploy/install-tools.sh build

tools-test:
	@deploy/install-tools.sh test

tools-firefox:
	@deploy/install-tools.sh firefox

tools-fuzz:
	@deploy/install-tools.sh fuzz

tools-media:
	@deploy/install-tools.sh media

tools-api:
	@deploy/install-tools.sh api

tools-stacks:
	@deploy/install-tools.sh stacks

tools-beside:
	@deploy/install-tools.sh beside
