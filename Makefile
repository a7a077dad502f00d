# What this project can do; `make help` lists it.
.DEFAULT_GOAL := help
CARGO ?= cargo
SECONDS ?= 10
OUTPUT ?= relay.webm
RELEASE = $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: help run relay page node test lint bench bwe fuzz docs tools

help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Program and Debian package of what running and testing need; then C header and package.
TOOLS = ffmpeg:ffmpeg ffprobe:ffmpeg openssl:openssl chromium:chromium firefox-esr:firefox-esr cc:gcc curl:curl \
  gst-launch-1.0:gstreamer1.0-tools gst-launch-1.0:gstreamer1.0-plugins-base gst-launch-1.0:gstreamer1.0-plugins-good
HEADERS = usrsctp.h:libusrsctp-dev

tools: node ## install what running and testing need and is missing (Debian packages)
	@missing=; for tool in $(TOOLS); do \
	  command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool##*:}"; done; \
	for header in $(HEADERS); do \
	  [ -e /usr/include/$${header%%:*} ] || missing="$$missing $${header##*:}"; done; \
	if [ -n "$$missing" ]; then \
	  echo "installing$$missing"; \
	  if [ "$$(id -u)" = 0 ]; then SUDO=; else SUDO=sudo; fi; \
	  $$SUDO apt-get -qq update && $$SUDO apt-get -qq install -y $$missing >/dev/null; fi

# 20.19 is what the page is built with.
node:
	@node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major < 20 || (major == 20 && minor < 19) ? 1 : 0)' \
	  2>/dev/null && command -v npm >/dev/null || { echo "Node 20.19 or newer with npm is needed: https://nodejs.org" >&2; exit 1; }

demo/web/node_modules/.package-lock.json: demo/web/package-lock.json
	cd demo/web && npm ci --no-progress && touch node_modules/.package-lock.json

page: node demo/web/node_modules/.package-lock.json ## build the page of the demo
	cd demo/web && npm run --silent build -- --logLevel warn

run: page ## start the demo conference (ARGS="--help" lists its flags); prints its address and a QR code
	$(CARGO) build --release -p worker -p demo
	$(RELEASE)/demo $(ARGS)

relay: tools ## relay a test picture and tone through a worker into relay.webm (OUTPUT=, SECONDS=)
	$(CARGO) build --release -p worker
	$(CARGO) run --release -p client --example relay -- --worker $(RELEASE)/worker --output $(OUTPUT) --seconds $(SECONDS)

test: tools page ## every test
	cd demo/web && npm test --silent
	$(CARGO) build -p worker -p demo
	$(CARGO) build -p client --examples
	$(CARGO) test --workspace

lint: page ## formatting, clippy, types of the page, documentation, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items -q
	@command -v cargo-deny >/dev/null || { echo "installing cargo-deny"; $(CARGO) install --quiet --locked cargo-deny; }
	$(CARGO) deny --log-level error check bans licenses sources
	@if $(CARGO) deny --log-level off fetch db >/dev/null 2>&1; then \
	  $(CARGO) deny --log-level error check advisories; \
	else \
	  echo "NOT CHECKED: known vulnerabilities of dependencies, since the advisory database cannot be fetched from here"; fi

bench: ## CPU per forwarded packet beside a ceiling and plain sendto; cost of a WebRTC session, and of data messages
	$(CARGO) build --release -p worker -p bench
	$(RELEASE)/bench --worker $(RELEASE)/worker
	$(RELEASE)/bench sessions --worker $(RELEASE)/worker
	$(RELEASE)/bench data --worker $(RELEASE)/worker

bwe: ## how well links are used in simulation: docs/bwe.md with a table and pictures
	$(CARGO) run -p tests --example bwe

# Of libFuzzer alone: what is unsafe in here is C, which has fuzzers of its own. Without link time optimization the
# binaries are there in minutes.
FUZZ_BUILD = CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
  $(CARGO) +nightly fuzz run --features libfuzzer --sanitizer none
TARGETS ?= $(notdir $(wildcard fuzz/corpus/*))

fuzz: ## look for inputs that break a parser, SECONDS= for each of TARGETS= (needs a nightly compiler)
	@command -v cargo-fuzz >/dev/null || { echo "installing cargo-fuzz"; $(CARGO) install --quiet --locked cargo-fuzz; }
	@for target in $(TARGETS); do echo "== $$target"; mkdir -p target/fuzz/$$target; \
	  $(FUZZ_BUILD) $$target target/fuzz/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=0 -verbosity=0 || exit 1; \
	done

docs: ## build the API documentation
	$(CARGO) doc --workspace --no-deps
