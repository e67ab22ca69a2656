# SPDX-License-Identifier: GPL-2.0
# From a bare Debian machine to tests in an emulated one; "make help" says what
# there is. The modules themselves are described in Kbuild.

.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory

TOP := $(CURDIR)
VARIABLES := FLAVOUR DEBUG SUITE SEED ROUNDS SLOW INPUT V KDIR MACHINE BENCH

# A misspelt variable would silently do nothing.
$(foreach v,$(.VARIABLES),$(if $(filter command line,$(origin $v)),\
	$(if $(filter $v,$(VARIABLES) HLRS_CACHE MAKEFLAGS DESTDIR CC LLVM MAKEOVERRIDES),,\
	$(error unknown variable '$v'; "make help" lists those that exist))))

ifdef DEBUG
ifneq ($(filter-out 0 1,$(DEBUG)),)
$(error DEBUG must be 0 or 1, not '$(DEBUG)')
endif
FLAVOUR ?= $(if $(filter 1,$(DEBUG)),debug,release)
endif
ifdef FLAVOUR
ifeq ($(filter release debug,$(FLAVOUR)),)
$(error FLAVOUR must be release or debug, not '$(FLAVOUR)')
endif
endif
export HLRS_CACHE

# What a user gives is passed in the environment, so that no character of it
# is ever read by a shell as code.
export FLAVOUR SUITE SEED ROUNDS SLOW INPUT V KDIR MACHINE BENCH DESTDIR

.PHONY: help env demo test soak bench shell check modules install clean distclean

help:
	@sed -n 's/^#: //p' Makefile

#: Targets
#:   make demo [INPUT=file]     move a file through two emulated accelerators
#:   make test                  all tests, in a guest with the debug kernel
#:   make test SUITE=a[,b]      some suites; names are in tests/suites
#:   make soak                  the long versions of repeated and random tests
#:   make bench [BENCH=a,b]     microbenchmarks; also writes build/bench.json
#:   make shell [MACHINE=name]  an interactive guest, modules loaded
#:   make check                 linters and style checks
#:   make modules KDIR=dir      modules for another kernel build tree
#:   make install KDIR=dir      install these (as root; DESTDIR= is honoured)
#:   make env                   only fetch and build the environment
#:   make clean                 remove build/
#:   make distclean             remove build/ and the cache as well
#: Variables
#:   FLAVOUR=release|debug      guest kernel of test, soak and shell
#:   SEED=n ROUNDS=n            for random and repeated tests; ROUNDS also for bench
#:   SLOW=n                     multiply all time limits, for a slow or busy machine
#:   V=1                        print each test
#:   HLRS_CACHE=dir             the cache; default ~/.cache/hlrs

env demo test soak bench shell check modules install clean distclean:
	@tools/make $@
