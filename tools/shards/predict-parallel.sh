#!/bin/sh
# Answers a data set in N parts with GNU parallel, and joins the parts. Run it again after a kill: finished parts are passed
# over, begun ones go on. Options of parallel, for instance --sshloginfile, come from the variable PARALLEL.
#
# Usage: predict-parallel.sh N PRED.json [options of `sam3i predict`, but for -o and --shard]
set -eu
parts=$1 output=$2
shift 2
seq "$parts" | parallel --halt now,fail=1 \
    "test -e {}-of-$parts.$output.part || ${SAM3I:-sam3i} predict $(printf " '%s'" "$@") --quiet --shard {}/$parts -o {}-of-$parts.$output.part"
# shellcheck disable=SC2046
"${SAM3I:-sam3i}" merge $(seq -f "%.0f-of-$parts.$output.part" "$parts") -o "$output"
