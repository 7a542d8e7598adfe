# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Part of gpu-kit: results of one or more folders as Markdown, for benchmarks/results/.
[ $# -gt 0 ] || fail 2 "whose results? gpu-kit table OUT..."
for folder in "$@"; do
  [ -f "$folder/env.json" ] || fail 2 "$folder holds no results of gpu-kit run (env.json is not there)"
  [ -f "$folder/bench.jsonl" ] || [ -f "$folder/results.jsonl" ] || fail 2 "$folder holds an env.json and nothing else"
done
for folder in "$@"; do
  inputs=("$folder/env.json")
  for name in results.jsonl bench.jsonl; do [ ! -f "$folder/$name" ] || inputs+=("$folder/$name"); done
  awk -f "$here/gpu-kit.d/table.awk" "${inputs[@]}"
done
