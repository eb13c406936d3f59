# make report: from a fresh clone to the finished book. make test: all tests.
# SUITE=smoke make report uses another suite; PYTHON=python3.12 another Python for .venv.

PYTHON ?= python3
SUITE ?= quick
BIN := .venv/bin
INCLUDED := ^\.\./\.gitconfig$$
# JupyterLab asks for it where the user is root, as in containers.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
SHELL := /bin/bash -o pipefail
# uv installs in a fraction of pip's time, and keeps what it has fetched for the next environment.
UV = $(shell command -v uv || echo $(BIN)/uv)
GET_UV = [ -x "$(UV)" ] || $(BIN)/pip install -qq --disable-pip-version-check uv
TORCH ?=
# Side by side, each on a core; tests that share what takes long to make are one group.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadgroup
# A killed installation leaves packages of which files are missing: they lack this one, the last.
FORGET_HALVES = for found in .venv/lib/*/site-packages/*.dist-info; do \
  [ -e "$$found/INSTALLER" ] || rm -rf "$$found"; done
PROSE = README.md $(wildcard book/*.md .github/*.md)
# In a log, without a line for each package.
BRIEF = $(shell [ -t 2 ] || echo "2>&1 | sed '/^ [-+~] /d'")
LOCK = pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command 'make lock'

.PHONY: help install report book lab pdf test test-quick lint stripped prose bench readme lock clean

help:
	@echo "make report   environment, data, the suite '$(SUITE)', the book"
	@echo "make install  the environment alone, in .venv; TORCH=cpu: without what a GPU needs"
	@echo "make book     the book of the recorded runs, without training"
	@echo "make lab      environment, JupyterLab with the templates; LAB=--no-browser: its options"
	@echo "make pdf      the book as book/_build/book.pdf (needs Chromium)"
	@echo "make test     environment, all tests"
	@echo "make test-quick  the tests of the library and the study, about a minute"
	@echo "make lint     static checks"
	@echo "make bench    ratios to plain loops, measured on this machine (an hour); ONLY=SVM: some"
	@echo "make readme   the results in README.md, from the committed records"
	@echo "make lock     pin the newest versions that pyproject.toml allows in requirements.txt"
	@echo "make clean    remove .venv, the built book, checkpoints; runs and data stay"

# Where a run failed (1, but not a wrong command or Ctrl-C), the book is built and shows it.
report: .venv/ready
	@$(BIN)/mlops data
	@$(BIN)/mlops run $(SUITE); failed=$$?; [ $$failed -le 1 ] || exit $$failed; \
	  $(BIN)/mlops report --suite $(SUITE) && exit $$failed

install: .venv/ready

# With the environment of the book alone, unless there is the whole.
book: $(if $(wildcard .venv/ready),,.venv/book)
	@$(BIN)/mlops report

lab: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter" \
	  jupyter lab --LabApp.default_url=/lab/tree/book $(ROOT) $(LAB)

pdf: .venv/ready
	@$(BIN)/mlops report --pdf book/_build/book.pdf

test: .venv/ready
	$(PYTEST)

test-quick: .venv/ready
	$(PYTEST) tests/study tests/test_*.py

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	@$(MAKE) -s stripped
	@$(MAKE) -s prose

prose:
	$(BIN)/codespell $(PROSE) mlops_lib
	$(BIN)/proselint check --config .proselint.json $(PROSE)

# The templates as git would commit them: without outputs.
stripped:
	@for name in q1a q1b q2; do \
	  git show ":book/$$name.ipynb" | $(BIN)/nbstripout --keep-id --verify \
	    || { echo "book/$$name.ipynb is to be committed with outputs"; exit 1; }; done

bench: .venv/ready
	@sed -n '/==/s/ *\\$$//p' requirements.txt > .venv/pins.txt
	$(BIN)/pip install --disable-pip-version-check -q -c .venv/pins.txt -e '.[peers]'
	$(BIN)/mlops data
	$(BIN)/python tests/benchmarks --only '$(ONLY)'

readme: .venv/ready
	$(BIN)/python -m mlops_lib.publish.readme

.venv/ready: requirements.txt pyproject.toml
	@$(MAKE) -s .venv/bin/pip
	@$(FORGET_HALVES)
	@echo "== the environment: fetching 3 GB, once, into .venv (6 GB) =="
ifeq ($(TORCH),cpu)
	@$(GET_UV)
	@$(UV) pip install -p .venv --compile-bytecode --torch-backend cpu --no-verify-hashes -c requirements.txt -e '.[train,contribute,test]'
else
	@$(call install,requirements.txt,--compile-bytecode)
endif
	@[ ! -e .git ] || git config --replace-all include.path ../.gitconfig '$(INCLUDED)' || true
	@touch $@

.venv/book: requirements-book.txt pyproject.toml
	@$(MAKE) -s .venv/bin/pip
	@$(FORGET_HALVES)
	@echo "== the environment of the book alone: fetching 0.2 GB, once, into .venv (0.8 GB) =="
	@$(call install,requirements-book.txt)
	@touch $@

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed: try 'make PYTHON=python3.12 $(MAKECMDGOALS)'"; exit 1; }
	@$(PYTHON) -m venv .venv

define install
$(GET_UV) || echo "uv can't be had: pip takes three times as long"; \
if [ -x "$(UV)" ]; then $(UV) pip install -p .venv $(2) -r $(1) $(BRIEF) && $(UV) pip install -p .venv -q --no-deps -e .; \
  else $(BIN)/pip install --disable-pip-version-check -r $(1) && $(BIN)/pip install -q --no-deps -e .; fi
endef

lock: .venv/bin/pip
	@$(GET_UV)
	$(UV) pip compile $(LOCK) --upgrade --extra train --extra contribute --extra test -o requirements.txt
	$(UV) pip compile $(LOCK) -c requirements.txt -o requirements-book.txt

# Filters need the environment: without it, git takes notebooks as they are.
clean:
	@[ ! -e .git ] || git config --unset include.path '$(INCLUDED)' || true
	rm -rf .venv book/_build .checkpoints
