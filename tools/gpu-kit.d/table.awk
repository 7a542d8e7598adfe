# SPDX-License-Identifier: Apache-2.0
# Part of gpu-kit: env.json, results.jsonl and bench.jsonl, all of flat objects, as Markdown. Lines that were cut off are left out.

# The keys and values of a flat JSON object, into field[].
function parse(text,    key, value) {
  delete field
  while (match(text, /"[^"]*": *("([^"\\]|\\.)*"|[-+0-9.eE]+|null)/)) {
    value = substr(text, RSTART, RLENGTH)
    text = substr(text, RSTART + RLENGTH)
    match(value, /^"[^"]*"/)
    key = substr(value, 2, RLENGTH - 2)
    sub(/^"[^"]*": */, "", value)
    if (value ~ /^"/) {
      value = substr(value, 2, length(value) - 2)
      gsub(/\\"/, "\"", value)
      gsub(/\\\\/, "\\", value)
    }
    field[key] = value
  }
}

function remember(list, value) {
  if (!((list, value) in seen)) { seen[list, value] = 1; names[list, ++count[list]] = value }
}

# Median of a list of numbers in one string.
function median(text,    n, values, i, j, swap) {
  n = split(text, values, " ")
  for (i = 2; i <= n; i++)
    for (j = i; j > 1 && values[j - 1] + 0 > values[j] + 0; j--) { swap = values[j]; values[j] = values[j - 1]; values[j - 1] = swap }
  return n % 2 ? values[(n + 1) / 2] + 0 : (values[n / 2] + values[n / 2 + 1]) / 2
}

function number(value) { return value >= 100 ? sprintf("%.0f", value) : value >= 1 ? sprintf("%.2f", value) : sprintf("%.4f", value) }

function cell(text) { gsub(/\|/, "/", text); return text }

FILENAME ~ /env\.json$/ { environment = environment $0; next }
!/^\{.*\}$/ { next }
FILENAME ~ /results\.jsonl$/ {
  parse($0)
  statuses[field["status"]]++
  if (field["status"] != "passed") notes[++num_notes] = "| " field["step"] " | " field["status"] " | " cell(field["reason"]) " |"
  next
}
{
  parse($0)
  device = field["device"]
  key = field["row"] " | " field["case"] " | " field["precision"]
  remember("rows", key)
  remember("whos", field["who"])
  if ("error" in field) { errors[++num_errors] = "* " key ", " field["who"] ": " field["error"]; next }
  value = ("exposed_ms" in field) ? field["exposed_ms"] : field["median_ms"]
  times[key, field["who"]] = times[key, field["who"]] " " value
  lows[key, field["who"]] = lows[key, field["who"]] " " field["low_ms"]
  highs[key, field["who"]] = highs[key, field["who"]] " " field["high_ms"]
  spread[key, field["who"]] = !("exposed_ms" in field)
}

END {
  parse(environment)
  printf "## %s\n\n", field["card"] != "" ? field["card"] : "no GPU: " field["processor"]
  printf "%s; driver %s; clocks (SM, memory, most SM, most memory) %s MHz; %s, %s cores; %s; LibTorch %s; kit of commit %s, %s; %s.\n\nCommand: `%s OUT`", \
    field["card"] != "" ? field["card"] : "no GPU", field["driver"] != "" ? field["driver"] : "none", field["clocks_mhz"] != "" ? field["clocks_mhz"] : "-", \
    field["processor"], field["cores"], field["system"], field["torch"], field["commit"], field["built_with"], field["date"], field["command"]
  if (device != "") printf "; measured on: %s", device
  printf "\n"
  if (count["rows"]) {
    printf "\nMedians of the rounds in ms, with the tenths beyond which 10 %% of the repetitions lie; P4: what synchronisation and update add.\n\n"
    printf "| row | case | precision |"
    for (w = 1; w <= count["whos"]; w++) printf " %s |", names["whos", w]
    printf " best peer / bunchtrain |\n| --- | --- | --- |"
    for (w = 0; w <= count["whos"]; w++) printf " --- |"
    printf "\n"
    for (r = 1; r <= count["rows"]; r++) {
      key = names["rows", r]
      printf "| %s |", key
      best = 0
      for (w = 1; w <= count["whos"]; w++) {
        who = names["whos", w]
        if (!((key, who) in times)) { printf " - |"; continue }
        value = median(times[key, who])
        printf " %s", number(value)
        if (spread[key, who]) printf " (%s to %s)", number(median(lows[key, who])), number(median(highs[key, who]))
        printf " |"
        if (who != "bunchtrain" && (best == 0 || value < best)) best = value
      }
      ours = ((key, "bunchtrain") in times) ? median(times[key, "bunchtrain"]) : 0
      printf " %s |\n", best > 0 && ours > 0 ? sprintf("%.2f", best / ours) : "-"
    }
  }
  if (num_errors) { printf "\nFailed rows:\n\n"; for (i = 1; i <= num_errors; i++) print errors[i] }
  printf "\nSteps: %d passed, %d failed, %d timed out, %d skipped.\n", statuses["passed"], statuses["failed"], statuses["timeout"], statuses["skipped"]
  if (num_notes) { printf "\n| step | status | reason |\n| --- | --- | --- |\n"; for (i = 1; i <= num_notes; i++) print notes[i] }
  printf "\n"
}
