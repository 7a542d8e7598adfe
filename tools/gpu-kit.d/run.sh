# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Part of gpu-kit: checks that kit, LibTorch and card fit, then runs one stage. Every step has its own time limit, and
# its result is appended to OUT as it ends: a stage that is cut off keeps what it had.
#
#   OUT/env.json       the machine
#   OUT/results.jsonl  a line per step: stage, step, status (passed, failed, timeout, skipped), seconds, reason
#   OUT/bench.jsonl    a line per timed row of gpu_bench and its peers
#   OUT/log            what the steps printed

stage_seconds=530
stage=${1:-}
out=${2:-}
case $stage in tests | bench | ncu) ;; *) fail 2 "which stage: tests, bench or ncu? (gpu-kit --help)" ;; esac
[ -n "$out" ] && [[ $out != --* ]] || fail 2 "gpu-kit run $stage needs a folder for its results"
shift 2
commit='' torch='' device=cuda rows=P1,P2,P3,P4,P5,P6,P7,P8,P9,P10,P12
while [ $# -ge 2 ]; do
  case $1 in
    --commit) commit=$2 ;;
    --torch) torch=$2 ;;
    --device) device=$2 ;;
    --rows) rows=$2 ;;
    *) fail 2 "unknown option $1 (gpu-kit --help)" ;;
  esac
  shift 2
