# make run                    a demonstration in its own network namespace; KEEP=1 keeps it running
# make run LOG=/var/log/nginx/access.log   the daemon on this host, for this log; CONFIG=FILE: with that
# make test                   all tests, in namespaces, with real nginx and Apache; TESTS=tests/unit
# make check                  style, types, and the rules of the repository
# make format                 lets ruff repair what it can
# make docs                   writes docs/events.md, metrics.md and config.example.toml
# make dashboards             generates the dashboards, plays an attack under a real Prometheus, runs
#                             every query, draws every panel into docs/images (PICTURES=DIR: there)
# make grafana-schema         the schema that dashboards are validated against
# make fuzz SECONDS=600       each fuzz target for so long; fuzz-short: all of them in a minute
# make mutate MODULES=judging.judge   changes pure modules in small ways, and prints the changes that
#                             no test notices; without MODULES all of them
# make bench                  beside grep, fail2ban and CrowdSec; LONG=1 ONLY="latency burst" ROUNDS=3
#                             PAGE=1: writes docs/performance.md
# make guard                  fails if replay has become much slower, compared with grep
# make remember ADDRESSES=5000000   90 simulated days of attackers, and a start after them
# make crash KILLS=500 SEED=1   kills the daemon so often, and compares with what was written
# make power CUTS=200 SEED=1    cuts its power so often; ONLY=ext4
# make soak MINUTES=30 SEED=1   attack, rotations, flushes, reloads, faults and kills
# make wordpress-test         the plugin for WordPress, in a real one with MariaDB, PHP and nginx
# make deb                    build/*.deb, for the running suite; debs: build/SUITE/*.deb, in clean trees
# make boot-test SUITE=trixie   installs the package in a booted Debian, and attacks it
# make release-check          that in all suites, lintian, piuparts, autopkgtest
# make clean                  removes .venv, build and caches

# Debian's own interpreter where there is one: it is what the package will run with.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# As installed packages are: otherwise each start compiles again where Python may write no caches.
COMPILE := $(BIN)/python -m compileall -q blocker

