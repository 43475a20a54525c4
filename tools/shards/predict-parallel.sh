#!/bin/sh
# Answers a data set in N parts with GNU parallel, and joins the parts. Run it again after a kill: finished parts are passed
# over, begun ones go on. Options of parallel, for instance --sshloginfile, come from the file ~/.parallel/config.
#
# Usage: predict-parallel.sh N PRED.json [options of `sam3i predict`, but for -o and --shard]
set -eu
parts=$1 output=$2 sam3i=${SAM3I:-sam3i}
shift 2
for part in $(seq "$parts"); do
    test -e "$output.$part-of-$parts.part" || echo "$part"
done | parallel -q --halt now,fail=1 \
    "$sam3i" predict "$@" --quiet --shard "{}/$parts" -o "$output.{}-of-$parts.part"
set --
for part in $(seq "$parts"); do
    set -- "$@" "$output.$part-of-$parts.part"
done
"$sam3i" merge "$@" -o "$output"
