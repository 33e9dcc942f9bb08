# Every target does its own set-up: Python 3.11 or newer is all a fresh machine needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready-$(shell cat requirements/dev.lock pyproject.toml | cksum | cut -d' ' -f1)
TOOLS  := .tools/bin
OPA_VERSION    := v1.20.2
COSIGN_VERSION := v3.1.2
FULCIO_VERSION := v1.8.8
REKOR_VERSION  := v2.3.0
TSA_VERSION    := v2.1.3
TESSERA_VERSION := v1.0.4
TESTS ?= tests
JOBS  ?= 2
T ?=
UV     := $(or $(shell command -v uv),.tools/uv/bin/uv)
MINORS ?= 3.14 3.16 3.17 3.18

.PHONY: help demo test compat lint format bench docs lock tools clean
help: ## This list.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(READY): requirements/dev.lock pyproject.toml
	@echo "setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.ready-*; touch $@

demo: $(READY) ## The whole story on a governed server of its own; KEEP=1 leaves it running.
	@$(BIN)/python examples/demo.py $(if $(KEEP),--keep)

test: $(READY) ## The test suite. Narrow it: make test TESTS=tests/unit/ledger T=tampered
	@PATH="$(CURDIR)/$(TOOLS):$$PATH" $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
	  $(TESTS) $(if $(T),-k $(T))

compat: $(MINORS:%=compat-%) ## Each MLflow minor we support; narrow it: make compat MINORS=3.14

compat-%: .tools/mlflow-%/.ready
	@echo "mlflow $*"
	@.tools/mlflow-$*/bin/python -m pytest -q -p no:cacheprovider tests/contract/mlflow \
	  tests/unit/plugin/test_routes.py tests/unit/plugin/test_methods.py

.PRECIOUS: .tools/mlflow-%/.ready
.tools/mlflow-%/.ready: requirements/mlflow-%.lock pyproject.toml | $(UV)
	@$(UV) venv --quiet --clear --python $(PYTHON) $(@D)
	@$(UV) pip sync --quiet --require-hashes --python $(@D) $<
	@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(@D) -e .
	@touch $@

.tools/uv/bin/uv: requirements/uv.lock
	@$(PYTHON) -m venv .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

lint: $(READY) ## Style, types, import rules.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## Mend what can be mended by a program.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY) ## Figures beside stock MLflow and the physical limits.
	@$(BIN)/python -m benchmarks

docs: $(READY) ## Write the reference pages from the code.
	@$(BIN)/python docs/reference.py

COMPILE = $(UV) pip compile --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header --quiet

lock: $(MINORS:%=lock-%) ## Renew every requirements/*.lock.
	$(COMPILE) --extra auth --extra aws --extra hsm --extra opa --extra postgresql --extra vault \
	  --group test --group lint --group build pyproject.toml -o requirements/dev.lock
	echo uv | $(COMPILE) - -o requirements/uv.lock

lock-%: | $(UV)
	echo 'mlflow[auth]==$*.*' | $(COMPILE) --extra auth pyproject.toml requirements/compat.in - \
	  $(if $(wildcard requirements/mlflow-$*.override),--override requirements/mlflow-$*.override \
	  --no-emit-package mlflow-skinny --no-emit-package mlflow-tracing) -o requirements/mlflow-$*.lock

SIGSTORE := $(TOOLS)/cosign $(TOOLS)/fulcio $(TOOLS)/rekor-server-posix $(TOOLS)/timestamp-server
tools: $(TOOLS)/opa $(SIGSTORE) $(TOOLS)/tlog-fsck ## Real opa, Sigstore and fsck, built with Go at pinned versions.

$(TOOLS)/opa:
	GOBIN="$(CURDIR)/$(TOOLS)" go install github.com/open-policy-agent/opa@$(OPA_VERSION)

$(TOOLS)/cosign:
	GOBIN="$(CURDIR)/$(TOOLS)" go install github.com/sigstore/cosign/v3/cmd/cosign@$(COSIGN_VERSION)

$(TOOLS)/fulcio:
	GOBIN="$(CURDIR)/$(TOOLS)" go install github.com/sigstore/fulcio@$(FULCIO_VERSION)

# The command is called posix, after its storage.
$(TOOLS)/rekor-server-posix:
	GOBIN="$(CURDIR)/$(TOOLS)/rekor" go install github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@$(REKOR_VERSION)
	mv $(TOOLS)/rekor/posix $@ && rmdir $(TOOLS)/rekor

$(TOOLS)/timestamp-server:
	GOBIN="$(CURDIR)/$(TOOLS)" go install github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server@$(TSA_VERSION)

# The command is called fsck, which is another program on every Linux: never the one to run here.
$(TOOLS)/tlog-fsck:
	GOBIN="$(CURDIR)/$(TOOLS)/tessera" go install github.com/transparency-dev/tessera/cmd/fsck@$(TESSERA_VERSION)
	mv $(TOOLS)/tessera/fsck $@ && rmdir $(TOOLS)/tessera

clean: ## Forget the virtual environment and every cache.
	rm -rf $(VENV) .tools build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