RUN_NEEDS := python-module-ensurepip:python3-venv ip:iproute2 nft:nftables \
	/usr/lib/*/libnftables.so.1:libnftables1
TEST_NEEDS := $(RUN_NEEDS) nginx:nginx-light apache2:apache2 curl:curl promtool:prometheus \
	haproxy:haproxy caddy:caddy logger:bsdutils setpriv:util-linux setfacl:acl /lib/systemd/systemd-journald:systemd amtool:prometheus-alertmanager mkfs.ext4:e2fsprogs losetup:mount \
	php:php-cli

.PHONY: help docs dashboards grafana-schema run test bench guard check format clean crash power soak fuzz fuzz-short mutate deb debs boot-test release-check

run: $(VENV)/.run
	@LOG="$(LOG)" CONFIG="$(CONFIG)" KEEP="$(KEEP)" packaging/run $(BIN)

test: $(VENV)/.dev
	@packaging/need $(TEST_NEEDS)
	$(BIN)/python -m pytest -q $(TESTS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/house

# In a network namespace of their own, which vanishes with them; without root in a user's own.
ISOLATED := PYTHONPATH=tests unshare $(if $(filter 0,$(shell id -u)),-n,-rn) $(BIN)/python -m
KILLS ?= 500
SEED ?= 1
MINUTES ?= 30

crash: $(VENV)/.dev
	@$(ISOLATED) crash.run --kills $(KILLS) --seed $(SEED)

# Its disk is a process, and its file systems are the kernel's own: only root can mount them.
POWER_NEEDS := losetup:mount mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs
CUTS ?= 200

power: $(VENV)/.dev
	@packaging/need $(POWER_NEEDS)
	@PYTHONPATH=tests unshare -n -m $(BIN)/python -m crash.power --cuts $(CUTS) --seed $(SEED) \
		$(if $(ONLY),--only $(ONLY))

soak: $(VENV)/.dev
	@$(ISOLATED) soak.run --minutes $(MINUTES) --seed $(SEED)

# Node's packages are big, and not for the tree: they are unpacked in build.
DRAWING := build/drawing
DRAWN := tests/monitoring/drawing
INTER := /usr/share/fonts/opentype/inter/Inter-Regular.otf
DRAW_NEEDS := $(TEST_NEEDS) node:nodejs npm:npm $(INTER):fonts-inter \
	chromium-headless-shell:chromium-headless-shell
PICTURES ?= docs/images
PLAYED ?= 180

dashboards: $(VENV)/.dev $(DRAWING)/page.js
	$(BIN)/python grafana/source/generate.py grafana/dashboards
	PYTHONPATH=tests $(BIN)/python -m monitoring.gallery $(DRAWING) $(PICTURES) $(PLAYED)

$(DRAWING)/page.js: $(wildcard $(DRAWN)/*) $(DRAWN)/.npmrc
	@packaging/need $(DRAW_NEEDS)
	mkdir -p $(DRAWING) && cp $^ $(DRAWING)
	cd $(DRAWING) && cmp -s package-lock.json .unpacked || \
		{ npm ci --silent --no-audit --no-fund && cp package-lock.json .unpacked; }
	cd $(DRAWING) && npm run --silent bundle

# After a change of grafana/schema/types.ts, or of the versions beside it.
grafana-schema:
	@packaging/need node:nodejs npm:npm
	mkdir -p build/schema && cp grafana/schema/* grafana/schema/.npmrc build/schema
	cd build/schema && npm ci --silent --no-audit --no-fund && npm run --silent generate
	cp build/schema/grafana.schema.json grafana/schema

# CrowdSec is unpacked, not installed: its package would register with its vendor.
BENCH_NEEDS := $(RUN_NEEDS) curl:curl rg:ripgrep fail2ban-server:fail2ban \
	python-module-pyinotify:python3-pyinotify

bench: $(VENV)/.dev build/crowdsec
	@packaging/need $(BENCH_NEEDS)
	@$(COMPILE)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.run --rounds $(or $(ROUNDS),5) \
		$(if $(ONLY),--only $(ONLY)) $(if $(LONG),--long) $(if $(PAGE),--page)

build/crowdsec:
	@mkdir -p $@.part
	@cd $@.part && apt-get update -qq && apt-get download -qq crowdsec && \
		dpkg-deb -x crowdsec_*.deb . || echo "no package crowdsec: it is left out" >&2
	@mv $@.part $@

guard: $(VENV)/.run
	@$(COMPILE)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.guard

ADDRESSES ?= 5000000
.PHONY: remember

remember: $(VENV)/.dev
	@$(BIN)/python benchmarks/remember.py --addresses $(ADDRESSES)

# Pages that are generated from tables of the program; tests compare.
docs: $(VENV)/.dev
	$(BIN)/python packaging/generate/events_page.py docs
	$(BIN)/python packaging/generate/metrics_page.py docs
	$(BIN)/python packaging/generate/config_example.py docs

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(MAKEFILE_LIST)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@packaging/need $(RUN_NEEDS)
	@echo "making the environment in $(VENV)" >&2
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml $(VENV)/bin/python
	@packaging/need $(RUN_NEEDS)
	@echo "installing the program and what it imports" >&2
	@$(BIN)/pip install -q -e . 2>$(VENV)/pip.log || { cat $(VENV)/pip.log >&2; exit 1; }
	@$(COMPILE)
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing what the tests import" >&2
	@$(BIN)/pip install -q -e '.[dev]' 2>$(VENV)/pip.log || { cat $(VENV)/pip.log >&2; exit 1; }
	@touch $@

# WordPress is unpacked, not installed: its package would configure this host's web server.
WORDPRESS := build/wordpress
WORDPRESS_NEEDS := $(RUN_NEEDS) nginx:nginx-light php:php-cli mariadbd:mariadb-server-core \
	my_print_defaults:mariadb-client-core /usr/sbin/php-fpm*:php-fpm \
	/usr/lib/php/*/mysqli.so:php-mysql /usr/lib/php/*/xml.so:php-xml
.PHONY: wordpress-test

wordpress-test: $(VENV)/.dev $(WORDPRESS)
	@packaging/need $(WORDPRESS_NEEDS)
	$(BIN)/python -m pytest -q tests/wordpress --wordpress=$(WORDPRESS) $(TESTS)

$(WORDPRESS):
	@rm -rf $@.part && mkdir -p $@.part
	@cd $@.part && apt-get update -qq && apt-get download -qq wordpress && \
		dpkg-deb -x wordpress_*.deb . && rm wordpress_*.deb
	@mv $@.part $@

deb:
	@packaging/need dpkg-buildpackage:dpkg-dev
	packaging/build-deb build

SUITES := bookworm trixie

debs: $(VENV)/.dev
	@packaging/need $(BOOT_NEEDS)
	PYTHONPATH=tests $(BIN)/python -m package.boot $(SUITES)

SUITE ?= bookworm
BOOT_NEEDS := debootstrap:debootstrap systemd-nspawn:systemd-container ip:iproute2 \
	nsenter:util-linux nginx:nginx-light curl:curl

boot-test: $(VENV)/.dev
	@packaging/need $(BOOT_NEEDS)
	$(BIN)/python -m pytest -q tests/package --suite=$(SUITE) $(TESTS)

release-check: $(VENV)/.dev
	@packaging/need $(BOOT_NEEDS) piuparts:piuparts qemu-system-x86_64:qemu-system-x86 \
		/usr/share/seabios:seabios mke2fs:e2fsprogs
	set -e; for suite in $(SUITES); do \
		$(BIN)/python -m pytest -q tests/package --suite=$$suite --release; done

SECONDS ?= 600

fuzz: $(VENV)/.fuzz
	$(BIN)/python tests/fuzz/run.py $(SECONDS) $(TARGETS)

fuzz-short: $(VENV)/.fuzz
	$(BIN)/python tests/fuzz/run.py total:30

$(VENV)/.fuzz: $(VENV)/.dev
	@echo "installing the fuzzing engine" >&2
	@$(BIN)/pip install -q -e '.[fuzz]' 2>$(VENV)/pip.log || { cat $(VENV)/pip.log >&2; exit 1; }
	@touch $@

# With the same hashes each time: the order of a set may decide what a test sees.
mutate: $(VENV)/.dev
	@PYTHONHASHSEED=0 PYTHONPATH=tests $(BIN)/python -m mutation.run $(MODULES)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
