# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# Shared by setup, quickstart and test; to be sourced.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/release
deps=${BUNCHTRAIN_DEPS:-$root/.deps}
export BUNCHTRAIN_DEPS=$deps

# mpirun refuses root, and more ranks than cores, unless told that this is meant.
export OMPI_MCA_rmaps_base_oversubscribe=1
if [ "$(id -u)" = 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

step() { printf '\n== %s\n' "$*"; }

# fail STATUS MESSAGE...
fail() {
  local status=$1
  shift
  printf 'error: %s\n' "$*" >&2
  exit "$status"
}

# The comment block at the top of a script is its help text.
usage() { awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

# An nvcc, or nothing: named by the user, in the PATH, in a usual place, or fetched by setup.
find_nvcc() {
  local candidate
  for candidate in "${CUDACXX:-}" "$(command -v nvcc)" "${CUDA_HOME:-}/bin/nvcc" "${CUDA_PATH:-}/bin/nvcc" \
    /usr/local/cuda/bin/nvcc "$deps/nvidia/cu13/bin/nvcc"; do
    if [ -x "$candidate" ]; then
      printf '%s\n' "$candidate"
      return
    fi
  done
}

# find_cuda_tool NAME: a program beside nvcc, in the PATH or in BUNCHTRAIN_CUDA_TOOLS, a folder; or nothing.
find_cuda_tool() {
  local candidate
  for candidate in "${BUNCHTRAIN_CUDA_TOOLS:-}/$1" "$(dirname "$(find_nvcc)")/$1" "$(command -v "$1")" /usr/local/cuda/bin/"$1" "$deps/nvidia/cu13/bin/$1"; do
    if [ -x "$candidate" ] && [ -f "$candidate" ]; then
      printf '%s\n' "$candidate"
      return
    fi
  done
}

# Compilers of LibTorch sources need up to 1.5 GB each.
parallel_jobs() {
  local cores memory_jobs
  cores=$(nproc)
  memory_jobs=$(awk '/^MemAvailable/ { print int($2 / 1500000) }' /proc/meminfo)
  [ "$memory_jobs" -ge 1 ] || memory_jobs=1
  [ "$cores" -le "$memory_jobs" ] && echo "$cores" || echo "$memory_jobs"
}

# configure_release CHOICE [CMAKE ARGUMENT...]: CHOICE is auto, cpu or gpu.
configure_release() {
  local cuda=AUTO
  case $1 in
    cpu) cuda=OFF ;;
    gpu) cuda=ON ;;
  esac
  shift
  (cd "$root" && cmake --preset release -DBUNCHTRAIN_CUDA=$cuda "$@")
}
