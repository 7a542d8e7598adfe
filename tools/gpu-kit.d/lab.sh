# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Part of gpu-kit: compiles one raw-pointer .cu, and the sources that it names, without LibTorch, and times its variants.
#
# A lab file holds a main() on benchmarks/gpu/lab/lab.cuh and lines "// sources: src/ops/knn/cuda/knn.cu" with the kernels
# that it calls. Each argument after it is a variant: flags of nvcc, as one word ("-DTILE=64 -maxrregcount=96").

sources=$root
[ ! -f "$here/MANIFEST" ] || sources=$here/src
file=${1:-}
[ -n "$file" ] || fail 2 "which file? $(ls "$sources/benchmarks/gpu/lab" | sed -n 's/\.cu$//p' | paste -sd' ') are there, or a .cu of yours"
[ -f "$file" ] || file=$sources/benchmarks/gpu/lab/$file.cu
[ -f "$file" ] || fail 2 "$1 is neither a file nor one of $sources/benchmarks/gpu/lab"
shift
[ $# -gt 0 ] || set -- ""

nvcc=$(find_nvcc)
[ -n "$nvcc" ] || fail 2 "no nvcc here: CUDACXX names one"
architecture=sm_90
card=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d '. ' || true)
[ -z "$card" ] || architecture=sm_$card

lab_folder=$(mktemp -d)
trap 'rm -rf "$lab_folder"' EXIT
mapfile -t kernels < <(sed -n 's#^// sources: ##p' "$file" | tr ' ' '\n' | sed "s#^#$sources/#")
for variant in "$@"; do
  # shellcheck disable=SC2086  # flags of the compiler
  "$nvcc" -O3 -std=c++20 -lineinfo -arch="$architecture" $variant -I "$sources/include" -I "$sources/src/ops" -I "$sources" \
    "$file" "${kernels[@]}" -o "$lab_folder/program" || fail 1 "$(basename "$file") does not compile with: ${variant:-no flags}"
  if [ -z "$card" ]; then
    echo "$(basename "$file") compiles for $architecture with ${variant:-no flags}; no GPU here: not timed."
  else
    LAB_VARIANT=$variant "$lab_folder/program"
  fi
done
