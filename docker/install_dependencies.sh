#!/bin/sh
# Installs the pinned libraries into a new virtual environment, in one step so that they make one image layer.
#   install_dependencies.sh VENV FILES      FILES is a folder that may hold wheels and ca.pem
# Reads TORCH_BACKEND and EXTRAS from the environment; docker/Dockerfile says what they mean.
set -eu
venv=$1
files=$2

if [ -f "$files/ca.pem" ]; then export SSL_CERT_FILE="$files/ca.pem"; fi
uv venv --quiet --python /usr/bin/python3 "$venv"

set -- --quiet --python "$venv" --constraint constraints.txt --find-links "$files"
# Wheels at hand win over PyTorch's own index, which may be out of reach.
if [ "$TORCH_BACKEND" != index ] && [ -z "$(find "$files" -name 'torch-*.whl')" ]; then
    set -- "$@" --torch-backend "$TORCH_BACKEND"
fi
without=$(mktemp)
echo sentence-transformers >"$without" # the default text encoder's weights ask for it; reading them needs transformers only
for extra in $EXTRAS; do
    set -- "$@" --extra "$extra"
    case $extra in
        gpu) echo faiss-cpu >>"$without" ;; # both own the folder faiss/
        gritlm) gritlm=yes && sed -i /sentence-transformers/d "$without" ;;
        sentence-transformers) sed -i /sentence-transformers/d "$without" ;;
    esac
done
uv pip install "$@" --excludes "$without" --requirement pyproject.toml
if [ "${gritlm:-}" = yes ]; then
    uv pip install --quiet --python "$venv" --no-deps gritlm==1.0.2 # its metadata asks for 2 GB that embedding never uses
fi

if [ "$TORCH_BACKEND" = cpu ]; then
    "$venv/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda and "torch carries CUDA, which a CPU image must not")'
fi

# What compilers and torch's own tests need.
for torch in "$venv"/lib/python3.*/site-packages/torch; do
    find "$torch/bin" -type f ! -name torch_shm_manager -delete
    rm -rf "$torch/include" "$torch/test" "$without"
done
