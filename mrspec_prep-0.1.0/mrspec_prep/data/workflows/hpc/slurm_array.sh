#!/usr/bin/env bash
# A study on Slurm: one participant per array task, then the group level. Type the same line again after failures:
# only unfinished participants are submitted.
#
# usage: slurm_array.sh BIDS_DIR OUT_DIR [options of mrspec_prep for the participants]
#
#   RUN="mrspec_prep"        what runs the program; in a container: RUN="/path/apptainer.sh /path/mrspec_prep.sif"
#   CPUS=4 MEM=8G TIME=4:00:00          of one participant
#   AT_ONCE=200                         most participants at the same time
#   PARTICIPANTS="01 02"                default: every sub-* folder of BIDS_DIR
#   WORK=DIR                            intermediate results, seen by all nodes; default: OUT_DIR/.work
#   KEEP_WORK=1                         keep those of finished participants
#   AGAIN=1                             submit finished participants, too (the program redoes what has changed)
#   GROUP=no                            no group level
#   GROUP_OPTIONS="--dask dask.yml"     options of mrspec_prep for the group level
#   GROUP_CPUS=16 GROUP_MEM=64G GROUP_TIME=24:00:00
#   GROUP_AFTER=ok                      ok: only when every participant succeeded; any: with those that did
#   SBATCH_ARGS="--partition=long --account=brain"     for every job
set -euo pipefail

die() { echo "slurm_array.sh: $*" >&2; exit 2; }

# memory of this job in megabytes for --mem, a tenth left to Python itself; empty where Slurm books none
memory() {
  local megabytes=${SLURM_MEM_PER_NODE:-$(( ${SLURM_MEM_PER_CPU:-0} * ${SLURM_CPUS_PER_TASK:-1} ))}
  (( megabytes == 0 )) || echo "--mem $(( megabytes * 9 / 10 ))m"
}

# --- inside a job: Slurm calls this script again with one of these words ---------------------------------------------
if [[ ${1:-} == --participant || ${1:-} == --group ]]; then
  level=${1#--} run=$2 work=$3 list=$4 offset=$5 bids=$6 out=$7; shift 7
  name=group label=()
  if [[ $level == participant ]]; then
    name=sub-$(sed -n "$(( offset + SLURM_ARRAY_TASK_ID ))p" "$list")
    label=(--participant-label "${name#sub-}")
  fi
  read -ra program <<< "$run"; read -ra mem <<< "$(memory)"
  mkdir -p "$work/$name"
  echo "$name on ${SLURMD_NODENAME:-$HOSTNAME}, start ${SLURM_RESTART_COUNT:-0} (job ${SLURM_JOB_ID}), $(date)"
  status=0
  "${program[@]}" "$bids" "$out" "$level" "${label[@]}" -w "$work/$name" \
    --nprocs "${SLURM_CPUS_PER_TASK:-1}" "${mem[@]}" "$@" &
  child=$!
  trap 'kill -TERM "$child"' TERM INT   # a time limit or scancel reaches the program, which says how to go on
  wait "$child" || status=$?
  while kill -0 "$child" 2>/dev/null; do wait "$child" || status=$?; done
  if (( status == 0 )) && [[ -z ${KEEP_WORK:-} ]]; then rm -rf "${work:?}/$name"; fi
  echo "$name: exit code $status, $(date)"
  exit "$status"
fi

# --- on the login node: what is unfinished, and its jobs ---------------------------------------------------------------
(( $# >= 2 )) || { sed -n '2,20p' "$0" | sed 's/^# \{0,1\}//'; exit 2; }
bids=$(realpath -e "$1") || die "no such folder: $1"
mkdir -p "$2"; out=$(realpath "$2"); shift 2
run=${RUN:-mrspec_prep} work=${WORK:-$out/.work} logs=$out/logs/slurm
read -ra program <<< "$run"; read -ra extra <<< "${SBATCH_ARGS:-}"
command -v "${program[0]}" >/dev/null || die "not found: ${program[0]}. Remedy: set RUN, or load the environment first"
for word in "$@"; do
  [[ $word != --participant*label* && $word != --subject-label* ]] || die "give participants as PARTICIPANTS=\"01 02\""
done

name=mrspec_prep-$(cksum <<< "$out" | cut -d' ' -f1)
queued=$(squeue --me -h -n "$name" -o %A | sort -u | paste -sd' ')
[[ -z $queued ]] || die "this study is in the queue as job $queued. Remedy: wait for it, or scancel $queued"

mkdir -p "$logs" "$work"
options=$(printf '%q ' "$run" "$@")
[[ -f $logs/options && $(< "$logs/options") == "$options" ]] || AGAIN=1   # other settings: the program looks at everyone
finished() { [[ -f $out/sub-$1.html ]] && grep -q '"key": "' "$out/sub-$1/log/finished.json" 2>/dev/null; }

if [[ -n ${PARTICIPANTS:-} ]]; then read -ra labels <<< "$PARTICIPANTS"; else
  labels=(); for folder in "$bids"/sub-*/; do [[ ! -d $folder ]] || labels+=("$(basename "$folder")"); done
fi
(( ${#labels[@]} )) || die "no sub-* folder in $bids"
list=$logs/$(date +%Y%m%d-%H%M%S)_participants.txt
for label in "${labels[@]#sub-}"; do
  [[ -d $bids/sub-$label ]] || die "no participant sub-$label in $bids"
  [[ -z ${AGAIN:-} ]] && finished "$label" || echo "$label"
done > "$list"
todo=$(wc -l < "$list")
echo "$(( ${#labels[@]} - todo )) of ${#labels[@]} participants are finished; $todo to submit ($list)"

jobs=()
largest=$(scontrol show config | sed -n 's/^MaxArraySize *= *//p'); largest=$(( ${largest:-1001} - 1 ))
for (( offset = 0; offset < todo; offset += largest )); do
  size=$(( todo - offset < largest ? todo - offset : largest ))
  job=$(sbatch --parsable --requeue --open-mode=append -J "$name" --array="1-$size%${AT_ONCE:-200}" \
    --cpus-per-task="${CPUS:-4}" --mem="${MEM:-8G}" --time="${TIME:-4:00:00}" -o "$logs/%A_%a.out" "${extra[@]}" \
    "$0" --participant "$run" "$work" "$list" "$offset" "$bids" "$out" "$@")
  jobs+=("${job%%;*}")
  echo "participants $(( offset + 1 )) to $(( offset + size )) of the list: job ${job%%;*}"
done
printf '%s' "$options" > "$logs/options"

[[ ${GROUP:-yes} != no ]] || exit 0
after=()
if (( ${#jobs[@]} )); then
  after=(--dependency="after${GROUP_AFTER:-ok}:$(IFS=:; echo "${jobs[*]}")" --kill-on-invalid-dep=yes)
fi
read -ra group_options <<< "${GROUP_OPTIONS:-}"
job=$(sbatch --parsable --requeue --open-mode=append -J "$name" "${after[@]}" --cpus-per-task="${GROUP_CPUS:-16}" \
  --mem="${GROUP_MEM:-64G}" --time="${GROUP_TIME:-24:00:00}" -o "$logs/%j_group.out" "${extra[@]}" \
  "$0" --group "$run" "$work" "$list" 0 "$bids" "$out" "${group_options[@]}")
echo "group level: job ${job%%;*}${after[0]:+, after the participants}"
