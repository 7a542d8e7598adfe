# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Part of gpu-kit: the test programs, short trainings, and the kernels under compute-sanitizer.

# Two NCCL ranks on one card pass for two machines: see the comments on NCCL_HOSTID in docs/gpu-kit.md.
two_on_one_card=(env NCCL_SOCKET_IFNAME=lo NCCL_IB_DISABLE=1 NCCL_NVLS_ENABLE=0 NCCL_MAX_CTAS=2 NCCL_RAS_ENABLE=0
  CUDA_MODULE_LOADING=EAGER mpirun --bind-to none)
# Of several ranks the first one reports.
# shellcheck disable=SC2016  # expanded by each rank
as_a_host=(sh -c '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || unset GTEST_OUTPUT; NCCL_HOSTID=rank$OMPI_COMM_WORLD_RANK exec "$@"' rank)

# on_ranks N PROGRAM ARGUMENT...: prints the command, a word per line
on_ranks() {
  local ranks=$1
  shift
  if [ "$ranks" = 0 ]; then printf '%s\n' "$@"; else printf '%s\n' "${two_on_one_card[@]}" -n "$ranks" "${as_a_host[@]}" "$@"; fi
}

test_programs() {
  local name needs ranks seconds program settings command names=()
  while read -r name needs ranks seconds program settings; do
    if [ "$needs" = gpu ] && [ "$cards" = 0 ]; then
      skip "$name" "no GPU"
      continue
    fi
    # shellcheck disable=SC2086  # NAME=value words
    mapfile -t command < <(on_ranks "$ranks" env $settings "$here/bin/$program")
    GTEST_OUTPUT=xml:$out/xml/$name.xml step "$name" "$seconds" "${command[@]}"
    names+=("$name")
  done <"$here/tests.txt"
  merge_xml "${names[@]}" >"$out/tests.xml"
  rm -rf "$out/xml"
}

# merge_xml NAME...: the reports of all programs as one; a program without a report, killed or never started, has failed
merge_xml() {
  local name
  for name in "$@"; do
    if [ -f "$out/xml/$name.xml" ]; then
      sed "s/<testsuite name=\"/&$name: /" "$out/xml/$name.xml"
    else
      printf '<testsuites tests="1" failures="1" disabled="0" errors="0">\n'
      printf '  <testsuite name="%s" tests="1" failures="1" disabled="0" errors="0">\n' "$name"
      printf '    <testcase name="program" classname="%s"><failure message="it left no report: see log"/></testcase>\n  </testsuite>\n</testsuites>\n' "$name"
    fi
  done | awk '
    function number(key) { return match($0, " " key "=\"[0-9]+") ? substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) : 0 }
    /^<\?xml/ || /^<\/testsuites>/ { next }
    /^<testsuites / { for (i in keys) total[i] += number(keys[i]); next }
    { lines = lines $0 "\n" }
    BEGIN { split("tests failures disabled errors", keys, " ") }
    END {
      printf "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"gpu-kit\""
      for (i = 1; i <= 4; i++) printf " %s=\"%d\"", keys[i], total[i]
      printf ">\n%s</testsuites>\n", lines
    }'
}

# train NAME SECONDS RANKS OPTION...: three steps on toy jets
train() {
  local name=$1 seconds=$2 ranks=$3 command
  shift 3
  mapfile -t command < <(on_ranks "$ranks" train_particlenet --data "$scratch/jets.h5" --particles 16 --batch 32 --max-steps 3 \
    --run "$scratch/$name" --loader-threads 1 "$@")
  step "$name" "$seconds" "${command[@]}"
}

trainings() {
  step generate.jets 60 bunchtrain generate jets --count 400 --seed 1 --particles 16 --out "$scratch/jets.h5"
  train train.cpu.np1 60 1 --device cpu
  train train.cpu.np2 60 2 --device cpu
  step evaluate.cpu 60 bunchtrain evaluate --run "$scratch/train.cpu.np2" --data "$scratch/jets.h5" --device cpu
  if [ "$cards" = 0 ]; then
    for name in train.cuda.nccl.np1 train.cuda.nccl.np2 train.cuda.mpi.np2; do skip "$name" "no GPU"; done
    return
  fi
  train train.cuda.nccl.np1 90 1 --device cuda --backend nccl --sync-batch-norm
  train train.cuda.nccl.np2 120 2 --device cuda --backend nccl --sync-batch-norm
  train train.cuda.mpi.np2 90 2 --device cuda --backend mpi --sync-batch-norm
}

# LibTorch's allocator would hide overruns: its caching is off. Only our kernels are looked at.
sanitizer() {
  local tool program tested filter=()
  program=$(command -v compute-sanitizer || true)
  for tool in memcheck racecheck synccheck initcheck; do
    if [ "$cards" = 0 ]; then skip "sanitizer.$tool" "no GPU"; continue; fi
    if [ -z "$program" ]; then skip "sanitizer.$tool" "compute-sanitizer is not here"; continue; fi
    [[ $("$program" --help) != *--kernel-regex* ]] || filter=(--kernel-regex kns=bunchtrain)
    for tested in ops nn; do
      step "sanitizer.$tool.$tested" 60 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$program" --tool "$tool" --error-exitcode 86 \
        "${filter[@]}" "$here/bin/${tested}_gpu_test"
    done
  done
}

test_programs
trainings
sanitizer
