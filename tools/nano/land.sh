#!/usr/bin/env bash
# Makes a trained checkpoint the model that ships, and everything that is measured or drawn with it:
#
#   model/data/nano         the exported weights and their sizes
#   tests/data/nano         what PyTorch computes with them, and 40 held-out scenes
#   examples                scenes to try, overlays, README with nano's answers
#
# Ends with the measured gIoUs, to paste into FLOORS of tests/tests/nano.rs.
#
#   tools/nano/land.sh CHECKPOINT.pt STATE BPE
#
# STATE is the state directory, BPE what --bpe takes (README.md). The Python environment must be active.
# CARGO_PROFILE=release takes the release build for the overlays.
set -euo pipefail

if [ $# -ne 3 ]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
fi
checkpoint=$(realpath "$1")
state=$(realpath "$2")
bpe=$(realpath "$3")
cd "$(dirname "$0")/../.."
root=$PWD
tools=$root/tools/nano
# Like the files, so that pictures and masks do not outlive what they show.
fresh() { rm -rf "$1" && mkdir -p "$1"; }

echo "== export"
fresh model/data/nano
python "$tools/export.py" --weights "$checkpoint" --out model/data/nano

echo "== recording"
fresh tests/data/nano
python "$tools/record_goldens.py" --model model/data/nano --state "$state" --bpe "$bpe" --out tests/data/nano

echo "== held-out scenes"
python "$tools/heldout40.py" --state "$state" --out tests/data/nano/heldout40

echo "== examples"
fresh examples
python "$tools/examples.py" draw --state "$state" --out examples
profile=${CARGO_PROFILE:-dev}
cargo build -q -p sam3i-cli --profile "$profile"
python "$tools/examples.py" answer --sam3i "cargo run -q -p sam3i-cli --profile $profile --" --out examples
# Exported files are private to their maker; what is landed is not.
chmod -R u=rwX,go=rX model/data/nano tests/data/nano examples

echo "== measured (paste the rows into FLOORS, the rest into the constants below, of tests/tests/nano.rs)"
if SAM3I_SHOW_NANO=1 cargo test -q -p sam3i-tests --test nano -- --nocapture --test-threads 1; then
  echo "the floors that stand are kept"
else
  echo "the floors that stand are not kept, or the recording differs: see above"
fi
cargo test -q -p sam3i --lib nano
du -sh model/data/nano tests/data/nano examples
