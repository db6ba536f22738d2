# A thin front: each target is one script. What they do, and what else they can, their --help says.
#
#   make demo        everything from nothing to events on real footage (DEMO_SECONDS=60 ends it)
#   make test        every test; the last line is 'N passed, N failed'
#
# datadir, configure, build, run, rund and push are the predecessor's tasks. There build and run mean a
# container; here they do with CONTAINER=1, and without it they mean the program itself.

BUILD ?= build
DESTDIR ?=
CONTAINER ?=
SNAPSHOTD = $(BUILD)/src/app/snapshotd

.DEFAULT_GOAL := build
.PHONY: help demo datadir configure build image run rund push test bench accuracy screenshots lint fuzz deb \
	install clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## installs, builds and shows the whole program on real footage
	@tools/setup demo
	@$(MAKE) --no-print-directory compile
	@tools/demo

ifeq ($(CONTAINER),1)
build: image
run: datadir image
	@tools/container run
else
build: compile ## the program, as build/src/app/snapshotd; CONTAINER=1: the image
run: compile ## the daemon in the foreground, with its defaults or ARGS="-c FILE"; CONTAINER=1: in one
	@tools/setup model
	@$(SNAPSHOTD) run $(ARGS)
endif

datadir: ## ./data and .env for the container
	@tools/container datadir

configure: compile ## .env from 1Password (ARGS for snapshotd configure)
	@$(SNAPSHOTD) configure $(ARGS)

image: ## the container's image
	@tools/container build

rund: datadir image ## the container in the background
	@tools/container rund

push: image ## the image to its registry
	@tools/container push

test: ## every test
	@tools/setup test
	@SNAPSHOT_SET_UP=$(if $(filter 1,$(SNAPSHOT_SKIP_PACKAGES)),0,1) tests/run

bench: compile ## speed and memory, as ratios
	@tools/setup bench
	@bench/run $(ARGS)

accuracy: compile ## average precision of the models over labelled pictures
	@tools/setup test
	@bench/accuracy $(ARGS) || [ $$? = 77 ] # which says that there are no pictures

screenshots: compile ## doc/screenshots: the pages in a browser, on real footage
	@tools/setup web
	@/usr/bin/python3 tests/web/screenshots.py

lint: ## layers, banned calls, format
	@tools/lint

fuzz: ## the fuzz targets, FUZZ_SECONDS each
	@tools/setup test
	@fuzz/run

deb: ## the Debian package, in build-deb/
	@tools/deb

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
	@ninja -C $(BUILD) installed
