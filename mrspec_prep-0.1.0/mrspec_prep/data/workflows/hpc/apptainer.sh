#!/usr/bin/env bash
# mrspec_prep in its Apptainer (or Singularity) image, closed to everything but the folders that are named: no home, no
# environment, no other mounts. Folders keep their names inside, so records and messages mean the same on both sides.
#
# usage: apptainer.sh IMAGE BIDS_DIR OUT_DIR {participant,group} [options of mrspec_prep]
#
#   BIND=/more:/folders       further folders, read-only, where an option names one in a pattern (--mask, --noise)
#   TMPDIR=/local/scratch     where /tmp of the container lies: caches of compiled code, about 0.1 GB
#   ENGINE=apptainer          or singularity
set -euo pipefail

(( $# >= 4 )) || { sed -n '2,10p' "$0" | sed 's/^# \{0,1\}//'; exit 2; }
image=$(realpath -e "$1"); bids=$(realpath -e "$2"); mkdir -p "$3"; out=$(realpath "$3"); level=$4; shift 4
engine=${ENGINE:-apptainer}
command -v "$engine" >/dev/null || { echo "apptainer.sh: not found: $engine. Remedy: module load $engine" >&2; exit 2; }

binds=(-B "$bids:$bids:ro"); previous=''; words=()
for word in "$@"; do
  path=${word#*=}                       # NAME=PATH of --derivatives, OPTION=VALUE of --set, or a path by itself
  case $previous in
    -w|--work-dir) mkdir -p "$word"; word=$(realpath "$word"); binds+=(-B "$word") ;;
    --bids-database-dir) mkdir -p "$word"; word=$(realpath "$word"); binds+=(-B "$word") ;;
    *) if [[ $path == */* && -e $path ]]; then
         path=$(realpath "$path"); binds+=(-B "$path:$path:ro")
         if [[ $word == *=* ]]; then word=${word%%=*}=$path; else word=$path; fi
       fi ;;
  esac
  words+=("$word"); previous=$word
done
binds+=(-B "$out")                      # last: where results lie inside the data, they stay writable
IFS=: read -ra more <<< "${BIND:-}"
for path in "${more[@]}"; do [[ -z $path ]] || binds+=(-B "$path:$path:ro"); done

scratch=$(mktemp -d "${TMPDIR:-/tmp}/mrspec_prep-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
# --workdir: /tmp of --containall on disk; as a memory file system it holds 64 MB only
"$engine" run --containall --cleanenv --no-home --workdir "$scratch" --pwd /tmp \
  --env "OMP_NUM_THREADS=1,NUMBA_CACHE_DIR=/tmp/numba,MPLCONFIGDIR=/tmp/matplotlib" \
  "${binds[@]}" "$image" "$bids" "$out" "$level" "${words[@]}" &
child=$!
trap 'kill -TERM "$child"' TERM INT
status=0; wait "$child" || status=$?
while kill -0 "$child" 2>/dev/null; do wait "$child" || status=$?; done
exit "$status"
