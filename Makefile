# What people run. CI runs `make test` through .ci/run; everything here works from a fresh clone.

CALLS ?= 3
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help demo generate test bench-audio bench-instructions bench-clients bench-control soak lint fmt build deps

help: ## Show this text
	@echo "voicebridge: answers WhatsApp calls and lets the caller talk with a realtime AI."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make demo CALLS=20      the same with 20 calls at once"

demo: ## Make real calls through real processes with simulated ends, and prove that both sides heard each other
	@scripts/install-deps build
	cargo build --release --locked -p voicebridge-server -p voicebridge-node -p voicebridge-cli
	@$(TARGET_DIR)/release/voicebridge demo --calls $(CALLS) --out $(TARGET_DIR)/demo

test: ## Lint, and run every test: unit, whole system, Chromium and aiortc as callers, clients of other languages
	@scripts/install-deps build proxy postgres interop clients edge
	@scripts/test

soak: ## Look at 10000 random schedules of faults where `make test` looks at hundreds; SEEDS=n for more or fewer
	@scripts/install-deps build
	@scripts/soak $(SEEDS)

bench-audio: ## Measure sound, delay and cost of the audio path on bad networks against their targets
	@scripts/install-deps build bench
	@scripts/bench-audio

bench-instructions: ## Count the instructions and allocations of a packet of a call, by whose code they are
	@scripts/install-deps build instructions
	@scripts/bench-instructions

bench-clients: ## Measure what clients and the edge function add, against their targets
	@scripts/install-deps build clients edge
	@scripts/bench-clients

bench-control: ## Measure how soon webhooks are acknowledged, and what the control plane adds to a session's start
	@scripts/install-deps build postgres
	@scripts/bench-control

generate: ## Write the clients' generated code anew from proto/
	@scripts/generate

lint: ## Check formatting, clippy, the purity of the pure crates, the contracts, the generated code
	@scripts/install-deps build clients
	@scripts/lint

fmt: ## Format the sources
	cargo fmt --all

build: ## Build the three programs for release into target/release
	@scripts/install-deps build
	cargo build --release --locked -p voicebridge-server -p voicebridge-node -p voicebridge-cli

deps: ## Install what building and testing need (apt, as root or with sudo), or say what is missing
	@scripts/install-deps build proxy postgres interop clients edge
