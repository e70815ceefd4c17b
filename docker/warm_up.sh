#!/bin/sh
# Part of the build: examples are analysed in every way that has voxel loops of its own, which compiles the loops into the
# image, lists its fonts, and shows that it works. docker/warm_up.sh EXAMPLES
set -e
. /opt/mrspec_prep/processor.sh
examples=$1

try() { # EXAMPLE LEVELS [options]
    example=$examples/$1
    shift
    scratch=$(mktemp -d)
    mrspec_prep "$example" "$scratch/out" "$@" --derivatives "masks=$example/derivatives/masks" --sloppy -w "$scratch/work"
    rm -rf "$scratch"
}

try zebra_t2star-adc participant group
try echotime-array participant --workflow msdki_maps
try echotime-array participant --set inspect_map.n_components=2 \
    --set uncertainty.bootstrap=20 --set uncertainty.bounds=true --set inspect.spatial=true --set nnls.alpha_rule=gcv
try t1-t2_mese participant --set classifier.wanted=true
try mrf participant