done
[ $# -eq 0 ] || fail 2 "what is $1? (gpu-kit --help)"
for row in ${rows//,/ }; do
  [[ $row =~ ^P([1-9]|10|12)$ ]] || fail 2 "there is no row $row: P1 to P10 and P12 are there (docs/gpu-kit.md)"
done

about() { sed -n "s/^$1 //p" "$here/MANIFEST"; }

# ---------------------------------------------------------------- does everything fit?

check_kit() {
  local packed
  packed=$(about commit)
  [ -z "$commit" ] || [[ $packed == "$commit"* && ${packed#"$commit"} != *-changed ]] ||
    fail 2 "this kit is of commit $packed, not of $commit: pack it anew there"
  (cd "$here" && sed -n 's/^sha256 //p' MANIFEST | sha256sum --check --quiet --strict >/dev/null 2>&1) ||
    fail 2 "the kit is damaged: its files are not those of its MANIFEST. Unpack it again"
}

find_torch() {
  [ -n "$torch" ] || torch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null) ||
    fail 2 "python3 has no torch here. --torch DIR names a folder with LibTorch $(about libtorch)"
  [ -f "$torch/lib/libtorch_cpu.so" ] || fail 2 "$torch holds no LibTorch (lib/libtorch_cpu.so is not there)"
  torch=$(cd "$torch" && pwd)
}

torch_version() {
  local header
  for header in torch/headeronly/version.h torch/csrc/api/include/torch/version.h; do
    [ -f "$torch/include/$header" ] || continue
    sed -n 's/^#define TORCH_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9]*\).*/\2/p' "$torch/include/$header" | paste -sd.
    return
  done
}

check_torch() {
  local found wanted
  found=$(torch_version)
  wanted=$(about libtorch)
  [ "${found%.*}" = "${wanted%.*}" ] || fail 2 "$torch is LibTorch ${found:-of unknown version}; this kit was built for $wanted"
  grep -q __cxx11 "$torch/lib/libc10.so" || fail 2 "$torch has the old C++ ABI; this kit was built for the new one"
}

# LD_LIBRARY_PATH comes before the folders of the build machine, which the programs remember.
set_paths() {
  local folders=$here/lib:$torch/lib folder
  callers_library_path=${LD_LIBRARY_PATH:-}
  for folder in "$torch"/../nvidia/*/lib /usr/local/cuda/lib64; do
    [ ! -d "$folder" ] || folders+=:$folder
  done
  export LD_LIBRARY_PATH=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PATH=$here/bin:$here/mpi/bin:$PATH
  export OPAL_PREFIX=$here/mpi OMPI_MCA_plm=isolated OMPI_MCA_btl=self,vader,tcp OMPI_MCA_pml=ob1
}

check_libraries() {
  local missing
  missing=$(ldd "$here"/bin/* "$here/mpi/bin/mpirun" 2>&1 | sed -n -e 's/^[ \t]*\(.*\) => not found.*/\1/p' \
    -e 's/.*\(version .* not found\).*/\1/p' -e 's/.*error while loading shared libraries: //p' |
    sort -u | grep -v '^libcuda\.so' | paste -sd' ' || true)
  [ -z "$missing" ] || fail 2 "missing here: $missing"
}

# Nothing where there is no card or no driver.
smi() { nvidia-smi --query-gpu="$1" --format=csv,noheader,nounits 2>/dev/null || true; }

# One of the build's architectures must serve the card: machine code of its generation, or PTX, in neither case newer.
check_card() {
  local capability architecture number
  capability=$(smi compute_cap | head -1 | tr -d '. ')
  [ -n "$capability" ] || fail 2 "nvidia-smi names a card and no compute capability: is its driver older than this kit's CUDA $(about cuda)?"
  for architecture in $(about architectures); do
    number=${architecture//[!0-9]/}
    [[ $architecture != *-real || ${number%?} == "${capability%?}" ]] || continue
    [ "${number:-0}" -gt "$capability" ] || return 0
  done
  fail 2 "$(smi name | head -1) has compute capability $capability; this kit was built for $(about architectures)"
}

# ---------------------------------------------------------------- results

quoted() { # TEXT: as a JSON string
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "$(tr -s '[:cntrl:]' ' ' <<<"$text" | sed 's/ $//')"
}

write_environment() {
  local separator='{' key value
  while IFS=$'\t' read -r key value; do
    printf '%s%s: %s' "$separator" "$(quoted "$key")" "$(quoted "$value")"
    separator=$',\n '
  done < <(
    printf '%s\t%s\n' commit "$(about commit)" date "$(date -u +%FT%TZ)" \
      card "$(smi name | paste -sd,)" driver "$(smi driver_version | head -1)" \
      capability "$(smi compute_cap | head -1)" memory_mib "$(smi memory.total | head -1)" \
      clocks_mhz "$(smi clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem | head -1)" \
      power_limit_w "$(smi power.limit | head -1)" \
      processor "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" cores "$(getconf _NPROCESSORS_ONLN)" \
      system "$(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r)" \
      glibc "$(ldd --version | head -1 | grep -o '[0-9.]*$')" \
      torch "$(torch_version)" torch_folder "$torch" built_with "$(about compiler), CUDA $(about cuda) for $(about architectures)" \
      nvcc "$(find_nvcc)"
  ) >"$out/env.json"
  printf '}\n' >>"$out/env.json"
}

# record STEP STATUS SECONDS REASON
record() {
  printf '{"stage": %s, "step": %s, "status": %s, "seconds": %s, "reason": %s}\n' \
    "$(quoted "$stage")" "$(quoted "$1")" "$(quoted "$2")" "$3" "$(quoted "$4")" >>"$out/results.jsonl"
  printf '%-9s %-36s %4s s  %s\n' "$2" "$1" "$3" "$4"
  case $2 in failed | timeout) failures=$((failures + 1)) ;; esac
}

# The first lines of a log that say what went wrong.
telling_lines() {
  grep -aE '\[  FAILED  \]|[Ee]rror|Signal: |refused|cannot' "$1" | grep -v 'End of error message' | head -3 | cut -c1-300 || true
}

# step NAME SECONDS COMMAND...: runs it with a time limit, within that of the stage
step() {
  local name=$1 limit=$2 left=$((stage_seconds - SECONDS)) begin=$SECONDS status=0 reason=
  shift 2
  if [ "$left" -lt 5 ]; then
    record "$name" skipped 0 "no time left in this stage"
    return
  fi
  [ "$limit" -le "$left" ] || limit=$left
  printf '\n== %s: %s\n' "$name" "$*" >>"$out/log"
  timeout --kill-after=5 "$limit" "$@" </dev/null >"$out/running.log" 2>&1 || status=$?
  cat "$out/running.log" >>"$out/log"
  [ "$status" = 0 ] || reason=$(telling_lines "$out/running.log")
  rm -f "$out/running.log"
  case $status in
    0) record "$name" passed $((SECONDS - begin)) "" ;;
    124 | 137) record "$name" timeout $((SECONDS - begin)) "stopped after $limit s. $reason" ;;
    *) record "$name" failed $((SECONDS - begin)) "exit code $status. $reason" ;;
  esac
}

skip() { record "$1" skipped 0 "$2"; } # STEP REASON

check_kit
find_torch
check_torch
set_paths
check_libraries
cards=$(smi index | wc -l)
[ "$cards" = 0 ] || check_card
[ "$cards" != 0 ] || [ "$stage" = tests ] || { [ "$stage" = bench ] && [ "$device" = cpu ]; } ||
  fail 2 "nvidia-smi sees no GPU here, and stage $stage needs one (tests runs what needs none)"
mkdir -p "$out"
out=$(cd "$out" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0
SECONDS=0
write_environment
# shellcheck source=/dev/null
source "$here/gpu-kit.d/$stage.sh"
echo "Results: $out"
[ "$failures" = 0 ] || fail 1 "$failures step(s) failed: see $out/results.jsonl and $out/log"
