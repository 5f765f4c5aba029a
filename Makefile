# Each target does its own set-up: a fresh machine needs Python 3.11+ and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install demo test test-faults check check-deploy check-image bench bench-kafka bench-letter bench-recovery bench-detection bench-latency clean
help:  ## what can be run
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "distilwatch needs Python 3.11 or newer; set PYTHON=/path/to/python3.11 and run make again"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install -q -c constraints.txt -e '.[test,bench]'
	@touch $@

install: $(VENV)/.installed  ## create .venv with the command distilwatch

demo: install  ## two simulated days with a campaign inside, found live in a local console
	$(BIN)/distilwatch demo

test: install  ## the whole suite, on real Kafka and Redis it starts itself
	@$(BIN)/python -m tests.servers || true  # names what is missing; the tests then skip, or fail in CI
	$(BIN)/python -m pytest

test-faults: install  ## the long faults on real Kafka, Redis and processes; seed and verdict per row
	$(BIN)/python -m pytest -m "row or faults"

check: install  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check-deploy: install  ## compose file and manifests against the schemas of Docker Compose and Kubernetes
	$(BIN)/pip install -q -c constraints.txt -e '.[deploy]'
	$(BIN)/python -m pytest tests/docker

check-image: install  ## the image built with buildah, as root on Debian, and each process run in it; some minutes
	$(BIN)/python -m pytest tests/docker/test_image.py -m image

bench: install  ## every figure in README and docs, beside its peer; non-zero on a breach
	$(BIN)/python -m bench

bench-kafka: install  ## a worker and two on real Kafka, beside Faust, Quix Streams and Bytewax
	$(BIN)/python -m bench kafka

DAYS ?= 45
bench-letter: install  ## the letter at full size, 294 million events; DAYS=1 runs its first day
	$(BIN)/python -m bench.letter --days $(DAYS)

bench-recovery: install  ## kill -9 to processing again with a million accounts, on real Kafka
	$(BIN)/python -m bench recovery

bench-latency: install  ## event to signal in Redis and to alert, at 10,000 events a second over Kafka; three minutes
	$(BIN)/python -m bench.latency

bench-detection: install  ## every mark of detection, five seeds each, and docs/plots; about an hour on two cores
	$(BIN)/python -m bench.detection --marks --plots

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache
