# `make demo` tells the whole story on real parts; `make test` proves it. Both begin with tests/rig/tools.sh, which builds what
# is missing for it into a store shared by all checkouts and is quick the second time; `make tools` is all of it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Where the tests look for the control plane, sops, kubectl and the rest; without it they look in the same place.
export TOUCHSEAL_TOOLS := $(CURDIR)/.cache/tools

# Where cargo puts the programs that the suites and the demo run.
BUILT := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
PROGRAMS := $(BUILT)/debug

.PHONY: help demo test image static static-test cross fuzz soak lint bench tools deny clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## the story from ciphertext in git to a native Secret, on a real API server and a software YubiKey
	@tests/rig/tools.sh demo
	cargo build --package touchseal-cli --package touchseal-controller --package touchseal-suites --bins
	TOUCHSEAL_PROGRAMS="$(PROGRAMS)" "$(PROGRAMS)/demo"

test: tools image ## every test of the workspace
	cargo build --workspace --bins
	TOUCHSEAL_PROGRAMS="$(PROGRAMS)" TOUCHSEAL_IMAGE="$(BUILT)/image" cargo test --workspace --no-fail-fast

image: ## the operator's image and its list of parts, in target/image; see operator/image/README.md
	@tests/rig/tools.sh image
	@operator/image/image.sh

static: ## the command line as one static program for Linux, in target/static; see operator/cli/static/README.md
	@tests/rig/tools.sh static
	@operator/cli/static/build.sh

# The suites find it where they look for the programs under test.
static-test: tools static ## ceremonies with the static program, alone in an empty folder as well
	cargo build --package touchseal-controller --bins
	ln -sf "$(PROGRAMS)/touchseal-operator" "$(BUILT)/static/touchseal-operator"
	TOUCHSEAL_PROGRAMS="$(BUILT)/static" cargo test --package touchseal-suites --test real -- alone:: ceremony:: history:: node_key:: terminal::

cross: ## whether the command line compiles for macOS and Windows; see operator/cli/cross.sh
	@operator/cli/cross.sh

# Coverage comes from the compiler, so nothing but the stable toolchain is needed; see tests/fuzz/README.md.
SECONDS := 60
TARGET := all
FUZZED := $(BUILT)/fuzz

fuzz: ## hostile input, guided by coverage: make fuzz SECONDS=60 TARGET=yaml (default: all, sharing the time)
	RUSTC_WRAPPER="$(CURDIR)/tests/fuzz/instrument.sh" cargo build --profile fuzz --package touchseal-fuzz --bin fuzz
	LLVM_PROFILE_FILE="$(FUZZED)/counters%c" "$(FUZZED)/fuzz" run $(TARGET) $(SECONDS)

# It prints the seed that it draws from: TOUCHSEAL_SEED=N make soak draws the same again.
MINUTES ?= 60

soak: tools ## every fault at random while people work: an hour, or make soak MINUTES=10; ends at the first thing that is wrong
	cargo build --workspace --bins
	TOUCHSEAL_PROGRAMS="$(PROGRAMS)" MINUTES="$(MINUTES)" "$(PROGRAMS)/soak"

lint: tools deny ## formatting, clippy, generated manifests, layering, licences
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo run --quiet --package touchseal-crds --bin crdgen -- --check
	cargo fetch --locked --quiet
	PATH="$(TOUCHSEAL_TOOLS)/bin:$$PATH" cargo deny --offline check bans licenses sources

tools: ## everything that tests and the demo call, under .cache/tools/bin
	@tests/rig/tools.sh

deny: ## cargo-deny, for lint
	@tests/rig/tools.sh deny

bench: tools ## measurements with their budgets, one line a figure; ONLY=NAME for one
	cargo build --release --package touchseal-controller --bin touchseal-operator
	@TOUCHSEAL_PROGRAMS="$(BUILT)/release" cargo run --release --package touchseal-bench -- $(ONLY)

clean: ## build results and links of this checkout; the shared store of tools stays
	cargo clean
	rm -rf .cache/tools
