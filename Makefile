# make demo   set up, then train, score and export on real data
# make test   set up, then run the quick tests
# make thorough  tests on further families, kinds and pages; whole runs of scripts; other processes, kills, full disks
# make lint   ruff, and mypy on the package
# make models trains, exports and checks the models of saved_models/ again, then puts them in their places
# make bench  speed and memory beside peers, which get an environment of their own; BENCH=--quick to see that it runs
# make scale  memory and seconds of training and scoring 10 million streamed rows, with a figure
# make peers  the environment of the peers alone, for their rows in the tables of trainers/reproduce/tables.py
# make docs   the documentation site, as HTML in outputs/docs
# make venv   set up only
# make matrix the tests on each TensorFlow in an environment of its own, and a table of what passed; MEMBERS=3.12:2.17
# PYTHON=... chooses the interpreter (3.9 to 3.13), TF=... the TensorFlow (2.14 to 2.21), in an environment of its own
PYTHON ?= $(firstword $(foreach v,3.11 3.10 3.9 3.12 3.13,$(shell python$(v) -c 'print("python$(v)")' 2>/dev/null)) python3)
VENV := .venv$(addprefix -,$(TF))
TF ?= $(shell $(PYTHON) -c 'import sys; print({12: "2.17", 13: "2.21"}.get(sys.version_info[1], "2.14"))')
# on 2.14 tensorflow-compression's own wheel, elsewhere the same without its pins
COMPRESSION := $(if $(filter 2.14,$(TF)),,./stack/tensorflow_compression)
BIN := $(VENV)/bin
PEERS := .venv-peers

.PHONY: demo test thorough lint models bench scale peers docs venv matrix clean

demo: venv
	$(BIN)/python trainers/demo.py

test: venv
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow and not thorough"

thorough: venv
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "thorough and not slow"

models: venv
	rm -rf outputs/exports
	$(BIN)/python trainers/train_tabular.py --dataset thyroid --out outputs/models/thyroid --overwrite --export outputs/exports/thyroid
	$(BIN)/python trainers/train_toy.py --out outputs/models/toy --overwrite --export outputs/exports/toy
	$(BIN)/python trainers/train_images.py --dataset mnist --out outputs/models/mnist --overwrite --export outputs/exports/mnist
	for model in thyroid toy mnist; do $(BIN)/python -m tf_radogaga.serving check outputs/exports/$$model || exit 1; done
	for model in thyroid toy mnist; do rm -rf saved_models/$$model/1 && mv outputs/exports/$$model/1 saved_models/$$model/; done

bench: venv $(PEERS)/.done
	$(BIN)/python tests/benchmarks/bench.py --peers-python $(PEERS)/bin/python $(BENCH)

scale: venv
	$(BIN)/python tests/benchmarks/bench_scale.py $(BENCH)

docs: venv
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

venv: $(VENV)/.done

# the stamp is written last, so an interrupted set-up is done again
$(VENV)/.done: pyproject.toml setup.py stack/tensorflow_compression/repack.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 9) <= v <= (3, 13) else "Python 3.9 to 3.13 is needed, $(PYTHON) is %d.%d; give another: make PYTHON=python3.11" % v)'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make environments; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(COMPRESSION) -e '.[dev,tf$(subst .,,$(TF))]'
	touch $@

matrix:
	$(PYTHON) stack/matrix.py $(MEMBERS)

peers: $(PEERS)/.done

$(PEERS)/.done: tests/benchmarks/peers.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) outputs build *.egg-info
