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

# Lists without repetitions: of rows, and of a row's cases and contestants.
function remember(list, row, value) {
  if (!((list, row, value) in seen)) {
    seen[list, row, value] = 1
    names[list, row, ++count[list, row]] = value
  }
}

# Median of a list of numbers in one string.
function median(text,    n, values, i, j, swap) {
  n = split(text, values, " ")
  for (i = 2; i <= n; i++)
    for (j = i; j > 1 && values[j - 1] + 0 > values[j] + 0; j--) { swap = values[j]; values[j] = values[j - 1]; values[j - 1] = swap }
  return n % 2 ? values[(n + 1) / 2] + 0 : (values[n / 2] + values[n / 2 + 1]) / 2
}

function number(value,    size) {
  size = value < 0 ? -value : value
  return size >= 100 ? sprintf("%.0f", value) : size >= 1 ? sprintf("%.2f", value) : sprintf("%.4f", value)
}

function cell(text) { gsub(/\|/, "/", text); return text }

function or_else(text, other) { return text != "" ? text : other }

# Median, and between which numbers most repetitions lie, unless it is a difference.
function time_of(key, who) {
  if (!((key, who) in times)) return "-"
  if (!((key, who) in lows)) return number(median(times[key, who]))
  return sprintf("%s (%s to %s)", number(median(times[key, who])), number(median(lows[key, who])), number(median(highs[key, who])))
}

# The least time of ours or of the peers, 0 if there is none; whose it is in `fastest`.
function best_of(row, key, ours,    w, who, value, best) {
  fastest = ""
  for (w = 1; w <= count["who", row]; w++) {
    who = names["who", row, w]
    if ((who ~ /^bunchtrain/) != ours || !((key, who) in times)) continue
    value = median(times[key, who])
    if (fastest != "" && value >= best) continue
    best = value
    fastest = who
  }
  return best + 0
}

# How many times longer the best peer takes than we do.
function ratio(row, key,    own, other) {
  own = best_of(row, key, 1)
  other = best_of(row, key, 0)
  return (own > 0 && other > 0) ? sprintf("%.2f", other / own) : "-"
}

# What we do in a second, or a peer does if we have no such row.
function rate(row, key,    value, prefix) {
  if (!best_of(row, key, 1)) best_of(row, key, 0)
  if (!((key, fastest) in rates)) return "-"
  value = median(rates[key, fastest])
  prefix = value >= 1e9 ? " G" : value >= 1e6 ? " M" : value >= 1e4 ? " k" : " "
  return number(prefix == " G" ? value / 1e9 : prefix == " M" ? value / 1e6 : prefix == " k" ? value / 1e3 : value) prefix (prefix == " " ? "" : " ") units[key]
}

function print_row_table(row,    w, c, key, line) {
  line = "| " row " | precision |"
  for (w = 1; w <= count["who", row]; w++) line = line " " names["who", row, w] " |"
  print "\n" line " best peer / bunchtrain | rate |"
  gsub(/[^|]+/, " --- ", line)
  print line " --- | --- |"
  for (c = 1; c <= count["key", row]; c++) {
    key = names["key", row, c]
    line = "| " key " |"
    for (w = 1; w <= count["who", row]; w++) line = line " " time_of(key, names["who", row, w]) " |"
    print line " " ratio(row, key) " | " rate(row, key) " |"
  }
}

FILENAME ~ /env\.json$/ { environment = environment $0; next }
!/^\{.*\}$/ { next }
FILENAME ~ /results\.jsonl$/ {
  parse($0)
  remember("stage", "", field["stage"])
  statuses[field["status"]]++
  if (field["status"] != "passed") notes[++num_notes] = "| " field["step"] " | " field["status"] " | " cell(field["reason"]) " |"
  next
}
{
  parse($0)
  if (device == "") device = field["device"]
  who = field["who"]
  key = field["case"] " | " field["precision"]
  remember("row", "", field["row"])
  remember("key", field["row"], key)
  remember("who", field["row"], who)
  if ("error" in field) {
    errors[++num_errors] = "* " field["row"] ", " field["case"] ", " field["precision"] ", " who ": " field["error"]
    next
  }
  if ("exposed_ms" in field) {
    times[key, who] = times[key, who] " " field["exposed_ms"]
    next
  }
  times[key, who] = times[key, who] " " field["median_ms"]
  if ("rate" in field) {
    rates[key, who] = rates[key, who] " " field["rate"]
    units[key] = field["unit"]
  }
  lows[key, who] = lows[key, who] " " field["low_ms"]
  highs[key, who] = highs[key, who] " " field["high_ms"]
}

END {
  parse(environment)
  card = or_else(field["card"], "no GPU")
  printf "## %s\n\n", card
  printf "%s; driver %s; clocks (SM, memory, most SM, most memory) %s MHz; %s, %s cores; %s; LibTorch %s; kit of commit %s, %s; %s.\n\n", \
    card, or_else(field["driver"], "none"), or_else(field["clocks_mhz"], "-"), field["processor"], field["cores"], field["system"], \
    field["torch"], field["commit"], field["built_with"], field["date"]
  printf "Commands:"
  for (i = 1; i <= count["stage", ""]; i++) printf "%s `gpu-kit run %s OUT`", (i > 1 ? "," : ""), names["stage", "", i]
  print (device != "" ? "; measured on: " device : "")
  if (count["row", ""]) {
    print "\nMedians of the rounds in ms, in brackets the tenths beyond which 10 % of the repetitions lie; P4: what synchronisation and update add. Rate: that of our fastest, or of the fastest peer where we have no such row."
    for (r = 1; r <= count["row", ""]; r++) print_row_table(names["row", "", r])
  }
  if (num_errors) print "\nFailed rows:\n"
  for (i = 1; i <= num_errors; i++) print errors[i]
  printf "\nSteps: %d passed, %d failed, %d timed out, %d skipped.\n", statuses["passed"], statuses["failed"], statuses["timeout"], statuses["skipped"]
  if (num_notes) print "\n| step | status | reason |\n| --- | --- | --- |"
  for (i = 1; i <= num_notes; i++) print notes[i]
  print ""
}
