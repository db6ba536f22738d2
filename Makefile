# A thin front: each target is one script. What they do, and what else they can, their --help says.
#
#   make demo        everything from nothing to events on real footage (DEMO_SECONDS=60 ends it)
#   make test        every test; the last line is 'N passed, N failed'

BUILD ?= build
DESTDIR ?=
SNAPSHOTD = $(BUILD)/src/app/snapshotd

.DEFAULT_GOAL := build
.PHONY: help demo run build test bench accuracy lint fuzz install clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## installs, builds and shows the whole program on real footage
	@tools/setup demo
	@$(MAKE) --no-print-directory compile
	@tools/demo

run: compile ## the daemon in the foreground, with its defaults or ARGS="-c FILE"
	@tools/setup model
	@$(SNAPSHOTD) run $(ARGS)

build: compile ## the program, as build/src/app/snapshotd

test: ## every test
	@tools/setup test
	@SNAPSHOT_SET_UP=$(if $(filter 1,$(SNAPSHOT_SKIP_PACKAGES)),0,1) tests/run

bench: compile ## speed and memory, as ratios
	@tools/setup bench
	@bench/run $(ARGS)

accuracy: compile ## average precision of the models over labelled pictures
	@tools/setup test
	@bench/accuracy $(ARGS) || [ $$? = 77 ] # which says that there are no pictures

lint: ## layers, banned calls, format
	@tools/lint

fuzz: ## the fuzz targets, FUZZ_SECONDS each
	@tools/setup test
	@fuzz/run

install: compile ## into the system, or below DESTDIR
	@tools/setup model
	@meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir "$(abspath $(DESTDIR))")

clean: ## removes what was built (not what was downloaded)
	@rm -rf build build-*

# The program alone: a newcomer need not wait for tests that he does not run.
.PHONY: compile
compile:
	@tools/setup build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD)
	@ninja -C $(BUILD) src/app/snapshotd
